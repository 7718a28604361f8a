"""Weights from cue words: what the teacher and, more crudely, the base student know."""

import re
from collections.abc import Sequence

from local_stack.bedrock_double.grid import snap

# Each word stands for its forms in -s, -ing and -ed too.
_CUES = {
    "visual": """
        aerial animation beach black blue building car cat city closeup color colour costume crowd
        dance dark dog drawing dress drone face fire firework forest green hand hold jump landscape
        left logo look mountain ocean outdoor person red right river run screen show sit skyline sky
        slow snow stand street sunset tree view wear white wide yellow young
        """,
    "audio": """
        alarm applause audio bark beat bell boo buzz chant cheer chirp choir clap cry drum engine
        explosion guitar gunshot hum laugh laughter loud melody music noise orchestra piano quiet
        roar scream shout sing siren song sound soundtrack thunder tune voice whisper whistle yell
        """,
    "transcription": """
        about advice announce announcement answer conversation debate describ describe dialogue
        discuss discussion explain explanation interview joke keynote lecture lesson mention
        monologue narration news phrase podcast presentation question quote review said say speak
        speech story talk tell testimony tutorial word
        """,
    "metadata": """
        actor album anniversary author best channel clip creator credits date director documentary
        duration edition episode film final genre highlight highlights hosted last latest length
        longest minute movie newest official part playlist premiere producer published rated rating
        recent released season series starring title trailer trending uploaded version viral year
        """,
}
_CUE_WORDS = {modality: frozenset(words.split()) for modality, words in _CUES.items()}
_WORD = re.compile(r"[^\W_]+")
_ENDING = re.compile(r"(?:ing|ed|s)$")
_YEAR = re.compile(r"(?:19|20)\d\d")
_NAME = re.compile(r"(?<=\S )[A-Z][a-z]+")  # a capitalised word that does not begin the query
_GRID_LEVELS = 10
_PRIORS = {"visual": 1.0, "transcription": 0.3}  # most queries describe something to be seen
_OTHER_PRIOR = 0.5


def weigh(query: str, modalities: Sequence[str], trust: float) -> dict[str, float]:
    """Return weights on the 0.1 grid; `trust` is how much one cue counts against indifference."""
    words = {word.lower() for word in _WORD.findall(query)}
    words |= {_ENDING.sub("", word) for word in words}
    shares = [
        _PRIORS.get(modality, _OTHER_PRIOR) + trust * _hits(modality, query, words)
        for modality in modalities
    ]
    return dict(zip(modalities, snap(shares, _GRID_LEVELS), strict=True))


def _hits(modality: str, query: str, words: set[str]) -> float:
    """Return how many cues speak for a modality; an unknown one has the words of its name."""
    cues = _CUE_WORDS.get(modality) or frozenset(_WORD.findall(modality.lower().replace("_", " ")))
    hits = float(len(words & cues))
    if modality == "metadata":
        hits += len(_YEAR.findall(query)) + 0.5 * len(_NAME.findall(query))
    return hits

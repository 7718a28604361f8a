"""The undistilled models: the teacher and the base student, which weigh queries by cue words."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from local_stack.bedrock_fake.clock import draw
from local_stack.bedrock_fake.settings import FakeSettings

_DEFAULT_MODALITIES = ("visual", "audio", "transcription", "metadata")
_REQUESTED = re.compile(r"JSON with (?P<names>[\w ,-]{1,200}?) weights", re.IGNORECASE)
_SEPARATOR = re.compile(r"(?<!\s)\s*+,\s*(?:and\s+)?|(?<!\s)\s++and\s+")
_GRIDS = (10, 20, 100)  # steps of 0.1, 0.05 and 0.01
_TOLERANCE = 1e-6
_TEACHER_TRUST, _BASE_TRUST = 1.0, 0.2
_PRIORS = {"visual": 1.0, "transcription": 0.3}
_OTHER_PRIOR = 0.5

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


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer before Converse truncates it and counts its tokens."""

    text: str
    stop_reason: str = "end_turn"


class AnsweringModel(Protocol):
    """A model behind Converse."""

    def reply(self, system: str, query: str, settings: FakeSettings) -> Answer:
        """Answer one user turn."""
        ...


class Teacher:
    """Labels training queries, and answers Converse with JSON."""

    def label(self, query: str, modalities: Sequence[str]) -> dict[str, float]:
        """Return the weights of one query."""
        return weigh(query, modalities, _TEACHER_TRUST)

    def reply(self, system: str, query: str, settings: FakeSettings) -> Answer:  # noqa: ARG002
        """Answer with JSON, and with reasoning if the prompt mentions it."""
        weights = self.label(query, modalities_of(system))
        return Answer(weights_text(weights, with_reasoning="reasoning" in system))


class BaseStudent:
    """Answers Converse like a small model: cruder weights, and often not in plain JSON."""

    def reply(self, system: str, query: str, settings: FakeSettings) -> Answer:
        """Answer with plain JSON, except for the settings' shares of other forms."""
        weights = weigh(query, modalities_of(system), _BASE_TRUST)
        text = weights_text(weights, with_reasoning="reasoning" in system)
        incomplete_from = settings.base_prose_rate
        fenced_from = incomplete_from + settings.base_incomplete_rate
        plain_from = fenced_from + settings.base_fenced_rate
        form = draw(settings.seed, "base form", query)
        if form < incomplete_from:
            text = (
                f"For this search I would rely mainly on {dominant(weights)} features, "
                "supported by the others where they add context."
            )
        elif form < fenced_from:
            text = text[: len(text) * 2 // 5]
        elif form < plain_from:
            text = f"Here are the weights for the query:\n\n```json\n{text}\n```"
        return Answer(text)


def weigh(query: str, modalities: Sequence[str], trust: float) -> dict[str, float]:
    """Return weights in steps of 0.1; `trust` is the share that one cue word adds to a prior."""
    words = {word.lower() for word in _WORD.findall(query)}
    words |= {_ENDING.sub("", word) for word in words}
    shares = [
        _PRIORS.get(modality, _OTHER_PRIOR) + trust * _hits(modality, query, words)
        for modality in modalities
    ]
    return dict(zip(modalities, snap(shares, _GRIDS[0]), strict=True))


def _hits(modality: str, query: str, words: set[str]) -> float:
    """Count the cues of a modality; the cues of an unknown one are the words of its name."""
    cues = _CUE_WORDS.get(modality) or frozenset(_WORD.findall(modality.lower().replace("_", " ")))
    hits = float(len(words & cues))
    if modality == "metadata":
        hits += len(_YEAR.findall(query)) + 0.5 * len(_NAME.findall(query))
    return hits


def levels_of(values: Sequence[float]) -> int:
    """Return how many steps of the coarsest grid that contains all values make one."""
    for levels in _GRIDS:
        if all(abs(value * levels - round(value * levels)) < _TOLERANCE for value in values):
            return levels
    return _GRIDS[-1]


def snap(shares: Sequence[float], levels: int) -> list[float]:
    """Return shares that sum to one and are multiples of 1/levels (largest remainder)."""
    total = sum(shares)
    if total <= 0:
        return snap([1.0] * len(shares), levels)
    exact = [share / total * levels for share in shares]
    steps = [int(value) for value in exact]
    missing = levels - sum(steps)
    for index in sorted(range(len(exact)), key=lambda i: steps[i] - exact[i])[:missing]:
        steps[index] += 1
    return [step / levels for step in steps]


def modalities_of(system: str) -> tuple[str, ...]:
    """Return the modalities that a system prompt requests, or the default four."""
    requested = _REQUESTED.search(system)
    return tuple(_SEPARATOR.split(requested["names"].strip())) if requested else _DEFAULT_MODALITIES


def weights_text(weights: Mapping[str, float], *, with_reasoning: bool) -> str:
    """Return the requested JSON answer."""
    if not with_reasoning:
        return json.dumps(weights)
    reasoning = f"The query is answered mostly by its {dominant(weights)} content."
    return json.dumps({**weights, "reasoning": reasoning})


def dominant(weights: Mapping[str, float]) -> str:
    """Return the modality with the largest weight, the first of equals."""
    return max(weights, key=lambda modality: weights[modality])

"""The query templates, grouped by the modality that their words stress.

Each is written for the four modalities of the default setting, as tenths that sum to ten. A
training template and a held-out one share slots but no wording: held-out ones appear only in query
logs and in the evaluation set that measures patterns the training never showed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Difficulty = Literal["easy", "medium", "hard"]

DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "medium", "hard")
DEFAULT_MODALITIES = ("visual", "audio", "transcription", "metadata")
SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")
TENTHS = 10


@dataclass(frozen=True, slots=True)
class Template:
    """A query with slots in braces, and the weight of each modality it draws on.

    `profile` holds tenths that sum to ten; a modality that is absent weighs nothing.
    """

    text: str
    difficulty: Difficulty
    profile: Mapping[str, int]
    held_out: bool = False


_Row = tuple[Difficulty, str, int, int, int, int]

_VISUAL: tuple[_Row, ...] = (
    ("easy", "{colour} {object} on a windowsill", 9, 0, 0, 1),
    ("easy", "{animal} crossing a {terrain}", 8, 1, 0, 1),
    ("easy", "{place} at {light}", 8, 0, 0, 2),
    ("easy", "{role} busy {action}", 7, 1, 1, 1),
    ("easy", "{shot} of a {place}", 9, 0, 0, 1),
    ("easy", "{weather} over {city}", 7, 1, 0, 2),
    ("easy", "{colour} {garment}", 9, 0, 0, 1),
    ("easy", "{glyph}", 8, 1, 0, 1),
    ("medium", "{shot} of a {role} beside a {colour} {object}", 9, 0, 0, 1),
    ("medium", "{person} wearing a {colour} {garment} in {weather}", 7, 0, 0, 3),
    ("medium", "{animal} and {animal} sharing a {terrain}", 8, 1, 0, 1),
    ("medium", "{place} filmed from {light} until {light}", 8, 0, 0, 2),
    ("medium", "how {city} looks in {weather}", 7, 0, 1, 2),
    ("medium", "faces full of {emotion} in a crowded {place}", 7, 2, 1, 0),
    ("medium", "chart about {topic} filling the frame", 6, 0, 2, 2),
    ("hard", "no people, only a {object} and a {object} in {colour} light", 9, 1, 0, 0),
    ("hard", "seconds before the {animal} notices the {role}, seen from above", 8, 1, 0, 1),
    ("hard", "the {role} shows {emotion} with a gesture, without a word", 7, 2, 1, 0),
    ("hard", "same {place} in {year} and in {year}, put next to each other", 6, 0, 0, 4),
    ("hard", "not the interview, just the cutaway of a {colour} {object} in {city}", 7, 0, 1, 2),
    ("hard", "{ciudad} vista desde el aire, {mes}", 7, 0, 0, 3),
    ("hard", "{toshi} 夜景", 8, 0, 0, 2),
)

_AUDIO: tuple[_Row, ...] = (
    ("easy", "{sound}", 1, 8, 0, 1),
    ("easy", "{instrument} solo", 1, 8, 0, 1),
    ("easy", "{music} instrumental", 0, 8, 0, 2),
    ("easy", "{animal} calls recorded up close", 2, 7, 0, 1),
    ("easy", "steady hum of a {machine}", 1, 9, 0, 0),
    ("easy", "{instrument} and {instrument} duet", 1, 8, 0, 1),
    ("easy", "noise of {weather} on a tin roof", 2, 8, 0, 0),
    ("medium", "{sound} drowning out a {role}", 2, 6, 2, 0),
    ("medium", "{music} heard while a {role} is {action}", 3, 6, 0, 1),
    ("medium", "{machine} starting up inside a {place}", 2, 7, 0, 1),
    ("medium", "choir humming {music} in {city}", 2, 6, 1, 1),
    ("medium", "{sound}, then silence, then {sound}", 0, 9, 1, 0),
    ("medium", "slow {music} lesson for {instrument} beginners", 1, 6, 2, 1),
    ("medium", "long echo of a {instrument} in an empty hall", 2, 7, 0, 1),
    ("hard", "voice trembling with {emotion}, the words do not matter", 1, 7, 2, 0),
    ("hard", "which {instrument} plays under the closing titles of {series}", 0, 6, 1, 3),
    ("hard", "the squeal or hiss right before the {machine} breaks down", 2, 7, 1, 0),
    ("hard", "{sound}, but not from a {machine}, more like a {animal}", 1, 8, 0, 1),
    ("hard", "out of tune {instrument} at the {event} and somebody laughs", 1, 7, 1, 1),
    ("hard", "Geräusch einer {maschine} in der Nacht", 1, 8, 0, 1),
    ("hard", "صوت {dawsha}", 1, 9, 0, 0),
)

_TRANSCRIPTION: tuple[_Row, ...] = (
    ("easy", '"{phrase}"', 0, 1, 8, 1),
    ("easy", "what the {role} said about {topic}", 1, 1, 7, 1),
    ("easy", "lecture on {topic}", 1, 0, 7, 2),
    ("easy", "plain words summary of {topic}", 0, 0, 8, 2),
    ("easy", 'someone says "{phrase}"', 0, 1, 9, 0),
    ("easy", "word for word answer about {topic}", 0, 1, 8, 1),
    ("easy", "{language} poem recited", 0, 2, 7, 1),
    ("medium", "{person} contradicts {person} over {topic}", 1, 1, 6, 2),
    ("medium", "panel mentions {topic} as well as {topic}", 0, 1, 7, 2),
    ("medium", "audience question on {topic} at the {event}", 1, 1, 6, 2),
    ("medium", "{figure} apologises for remarks about {topic}", 1, 0, 6, 3),
    ("medium", '{role} counts down and shouts "{phrase}"', 1, 3, 6, 0),
    ("medium", "{language} voice-over about {topic}", 1, 2, 6, 1),
    ("medium", 'toast by {person} ending with "{phrase}"', 1, 1, 7, 1),
    ("hard", "somebody promises to fix {topic} but never says when", 0, 1, 8, 1),
    ("hard", "the exact sentence in which {figure} first names {topic}", 0, 0, 7, 3),
    ("hard", "quarrel about {topic} that ends in {emotion}", 1, 2, 6, 1),
    ("hard", "does anyone in {series} ever bring up {topic}?", 0, 0, 6, 4),
    ("hard", 'it was "{phrase}" or maybe "{phrase}", spoken by a {role}', 1, 1, 8, 0),
    ("hard", "{person} habla de {tema} y pide perdón", 1, 1, 6, 2),
    ("hard", "Rede über {thema} mit Zwischenrufen", 1, 2, 6, 1),
)

_METADATA: tuple[_Row, ...] = (
    ("easy", "{series}", 1, 0, 1, 8),
    ("easy", "{series} season {number}", 1, 0, 0, 9),
    ("easy", "{channel} {year}", 0, 0, 1, 9),
    ("easy", "complete filmography of {figure}", 2, 0, 1, 7),
    ("easy", "uploads from {month} {year}", 0, 0, 0, 10),
    ("easy", "{kind} first aired in {year}", 1, 0, 0, 9),
    ("easy", "files tagged {topic}", 1, 0, 2, 7),
    ("medium", "{series} s{number} episode {number} uncut", 1, 0, 0, 9),
    ("medium", "{kind} made by {channel} before {year}", 1, 0, 0, 9),
    ("medium", "{figure} guest slot on {channel}, {month} {year}", 2, 0, 1, 7),
    ("medium", "longest {kind} available in {language}", 0, 1, 1, 8),
    ("medium", "{event} footage dated {month} {year}, {city}", 3, 0, 0, 7),
    ("medium", "rights cleared clips about {topic}", 1, 0, 2, 7),
    ("medium", "{channel} archive reel {number} {city}", 1, 0, 0, 9),
    ("hard", "the one {figure} made right after leaving {channel}", 1, 0, 2, 7),
    ("hard", "{kind} that won a prize at the {event}, director from {city}", 1, 0, 1, 8),
    ("hard", "not the remake, the {year} original of {series}", 2, 0, 0, 8),
    ("hard", "anything licensed for {region} until {year} except {series}", 0, 0, 0, 10),
    ("hard", "who was credited as {role} on {series} season {number}", 1, 0, 1, 8),
    ("hard", "{series}?? {channel}?? sometime around {year}", 1, 0, 0, 9),
    ("hard", "{ciudad}, {mes} de {year}, emisión completa", 1, 0, 0, 9),
)

_LONG = (
    "I am after something from about {month} {year}, probably shot in {city}: a {role} in a "
    "{colour} {garment} walks through a {place}, there is {music} somewhere behind, and near "
    'the end a voice says "{phrase}"; my colleague believes it was on {channel}, and that the '
    "same tape also has a part on {topic}, but neither of us wrote down the title"
)

_BALANCED: tuple[_Row, ...] = (
    ("easy", "{person} sings live on stage, {event}", 3, 3, 1, 3),
    ("easy", "{role} trying to talk over loud {sound}", 2, 4, 4, 0),
    ("easy", "doorstep chat with {person} in {city}", 3, 1, 3, 3),
    ("easy", "{figure} tries to play the {instrument}", 3, 3, 1, 3),
    ("easy", "trailer and theme song of {series}", 3, 2, 2, 3),
    ("medium", "{figure} opens the {event} with remarks on {topic} and a brass band", 2, 3, 3, 2),
    ("medium", "{role} {action} and commenting on {topic} meanwhile", 4, 1, 4, 1),
    ("medium", "{sport} final in {city}, commentator loses his voice", 3, 3, 2, 2),
    ("medium", "{person} dancing to {music} in a {place}", 4, 4, 0, 2),
    ("medium", "{channel} bulletin on {topic}, live from {city}", 3, 1, 3, 3),
    (
        "hard",
        'clip where {figure} breaks down in {emotion}, says "{phrase}" and {sound} can be heard',
        3, 3, 3, 1,
    ),
    (
        "hard",
        "scene of {series} with a {colour} {object}, {music} and a chat about {topic}",
        3, 2, 2, 3,
    ),
    ("hard", _LONG, 3, 2, 3, 2),
    ("hard", "{person}, {person} and {person} rehearsing {music} and arguing, {year}", 2, 3, 3, 2),
    ("hard", "funny fail {sport} {sound} lol {series} ?!", 3, 3, 1, 3),
)  # fmt: skip

_HELD_OUT: tuple[_Row, ...] = (
    ("easy", "anything {colour} that floats", 9, 0, 0, 1),
    ("medium", "where can I see a {animal} jump into a {garment}", 8, 1, 0, 1),
    ("medium", "wallpaper-like stills, {terrain}, {light}", 8, 0, 0, 2),
    ("hard", "the crew forgot a {object} in the background, spot it", 9, 0, 0, 1),
    ("easy", "play me some {music}", 0, 8, 0, 2),
    ("medium", "sleep aid: {sound} for one hour", 0, 9, 0, 1),
    ("medium", "is that a {instrument} or a {machine}?", 1, 9, 0, 0),
    ("hard", "microphone left on, we only get {sound}", 1, 8, 1, 0),
    ("easy", "transcripts containing {topic}", 0, 0, 8, 2),
    ("medium", "did {figure} ever claim {phrase}", 0, 0, 7, 3),
    ("medium", "translate what {person} whispers in {language}", 0, 2, 7, 1),
    ("hard", "joke about {topic} told badly by the {role}", 1, 1, 7, 1),
    ("easy", "newest {kind}", 1, 0, 0, 9),
    ("medium", "list all {channel} premieres, {region}", 0, 0, 0, 10),
    ("medium", "duration and director of {series}", 0, 0, 0, 10),
    ("hard", "my dad worked on a {kind} in {city} back in {year}", 1, 0, 1, 8),
    ("easy", "{event} highlights with sound", 3, 3, 1, 3),
    ("medium", "{person} teaches {sport} while {music} blares", 3, 3, 2, 2),
    ("medium", "wedding of {person} and {person}, vows and first waltz", 2, 3, 3, 2),
    ("hard", "all yell {phrase} as the {colour} {animal} mascot enters the {event}", 3, 3, 3, 1),
)  # fmt: skip

_CUES: tuple[tuple[Difficulty, str], ...] = (
    ("easy", "filter clips on {cue}: {place}"),
    ("easy", "{series} listed under {cue}"),
    ("easy", "recommended {cue} for {sport}"),
    ("medium", "how the {cue} changes once the {role} appears"),
    ("medium", "sort {kind} results by {cue}"),
    ("medium", "compare {cue} in {series} with {cue} in {series}"),
    ("hard", "same {cue} as in the {event} footage of {year}, never mind the rest"),
    ("hard", "a {colour} {object}, but chosen for its {cue} rather than how it looks"),
    ("hard", "whatever {person} meant by a better {cue} for {topic}"),
)
_CUE_TENTHS = 6
_CUE_REST = {"visual": 2, "metadata": 2}


def cue_templates(modality: str) -> tuple[Template, ...]:
    """Return templates for a modality that no other template knows, made from its name alone.

    The rule: a query that names the modality gives it 0.6 and leaves 0.2 to visual and to metadata
    each; every other query gives it nothing.
    """
    cue = modality.replace("_", " ")
    profile = {modality: _CUE_TENTHS, **_CUE_REST}
    return tuple(
        Template(text.replace("{cue}", cue), difficulty, profile) for difficulty, text in _CUES
    )


def _four_way(rows: tuple[_Row, ...], *, held_out: bool = False) -> tuple[Template, ...]:
    return tuple(
        Template(text, difficulty, dict(zip(DEFAULT_MODALITIES, tenths, strict=True)), held_out)
        for difficulty, text, *tenths in rows
    )


TRAINING_TEMPLATES = _four_way(_VISUAL + _AUDIO + _TRANSCRIPTION + _METADATA + _BALANCED)
HELD_OUT_TEMPLATES = _four_way(_HELD_OUT, held_out=True)

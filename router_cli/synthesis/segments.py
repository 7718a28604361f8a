"""A synthetic catalogue of video segments, from the vocabulary of the built-in templates.

Words of one modality also occur in the texts of others, as in real catalogues: people talk about
sounds, and captions show instruments. So the weights of a query matter.
"""

from collections.abc import Iterator
from typing import Any

from router_cli.synthesis.catalogue import BUILT_IN, SLOT
from router_cli.synthesis.draws import Draw

# One query for each default modality. Some of its words occur in the texts of other modalities too.
EXAMPLE_QUERIES = {
    "visual": "goalkeeper busy juggling oranges",
    "audio": "steady hum of a chainsaw",
    "transcription": "what the goalkeeper said about night trains",
    "metadata": "silent film made by Orbit TV before 2005",
}

_SEGMENTS_PER_VIDEO = 6
_LONGEST, _SHORTEST = 20, 4  # seconds of a segment
_TEXTS = {
    "visual": (
        "a {role} {action} in a {place}",
        "a {role} in a {colour} {garment} walks past a {object}",
        "{shot} of a {terrain} at {light}",
        "a {animal} next to a {colour} {object}",
        "a {instrument} and a {machine} in a {place}, nobody plays",
        "the {event}, a {role} {action}",
    ),
    "audio": (
        "{sound} and a distant {sound}",
        "{music} played on a {instrument}",
        "hum of a {machine}, then {sound}",
        "a voice full of {emotion}, {sound} behind it",
        "{weather} against a window",
    ),
    "transcription": (
        "{phrase}, said the {role}, {phrase}",
        "let us talk about {topic}, and about {topic}",
        "did you hear the {sound} last night? no, only the {machine}",
        "I once saw a {role} {action} at the {event}",
        "this {music} record was on {channel}, {phrase}",
    ),
}
_WITHOUT_TEXT = 0.15  # of the texts: silent scenes, pictures without a caption


def segment_rows(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield rows of a segment file; the same arguments give the same rows."""
    draw = Draw(seed, "segments")
    video: dict[str, Any] = {}
    start = 0
    for number in range(count):
        place = number % _SEGMENTS_PER_VIDEO
        if place == 0:
            video, start = _attributes(draw), 0
        end = start + _SHORTEST + draw.index(_LONGEST - _SHORTEST)
        name = f"v{number // _SEGMENTS_PER_VIDEO + 1:05d}"
        texts = {
            modality: _filled(draw.pick(templates), draw)
            for modality, templates in _TEXTS.items()
            if not draw.chance(_WITHOUT_TEXT)
        }
        yield {
            "segment_id": f"{name}.{place + 1}",
            "video_id": name,
            "start": start,
            "end": end,
            "texts": texts,
            "attributes": video,
        }
        start = end


def _attributes(draw: Draw) -> dict[str, Any]:
    return {
        "title": _filled("{series}, episode {number}", draw),
        "genre": _filled("{kind}", draw),
        "channel": _filled("{channel}", draw),
        "year": int(_filled("{year}", draw)),
        "people": [_filled("{figure}", draw), _filled("{person}", draw)],
    }


def _filled(template: str, draw: Draw) -> str:
    return SLOT.sub(lambda slot: draw.pick(BUILT_IN.vocabulary[slot[1]]), template)

"""Read the lines of segment files: each is a segment, a deletion, or a rejected row.

    {"segment_id": "v12.3", "video_id": "v12", "start": 12.0, "end": 20.5,
     "texts": {"visual": "a man opens a red door"}, "vectors": {"audio": [0.1, …]},
     "attributes": {"genre": "drama", "year": 2021}}
    {"segment_id": "v12.3", "deleted": true}

Reasons of rejected rows name fields and never quote values.
"""

import json
import math
import unicodedata
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.search.index import (
    COLLECTION_NAME,
    METADATA,
    MODALITIES_ATTRIBUTE,
    Attributes,
    AttributeValue,
    Vector,
)
from search_router.domain.splits.formats import RowFormat, RowLayout
from search_router.domain.splits.rows import RejectedRow, row_data, shown
from search_router.domain.streams import Line
from search_router.domain.weights import Modalities

SEGMENT_ROWS = RowLayout(format=RowFormat.JSONL, max_row_bytes=1024 * 1024)
MAX_ID_BYTES = 256
MAX_TEXT_BYTES = 32 * 1024
MAX_ATTRIBUTES = 45  # S3 Vectors: 50 keys of metadata, of which the index uses five
MAX_ATTRIBUTE_NAME = 63
MAX_FILTERABLE_BYTES = 2_048  # S3 Vectors: of attributes, video, start and end together
MAX_SEGMENT_BYTES = 360 * 1024  # of texts and vectors: DynamoDB's items hold 400 KB
FLOAT_BYTES = 4
RESERVED_ATTRIBUTES = frozenset({"segment_id", "video_id", "start", "end", "text"})
_FIELDS = frozenset({"segment_id", "video_id", "start", "end", "texts", "vectors", "attributes"})


@dataclass(frozen=True, slots=True)
class Segment:
    """A time range of a video, in seconds, with its texts and the user's own vectors by modality.

    If the stack has the modality `metadata` and no text is given for it, `texts` has that of the
    attributes.
    """

    segment_id: str
    video_id: str
    start: float
    end: float
    texts: Mapping[str, str]
    vectors: Mapping[str, Vector]
    attributes: Attributes


class SegmentRow(NamedTuple):
    """One valid row: its offset in the unpacked file, and the segment; None deletes it."""

    byte_offset: int
    segment_id: str
    segment: Segment | None


def collection_of(key: str, prefix: str) -> str:
    """Return the collection that a key belongs to; raises InvalidInputError."""
    name, slash, file = key.removeprefix(prefix).partition("/")
    if not slash or not file or "/" in file:
        raise InvalidInputError(
            f"not in a collection's folder. Put the file at {prefix}<collection>/<name>.jsonl."
        )
    if not COLLECTION_NAME.fullmatch(name):
        raise InvalidInputError(
            "not a collection name. Use 3 to 32 lower-case letters, digits and hyphens; "
            "begin and end with a letter or digit."
        )
    if not file.removesuffix(".gz").endswith(".jsonl"):
        raise InvalidInputError("not a segment file: expected .jsonl or .jsonl.gz")
    return name


def read_segment(
    line: Line, modalities: Modalities, dimension: int
) -> SegmentRow | RejectedRow | None:
    """Turn one line into a row or a rejection; None for a blank line."""
    data = row_data(line, SEGMENT_ROWS)
    if not isinstance(data, bytes):
        return data
    try:
        return _row(line.offset, strict_json.loads(data), modalities, dimension)
    except InvalidInputError as error:
        return RejectedRow(line.offset, str(error), shown(data))


def metadata_text(attributes: Attributes) -> str:
    """Return the text of the modality `metadata`: the values of the attributes, by name.

    Booleans have no words of their own, so they count by their name where they are true.
    """
    words = (_words(name, attributes[name]) for name in sorted(attributes))
    return "\n".join(text for text in words if text)


def _words(name: str, value: AttributeValue) -> str:
    if isinstance(value, bool):
        return name if value else ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return ", ".join(value)


def _row(offset: int, value: object, modalities: Modalities, dimension: int) -> SegmentRow:
    if not isinstance(value, dict):
        raise InvalidInputError("not a JSON object")
    segment_id = _identifier(value, "segment_id")
    if "deleted" in value:
        if value["deleted"] is not True or len(value) > 2:
            raise InvalidInputError("a deletion has only segment_id and deleted: true")
        return SegmentRow(offset, segment_id, None)
    if value.keys() - _FIELDS:
        raise InvalidInputError(f"an unknown field. Use only {', '.join(sorted(_FIELDS))}.")
    start, end = _time(value, "start"), _time(value, "end")
    if end < start:
        raise InvalidInputError("end is before start")
    video_id, attributes = _identifier(value, "video_id"), _attributes(value)
    texts = _texts(value, modalities)
    if METADATA in modalities and (text := texts.get(METADATA) or metadata_text(attributes)):
        texts[METADATA] = text
    vectors = _vectors(value, modalities, dimension)
    own: dict[str, AttributeValue] = {"video_id": video_id, "start": start, "end": end}
    _check_filterable({**attributes, **own, MODALITIES_ATTRIBUTE: sorted({*texts, *vectors})})
    text_bytes = sum(len(text.encode()) for text in texts.values())
    if text_bytes + FLOAT_BYTES * dimension * len({*texts, *vectors}) > MAX_SEGMENT_BYTES:
        raise InvalidInputError(f"texts and vectors are longer than {MAX_SEGMENT_BYTES} bytes")
    segment = Segment(segment_id, video_id, start, end, texts, vectors, attributes)
    return SegmentRow(offset, segment_id, segment)


def _identifier(value: Mapping[str, object], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str) or not found.strip():
        raise InvalidInputError(f"{name} is missing or blank")
    if len(found.encode()) > MAX_ID_BYTES:
        raise InvalidInputError(f"{name} is longer than {MAX_ID_BYTES} bytes")
    if _has_controls(found):
        raise InvalidInputError(f"{name} has a control character")
    return found


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in text)


def _time(value: Mapping[str, object], name: str) -> float:
    found = value.get(name)
    if not _is_number(found) or float(found) < 0:
        raise InvalidInputError(f"{name} is not a number of seconds from 0")
    return float(found)


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number that a double can hold; a boolean is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _object(value: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = value.get(name, {})
    if not isinstance(found, dict):
        raise InvalidInputError(f"{name} is not a JSON object")
    return found


def _texts(value: Mapping[str, object], modalities: Modalities) -> dict[str, str]:
    texts: dict[str, str] = {}
    for modality, text in _object(value, "texts").items():
        if modality not in modalities:
            raise InvalidInputError(
                f"texts has a key that is not a modality. Use {', '.join(modalities)}."
            )
        if not isinstance(text, str):
            raise InvalidInputError(f"texts.{modality} is not a string")
        if len(text.encode()) > MAX_TEXT_BYTES:
            raise InvalidInputError(f"texts.{modality} is longer than {MAX_TEXT_BYTES} bytes")
        if text.strip():
            texts[modality] = text
    return texts


def _vectors(
    value: Mapping[str, object], modalities: Modalities, dimension: int
) -> dict[str, Vector]:
    vectors: dict[str, Vector] = {}
    for modality, numbers in _object(value, "vectors").items():
        if modality not in modalities:
            raise InvalidInputError(
                f"vectors has a key that is not a modality. Use {', '.join(modalities)}."
            )
        if not isinstance(numbers, list) or len(numbers) != dimension:
            raise InvalidInputError(f"vectors.{modality} does not have {dimension} numbers")
        vectors[modality] = _vector(numbers, modality)
    return vectors


def _vector(numbers: list[object], modality: str) -> Vector:
    floats = [float(number) for number in numbers if _is_number(number)]
    if len(floats) == len(numbers):
        vector = array("f", floats)  # a number beyond 32 bits becomes infinite
        if any(vector) and all(map(math.isfinite, vector)):
            return vector
    raise InvalidInputError(f"vectors.{modality} is zero or has something that is not a number")


def _attributes(value: Mapping[str, object]) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    found = _object(value, "attributes")
    if len(found) > MAX_ATTRIBUTES:
        raise InvalidInputError(f"more than {MAX_ATTRIBUTES} attributes")
    for name, content in found.items():
        _check_name(name)
        if content != []:  # an empty list is dropped
            attributes[name] = _attribute(content)
    return attributes


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > MAX_ATTRIBUTE_NAME or _has_controls(name):
        raise InvalidInputError(
            "the name of an attribute is blank, has a control character, or is longer than "
            f"{MAX_ATTRIBUTE_NAME} characters"
        )
    if name in RESERVED_ATTRIBUTES or name[0] in "_$":
        raise InvalidInputError(
            "the name of an attribute is reserved. Do not use "
            f"{', '.join(sorted(RESERVED_ATTRIBUTES))}, or a name that begins with _ or $."
        )


def _attribute(content: object) -> AttributeValue:
    if isinstance(content, str | bool):
        return content
    if _is_number(content):
        return content
    if isinstance(content, list) and all(isinstance(one, str) for one in content):
        return content
    raise InvalidInputError("an attribute is not a string, number, boolean or list of strings")


def _check_filterable(filterable: Attributes) -> None:
    if len(json.dumps(filterable, ensure_ascii=False).encode()) > MAX_FILTERABLE_BYTES:
        raise InvalidInputError(
            f"attributes, video_id, start and end are longer than {MAX_FILTERABLE_BYTES} bytes"
        )

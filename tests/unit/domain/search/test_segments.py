"""Segment files: what a line may hold, and reasons that never quote it."""

import json
from array import array
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.errors import InvalidInputError
from search_router.domain.search.segment_records import row_order, upload_order
from search_router.domain.search.segments import (
    MAX_FILTERABLE_BYTES,
    MAX_SEGMENT_BYTES,
    MAX_TEXT_BYTES,
    SEGMENT_ROWS,
    Segment,
    SegmentRow,
    collection_of,
    metadata_text,
    read_segment,
)
from search_router.domain.splits.rows import RejectedRow
from search_router.domain.streams import Line

MODALITIES = ("visual", "audio", "metadata")
QUOTED = "zqsecret"


def read(data: bytes, offset: int = 7, dimension: int = 2) -> SegmentRow | RejectedRow | None:
    return read_segment(Line(1, offset, data, len(data)), MODALITIES, dimension)


def row(**changes: Any) -> dict[str, Any]:
    fields = {"segment_id": "s1", "video_id": "v1", "start": 0, "end": 1.5, **changes}
    return {name: value for name, value in fields.items() if value is not ...}


def segment(**changes: Any) -> Segment:
    found = read(json.dumps(row(**changes)).encode())
    assert isinstance(found, SegmentRow), found
    assert found.segment is not None
    return found.segment


def reason(value: Any) -> str:
    found = read(value if isinstance(value, bytes) else json.dumps(value).encode())
    assert isinstance(found, RejectedRow), found
    assert found.byte_offset == 7
    assert QUOTED not in found.reason
    return found.reason


def test_a_segment_is_read_with_texts_vectors_and_attributes() -> None:
    attributes = {"genre": "drama", "people": ["Ann", "Bo"], "year": 2021, "hd": True, "tags": []}

    found = segment(
        texts={"visual": "a red door", "audio": " \t"},
        vectors={"audio": [1, 0.5]},
        attributes=attributes,
    )

    assert found.texts == {"visual": "a red door", "metadata": "drama\nhd\nAnn, Bo\n2021"}
    assert found.vectors == {"audio": array("f", [1, 0.5])}
    assert found.attributes == {
        name: attributes[name] for name in ("genre", "people", "year", "hd")
    }
    assert (found.start, found.end) == (0.0, 1.5)


def test_a_text_for_metadata_replaces_that_of_the_attributes() -> None:
    found = segment(texts={"metadata": "a western"}, attributes={"genre": "drama"})

    assert found.texts == {"metadata": "a western"}


def test_a_segment_may_have_nothing_but_its_place() -> None:
    assert segment() == Segment("s1", "v1", 0.0, 1.5, {}, {}, {})


def test_a_deletion_has_only_an_id() -> None:
    assert read(b'{"segment_id": "s1", "deleted": true}') == SegmentRow(7, "s1", None)
    for extra in ({"deleted": False}, {"deleted": True, "video_id": QUOTED}):
        assert reason({"segment_id": "s1", **extra}).startswith("a deletion has only segment_id")


def test_blank_lines_are_no_rows_and_long_ones_are_rejected() -> None:
    assert read(b" \t ") is None
    long = read_segment(Line(1, 7, None, 2**21), MODALITIES, 2)
    assert long == RejectedRow(7, f"longer than {SEGMENT_ROWS.max_row_bytes} bytes", None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"segment_id": ...}, "segment_id is missing or blank"),
        ({"segment_id": " \u2003"}, "segment_id is missing or blank"),
        ({"segment_id": 1}, "segment_id is missing or blank"),
        ({"segment_id": QUOTED * 40}, "segment_id is longer than 256 bytes"),
        ({"segment_id": f"{QUOTED}\u0085"}, "segment_id has a control character"),
        ({"video_id": ""}, "video_id is missing or blank"),
        ({"video_id": "a\x00b"}, "video_id has a control character"),
        ({"start": -0.1}, "start is not a number of seconds from 0"),
        ({"start": True}, "start is not a number of seconds from 0"),
        ({"start": "0"}, "start is not a number of seconds from 0"),
        ({"end": ...}, "end is not a number of seconds from 0"),
        ({"end": 10**350}, "end is not a number of seconds from 0"),
        ({"start": 2}, "end is before start"),
        ({QUOTED: 1}, "an unknown field. Use only attributes, end,"),
        ({"texts": [QUOTED]}, "texts is not a JSON object"),
        ({"texts": {QUOTED: "x"}}, "texts has a key that is not a modality"),
        ({"texts": {"visual": 1}}, "texts.visual is not a string"),
        ({"texts": {"visual": "x" * (MAX_TEXT_BYTES + 1)}}, "texts.visual is longer than 32768"),
        ({"vectors": {QUOTED: [1, 2]}}, "vectors has a key that is not a modality"),
        ({"vectors": {"visual": [1]}}, "vectors.visual does not have 2 numbers"),
        ({"vectors": {"visual": QUOTED}}, "vectors.visual does not have 2 numbers"),
        ({"vectors": {"visual": [0, -0.0]}}, "vectors.visual is zero or has something"),
        ({"vectors": {"visual": [1, True]}}, "vectors.visual is zero or has something"),
        ({"vectors": {"visual": [1, 1e39]}}, "vectors.visual is zero or has something"),
        ({"vectors": {"visual": [1, 10**350]}}, "vectors.visual is zero or has something"),
        ({"attributes": QUOTED}, "attributes is not a JSON object"),
        ({"attributes": {QUOTED: None}}, "an attribute is not a string, number, boolean or list"),
        ({"attributes": {QUOTED: {"a": 1}}}, "an attribute is not a string, number, boolean"),
        ({"attributes": {"a": [QUOTED, 1]}}, "an attribute is not a string, number, boolean"),
        ({"attributes": {"a": 10**350}}, "an attribute is not a string, number, boolean or list"),
        ({"attributes": {"a" * 64: 1}}, "the name of an attribute is blank"),
        ({"attributes": {" ": 1}}, "the name of an attribute is blank"),
        ({"attributes": {"a\nb": 1}}, "the name of an attribute is blank"),
        ({"attributes": {f"_{QUOTED}": 1}}, "the name of an attribute is reserved"),
        ({"attributes": {f"${QUOTED}": 1}}, "the name of an attribute is reserved"),
        ({"attributes": {"video_id": QUOTED}}, "the name of an attribute is reserved"),
        ({"attributes": {f"a{n}": n for n in range(46)}}, "more than 45 attributes"),
        ({"attributes": {"a": "é" * MAX_FILTERABLE_BYTES}}, "attributes, video_id, start and end"),
    ],
)
def test_an_invalid_row_is_rejected_with_the_field(changes: dict[str, Any], expected: str) -> None:
    assert reason(row(**changes)).startswith(expected)


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b'{"segment_id": ',
        b'{"segment_id": "\xff"}',
        b'{"segment_id": "\\ud800", "deleted": true}',
        b'{"segment_id": "a", "segment_id": "b", "deleted": true}',
        b'{"segment_id": "a", "video_id": "v", "start": NaN, "end": 1}',
        b"[" * 5_000,
    ],
)
def test_what_is_not_strict_json_is_rejected(line: bytes) -> None:
    assert reason(line)


def test_a_segment_fits_an_item_of_its_table() -> None:
    modalities = tuple(f"m{n}" for n in range(16))
    texts = dict.fromkeys(modalities[:11], "x" * MAX_TEXT_BYTES)
    data = json.dumps(row(texts=texts)).encode()

    fits = read_segment(Line(1, 0, data, len(data)), modalities, 1)
    found = read_segment(Line(1, 0, data, len(data)), modalities, 3072)

    assert isinstance(fits, SegmentRow)
    assert isinstance(found, RejectedRow)
    assert found.reason == f"texts and vectors are longer than {MAX_SEGMENT_BYTES} bytes"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ["segment_id", "video_id", "start", "end", "texts", "vectors", "attributes", "deleted"]


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON, max_size=6))
def test_any_object_is_a_row_or_a_rejection(value: dict[str, Any]) -> None:
    found = read(json.dumps(row(**value)).encode())

    assert isinstance(found, SegmentRow | RejectedRow)


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=9) | st.booleans() | st.integers()))
def test_the_text_of_attributes_does_not_depend_on_their_order(attributes: dict[str, Any]) -> None:
    assert metadata_text(attributes) == metadata_text(dict(reversed(attributes.items())))


@pytest.mark.parametrize("name", ["a", "ab", "Films", "-films", "films-", "a" * 33, "fi_lms", "é"])
def test_other_collection_names_are_rejected(name: str) -> None:
    with pytest.raises(InvalidInputError, match="not a collection name"):
        collection_of(f"segments/{name}/a.jsonl", "segments/")


@pytest.mark.parametrize("name", ["abc", "a-1", "0" * 32])
def test_collection_names_are_as_documented(name: str) -> None:
    assert collection_of(f"segments/{name}/a.jsonl.gz", "segments/") == name


def test_orders_sort_by_second_then_sequencer_then_upload_then_offset() -> None:
    at = datetime(2026, 12, 1, 9, 59, 59, tzinfo=UTC)
    later = at + timedelta(seconds=1)
    uploads = [
        upload_order(at, "", "seg-f"),
        upload_order(at, "00ab", "seg-e"),
        upload_order(at, "00AB01", "seg-d"),
        upload_order(later, "not hex", "seg-0"),
        upload_order(later, "", "seg-1"),
    ]
    orders = [row_order(upload, offset) for upload in uploads for offset in (0, 9, 10, 10**11)]

    assert orders == sorted(orders)
    assert len(set(orders)) == 20

"""Reading splits: every row in exactly one, wherever the cuts fall, and what a row may be."""

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_router.domain.logs.dialects import Dialect
from search_router.domain.logs.rows import LogRow, read_row
from search_router.domain.splits.formats import RowFormat
from search_router.domain.splits.rows import (
    RejectedRow,
    raw_rows,
    raw_rows_of_range,
    rejected_row,
    rejected_unread,
)
from search_router.domain.streams import Line
from tests.records import JSONL, TEXT, jsonl, rows_in

ROW_LIMIT = 40
BOM = b"\xef\xbb\xbf"
PIECES = [
    b'{"query":"dogs"}',
    '{"query":"caf\u00e9 \N{GRINNING FACE}"}'.encode(),
    b"\xc3",
    b"not json",
    b"x" * (ROW_LIMIT + 1),
    b"y" * 200,
    b"\n",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b" ",
]
BODIES = st.tuples(st.sampled_from([b"", BOM]), st.lists(st.sampled_from(PIECES), max_size=14)).map(
    lambda parts: parts[0] + b"".join(parts[1])
)


def rows_of(body: bytes, cuts: list[int], dialect: Dialect) -> list[LogRow | RejectedRow]:
    """Read a body split by split, each with only the bytes that a worker fetches."""
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    limited = dialect.model_copy(update={"max_row_bytes": ROW_LIMIT})
    rows: list[LogRow | RejectedRow] = []
    for start, end in pairwise(places):
        fetched = body[max(0, start - 1) : end + ROW_LIMIT + 1]
        chunks = [fetched[place : place + 7] for place in range(0, len(fetched), 7)]
        rows.extend(rows_in(raw_rows_of_range(chunks, start, end, limited), limited))
    return rows


@given(BODIES, st.lists(st.integers(0, 400), max_size=8), st.sampled_from([JSONL, TEXT]))
@example(b"a" * ROW_LIMIT + b"\r\nb\r\n", [1, 2, 40, 41, 42, 43], TEXT)
@example(b"a\n" + b"b" * ROW_LIMIT + b"\r\nc", [2, 3], TEXT)
@example(b"a\n" + b"b" * 300 + b"\nc", [3, 50, 100, 150, 301, 302, 303], TEXT)
@example(b"\xc3\xa9\xc3\xa9\n\xc3\xa9", [1, 2, 3, 4, 5, 6], TEXT)
@example(BOM + b"dogs\n", [1, 2, 3, 4, 7], TEXT)
def test_every_row_is_in_exactly_one_split(body: bytes, cuts: list[int], dialect: Dialect) -> None:
    assert rows_of(body, cuts, dialect) == rows_of(body, [], dialect)


def test_every_single_byte_may_be_a_split_of_its_own() -> None:
    body = BOM + b'{"query":"a"}\r\n\r\n\n{"query":"\xc3\xa9"}\nbroken\n{"query":"b"}'
    rows = rows_of(body, list(range(len(body))), JSONL)

    assert [row.byte_offset for row in rows] == [0, 21, 36, 43]
    assert [row.query for row in rows if isinstance(row, LogRow)] == ["a", "é", "b"]


@pytest.mark.parametrize(
    ("data", "dialect", "reason"),
    [
        (b'{"query": ', JSONL, "not JSON"),
        (b'"dogs"', JSONL, "not a JSON object"),
        (b'{"q": "dogs"}', JSONL, "no query text"),
        (b'{"query": ["dogs"]}', JSONL, "no query text"),
        (b'{"query": " \\u00a0 "}', JSONL, "the query is blank"),
        (b'{"query": "a", "query": "b"}', JSONL, "names a key twice"),
        (b'{"query": "\\ud800"}', JSONL, "half of a surrogate pair"),
        (b'{"query": "\xff"}', JSONL, "not UTF-8 at byte 11"),
        (jsonl([{"query": "q" * 4_001}])[:-1], JSONL, "longer than 4000 bytes"),
        (jsonl([{"query": "é" * 2_001}])[:-1], JSONL, "longer than 4000 bytes"),
        (b"caf\xe9", TEXT, "not UTF-8 at byte 3"),
        (b"q" * 4_001, TEXT, "longer than 4000 bytes"),
        (b"red cars" + bytes(3), TEXT, "contains NUL"),
        (b"\0" * 3_000, TEXT, "contains NUL"),
        (b"\x1a", TEXT, "only control or zero-width characters"),
        ("\u200b\u200d \ufeff\u00ad".encode(), TEXT, "only control or zero-width characters"),
        ("\u3164\u2800".encode(), TEXT, "only control or zero-width characters"),
        (b'{"query": "{\\"match\\": {}}"}', JSONL, "the query is query DSL"),
        (b'[{"match": {"title": "dogs"}}]', TEXT, "the query is query DSL"),
        ("\u3000".encode(), TEXT, "the query is blank"),
    ],
)
def test_a_row_without_a_usable_query_is_rejected_with_its_text_but_no_quote(
    data: bytes, dialect: Dialect, reason: str
) -> None:
    row = read_row(Line(2, 77, data, len(data)), dialect)

    assert isinstance(row, RejectedRow)
    assert reason in row.reason
    assert row.byte_offset == 77
    assert row.text == data.decode("utf-8", errors="backslashreplace")
    assert json.loads(rejected_row(row)) == row._asdict()


CSV = Dialect(format=RowFormat.CSV, query_field="query", columns=("query", "ts"), quoted=True)
TSV = Dialect(format=RowFormat.TSV, query_field="query", columns=("query", "ts"))


@pytest.mark.parametrize(
    ("data", "dialect", "query"),
    [
        (b"dogs,1", CSV, "dogs"),
        (b'"dogs, ""red""\ncars",1', CSV, 'dogs, "red"\ncars'),
        (b'5" pipe,1', CSV, '5" pipe'),
        (b"dogs\x00,1", CSV, "dogs\x00"),
        (b'"{""visual"": 1}",1', CSV, '{"visual": 1}'),
        (b'"dogs"\t1', TSV, '"dogs"'),
        (b" dogs \t1", TSV, " dogs "),
    ],
)
def test_the_columns_of_a_row_are_what_was_written(
    data: bytes, dialect: Dialect, query: str
) -> None:
    row = read_row(Line(1, 7, data, len(data)), dialect)

    assert row == LogRow(7, query, {"query": query, "ts": "1"})


@pytest.mark.parametrize(
    ("data", "dialect", "reason"),
    [
        (b"dogs", CSV, "1 fields instead of 2"),
        (b"dogs,1,", CSV, "3 fields instead of 2"),
        (b",1", CSV, "the query is blank"),
        (b'"dogs"x,1', CSV, "not CSV"),
        (b'dogs,"1', CSV, "not CSV"),
        (b"dogs\rcats,1", CSV, "not CSV"),
        (b"caf\xe9,1", CSV, "not UTF-8 at byte 3"),
        (b"\t", TSV, "the query is blank"),
        (b"a\tb\tc", TSV, "3 fields instead of 2"),
    ],
)
def test_a_row_that_does_not_fit_the_header_is_rejected(
    data: bytes, dialect: Dialect, reason: str
) -> None:
    row = read_row(Line(1, 7, data, len(data)), dialect)

    assert isinstance(row, RejectedRow)
    assert reason in row.reason
    assert row.byte_offset == 7


def test_the_header_is_no_row_in_whichever_split_it_lies() -> None:
    body = b"\nquery\tts\ndogs\t1\ncats\t2\n"
    dialect = TSV.model_copy(update={"header_end": 9})

    for cut in range(1, len(body)):
        rows = rows_of(body, [cut], dialect)
        assert [row.byte_offset for row in rows] == [10, 17]


def test_whole_rows_are_read_from_where_they_begin() -> None:
    body = b'"a\nb",1\n\nc,2\n'

    rows = rows_in(raw_rows([body], 100, CSV), CSV)

    assert [(row.byte_offset, row.query) for row in rows if isinstance(row, LogRow)] == [
        (100, "a\nb"), (109, "c"),
    ]  # fmt: skip


def test_a_row_over_the_limit_is_rejected_without_its_text() -> None:
    row = read_row(Line(1, 5, None, 10**6), JSONL)

    assert row == RejectedRow(5, "longer than 65536 bytes", None)
    assert json.loads(rejected_row(RejectedRow(5, "x", None)))["text"] is None


def test_a_query_of_the_greatest_length_is_accepted_and_all_columns_are_kept() -> None:
    columns = {"query": "q" * 4_000, "ts": 1.5, "user": None, "tags": ["a", {"b": True}]}
    data = jsonl([columns])[:-1]

    assert read_row(Line(1, 0, data, len(data)), JSONL) == LogRow(0, "q" * 4_000, columns)


def test_only_the_very_first_row_may_start_with_a_byte_order_mark() -> None:
    data = BOM + b'{"query": "dogs"}'

    assert isinstance(read_row(Line(1, 0, data, len(data)), JSONL), LogRow)
    assert isinstance(read_row(Line(2, 50, data, len(data)), JSONL), RejectedRow)
    assert read_row(Line(1, 0, BOM, 3), TEXT) is None


def test_a_line_can_be_rejected_unread_with_its_text() -> None:
    lines = raw_rows([BOM + b"query\n\nbroken\n" + b"x" * 70_000 + b"\ndogs\xff"], 0, CSV)
    dialect = CSV.model_copy(update={"header_end": 8})

    rows = [row for line in lines if (row := rejected_unread(line, dialect, "why")) is not None]

    assert rows == [
        RejectedRow(10, "why", "broken"),
        RejectedRow(17, "why", None),
        RejectedRow(70_018, "why", "dogs\\xff"),
    ]

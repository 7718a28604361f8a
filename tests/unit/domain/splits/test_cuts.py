"""Cutting a log that is read anyway: every byte once, whole rows, bounded memory."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from search_router.domain.logs.dialects import Dialect
from search_router.domain.splits.cuts import Cut, cut_rows
from search_router.domain.splits.formats import RowFormat
from search_router.domain.splits.rows import RejectedRow, raw_rows
from tests.records import rows_in

ROW_LIMIT = 40
JSONL = Dialect(format=RowFormat.JSONL, query_field="query", max_row_bytes=ROW_LIMIT)
TEXT = Dialect(format=RowFormat.TEXT, query_field="query", max_row_bytes=ROW_LIMIT)
CSV = Dialect(
    format=RowFormat.CSV,
    query_field="q",
    columns=("q",),
    header_end=2,
    quoted=True,
    max_row_bytes=ROW_LIMIT,
)
PIECES = [b"q\n", b"dogs\n", b"\n", b'"a\nb"\n', b'"', b"x" * 30, b"y" * 300 + b"\n", b"\r\n", b","]


def cuts_of(body: bytes, dialect: Dialect, size: int, rows: int, chunk: int = 9) -> list[Cut]:
    chunks = (body[place : place + chunk] for place in range(0, len(body), chunk))
    return list(cut_rows(chunks, dialect, size, rows))


@given(
    st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join),
    st.sampled_from([CSV, TEXT]),
    st.integers(ROW_LIMIT, 200),
    st.integers(1, 9),
)
@example(b"q\n" + b"z" * 1_000 + b"\ndogs\n", CSV, 50, 3)
@example(b'q\n"a\n' + b"z" * 1_000 + b"\ndogs\n", CSV, 50, 3)
def test_split_by_split_the_same_rows_are_read_as_from_the_whole(
    body: bytes, dialect: Dialect, size: int, rows: int
) -> None:
    cuts = cuts_of(body, dialect, size, rows)

    whole = rows_in(raw_rows([body], 0, dialect), dialect)
    parts = [rows_in(raw_rows([cut.data], cut.start, dialect), dialect) for cut in cuts]
    assert [row for part in parts for row in part] == whole
    assert [cut.rows for cut in cuts] == [len(part) for part in parts]
    assert all(len(part) <= rows for part in parts)
    places = [0, *(cut.end for cut in cuts)]
    assert [cut.start for cut in cuts] == places[:-1]
    assert places[-1] == len(body)
    assert all(one < other for one, other in pairwise(places))
    for cut in cuts:
        assert len(cut.data) <= size + 4 * ROW_LIMIT + 9
        assert cut.data == body[cut.start : cut.end] or len(cut.data) > ROW_LIMIT


def test_splits_are_as_large_as_the_limits_allow() -> None:
    body = b"dogs\n" * 1_000

    assert [cut.rows for cut in cuts_of(body, TEXT, 100, 1_000)] == [20] * 50
    assert [cut.rows for cut in cuts_of(body, TEXT, 10_000, 300)] == [300, 300, 300, 100]


def test_a_row_of_any_length_is_never_held() -> None:
    longest = 0

    def body() -> "list[bytes]":
        return [b"dogs\n", *([b"x" * 1_000] * 1_000), b"\ncats\n"]

    for cut in cut_rows(body(), TEXT, 100, 10):
        longest = max(longest, len(cut.data))
        rows = rows_in(raw_rows([cut.data], cut.start, TEXT), TEXT)
        if cut.end - cut.start > 10_000:
            assert rows == [RejectedRow(5, "longer than 40 bytes", None)]
    assert longest < 2_500
    assert (cut.start, cut.data) == (1_000_006, b"cats\n")


def test_blank_rows_and_the_header_are_not_counted() -> None:
    assert [cut.rows for cut in cuts_of(b"\n \n", JSONL, 100, 1)] == [0]
    assert [cut.rows for cut in cuts_of(b"q\n\ndogs\n", CSV, 100, 9)] == [1]

"""Rows of a CSV: where they end is what the csv module thinks, and a stray quote stays local."""

import csv
import io
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_router.domain.splits.quoted_rows import join_quoted
from search_router.domain.streams import split_lines

LIMIT = 60


def joined(body: bytes, chunk: int = 7, limit: int = LIMIT) -> list[tuple[int, bytes | None]]:
    chunks = [body[place : place + chunk] for place in range(0, len(body), chunk)]
    return [(row.offset, row.data) for row in join_quoted(split_lines(chunks, limit), b",", limit)]


FIELDS = st.text(st.sampled_from('ab",\n\r '), max_size=8)


@given(
    st.lists(st.lists(FIELDS, min_size=2, max_size=4), max_size=6), st.sampled_from(["\n", "\r\n"])
)
def test_output_of_the_csv_module_is_split_into_its_rows(rows: list[list[str]], end: str) -> None:
    if sys.version_info < (3, 13) and any("\r" in field for row in rows for field in row):
        end = "\r\n"  # with "\n" that writer does not quote "\r"
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=end).writerows(rows)
    body = file.getvalue().encode()

    found = joined(body, limit=1_000)

    texts = [data.decode() for _, data in found if data is not None]
    assert [next(csv.reader([text], strict=True)) for text in texts] == rows
    assert [
        body[offset : offset + len(text)] for (offset, _), text in zip(found, texts, strict=True)
    ] == [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'a,"b\nc"\nd\n', [(0, b'a,"b\nc"'), (8, b"d")]),
        (b'a,"b\r\nc"\r\nd', [(0, b'a,"b\r\nc"'), (10, b"d")]),
        (b'"a\n\n\n",b\n', [(0, b'"a\n\n\n",b')]),
        (b'"a ""b""\nc""d"\ne', [(0, b'"a ""b""\nc""d"'), (15, b"e")]),
        (b'"a\nb","c\nd"\ne', [(0, b'"a\nb","c\nd"'), (12, b"e")]),
        (b'5" pipe,1\n6" pipe,2\n', [(0, b'5" pipe,1'), (10, b'6" pipe,2')]),
        (b'\xef\xbb\xbf"a\nb",c\nd', [(0, b'\xef\xbb\xbf"a\nb",c'), (11, b"d")]),
    ],
)
def test_a_quoted_line_end_is_no_end_of_a_row(body: bytes, rows: list[tuple[int, bytes]]) -> None:
    assert joined(body) == rows


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'a,"b\nc\nd\n', [(0, b'a,"b'), (5, b"c"), (7, b"d")]),
        (b'a,"b\n1,"c"\n2,d\n', [(0, b'a,"b'), (5, b'1,"c"'), (11, b"2,d")]),
        (b'a,"b\n' + b"c\n" * 40, [(0, b'a,"b'), *((5 + 2 * n, b"c") for n in range(40))]),
        (b'a,"b"c\nd\n', [(0, b'a,"b"c'), (7, b"d")]),
        (b'"a\n' + b"x" * 90 + b"\nb", [(0, b'"a'), (3, None), (94, b"b")]),
    ],
)
def test_a_quote_that_is_never_closed_costs_one_line(
    body: bytes, rows: list[tuple[int, bytes | None]]
) -> None:
    assert joined(body) == rows


def test_lines_that_keep_quotes_open_become_one_row_that_is_no_csv() -> None:
    body = b'x,"\n' + b'a","b\n' * 20

    first, *others = joined(body)

    assert first[1] is not None
    assert first[1].startswith(b'x,"\na","b\n')
    assert len(first[1]) <= LIMIT
    with pytest.raises(csv.Error):
        next(csv.reader([first[1].decode()], strict=True))
    assert b"\n".join([first[1], *(data or b"" for _, data in others)]) == body[:-1]


@given(st.lists(st.sampled_from([b"a", b'"', b",", b"\n", b"\r\n", b'""', b"x" * 70]), max_size=40))
@example([b'"', b"\n", b'"', b"a", b"\n"])
def test_no_byte_is_lost_and_chunk_borders_do_not_matter(
    pieces: list[bytes],
) -> None:
    body = b"".join(pieces)

    rows = joined(body)

    assert rows == joined(body, chunk=1) == joined(body, chunk=1_000)
    offsets = [offset for offset, _ in rows]
    assert offsets == sorted(set(offsets))
    for (offset, data), end in zip(rows, [*offsets[1:], len(body)], strict=False):
        if data is not None:
            assert body[offset:end].rstrip(b"\n").removesuffix(b"\r") == data.removesuffix(b"\r")


def test_hostile_quotes_take_linear_time() -> None:
    for piece in (b'x","y\n', b'"\n', b'a"\n', b'"a"b\n', b'""",\n', b'"' * 60_000 + b"\n"):
        body = piece * (300_000 // len(piece))
        started = time.process_time()
        assert sum(1 for _ in join_quoted(split_lines([body], 65_536), b",", 65_536)) > 0
        assert time.process_time() - started < 3

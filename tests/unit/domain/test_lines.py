"""Lines: independent of the chunks, with the right offsets, in bounded memory."""

import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from search_router.domain.streams import Line, lines_at, split_lines

LIMIT = 8
BODIES = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"xyz", b"01234567"])).map(b"".join)


def chunked(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in pairwise(bounds)]


def expected_lines(body: bytes) -> list[Line]:
    """Split the slow and obvious way."""
    pieces = body.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    lines, offset = [], 0
    for number, piece in enumerate(pieces, start=1):
        data = piece.removesuffix(b"\r")
        if len(data) > LIMIT:
            lines.append(Line(number, offset, None, len(piece)))
        else:
            lines.append(Line(number, offset, data, len(data)))
        offset += len(piece) + 1
    return lines


@given(BODIES, st.lists(st.integers(0, 100), max_size=6))
@example(b"01234567\r\n", [8, 9])
@example(b"012345678\r\n", [3, 9, 10])
@example(b"01234567\r", [8])
@example(b"\n\n", [0, 1])
def test_any_chunking_gives_the_lines_of_the_whole(body: bytes, cuts: list[int]) -> None:
    assert list(split_lines(chunked(body, cuts), LIMIT)) == expected_lines(body)


@given(BODIES, st.lists(st.integers(0, 100), max_size=6), st.integers(0, 50))
def test_offsets_point_at_the_bytes(body: bytes, cuts: list[int], base: int) -> None:
    lines = list(split_lines(chunked(body, cuts), LIMIT, first_number=5, first_offset=base))

    assert [line.number for line in lines] == list(range(5, 5 + len(lines)))
    for line in lines:
        start = line.offset - base
        assert start == 0 or body[start - 1 : start] == b"\n"
        if line.data is not None:
            assert body[start:].startswith(line.data)


def test_only_a_line_feed_ends_a_line_and_one_carriage_return_is_dropped() -> None:
    body = b"a\rb\r\r\nc\x00\x0b\x0c\x1e\n" + "d\u2028e\u0085f".encode()

    lines = [line.data for line in split_lines([body], 100)]

    assert lines == [b"a\rb\r", b"c\x00\x0b\x0c\x1e", "d\u2028e\u0085f".encode()]


def test_an_empty_file_has_no_line_and_a_last_line_needs_no_end() -> None:
    assert list(split_lines([], LIMIT)) == []
    assert list(split_lines([b"", b""], LIMIT)) == []
    assert [line.data for line in split_lines([b"a\n"], LIMIT)] == [b"a"]
    assert [line.data for line in split_lines([b"a\n", b"b"], LIMIT)] == [b"a", b"b"]


def test_a_line_over_the_limit_is_counted_but_never_held() -> None:
    def giant() -> Iterator[bytes]:
        for _ in range(512):
            yield bytes(64 * 1024)
        yield b"\nshort\n"

    tracemalloc.start()
    lines = list(split_lines(giant(), 256 * 1024))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    size = 512 * 64 * 1024
    assert lines == [Line(1, 0, None, size), Line(2, size + 1, b"short", 5)]
    assert peak < 1024 * 1024


_LIMIT_AT = 12
_BODIES_AT = st.lists(
    st.sampled_from([b"a", b"\n", b"\r\n", b"xyz", b"0123456789ab", b"x" * 20])
).map(b"".join)


@given(_BODIES_AT, st.integers(1, 9), st.data())
def test_the_lines_at_offsets_are_those_of_the_whole(
    body: bytes, size: int, data: st.DataObject
) -> None:
    lines = [line for line in split_lines([body], _LIMIT_AT) if line.data is not None]
    wanted = [line for line in lines if data.draw(st.booleans())]
    chunks = [body[start : start + size] for start in range(0, len(body), size)]

    assert list(lines_at(chunks, [line.offset for line in wanted], _LIMIT_AT)) == wanted


def test_a_line_over_the_limit_ends_the_search() -> None:
    assert list(lines_at([b"x" * 50, b"\nshort\n"], [0, 51], _LIMIT_AT)) == []

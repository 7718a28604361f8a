"""Reading only some lines again: the same lines, whatever the chunks, and nothing else is cut."""

from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.streams import lines_at, split_lines

LIMIT = 12
BODIES = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"xyz", b"0123456789ab", b"x" * 20])).map(
    b"".join
)


@given(BODIES, st.integers(1, 9), st.data())
def test_the_lines_at_offsets_are_those_of_the_whole(
    body: bytes, size: int, data: st.DataObject
) -> None:
    lines = [line for line in split_lines([body], LIMIT) if line.data is not None]
    wanted = [line for line in lines if data.draw(st.booleans())]
    chunks = [body[start : start + size] for start in range(0, len(body), size)]

    assert list(lines_at(chunks, [line.offset for line in wanted], LIMIT)) == wanted


def test_a_line_over_the_limit_ends_the_search() -> None:
    assert list(lines_at([b"x" * 50, b"\nshort\n"], [0, 51], LIMIT)) == []

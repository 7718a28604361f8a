r"""Cut a stream of bytes into lines, with bounded memory and exact byte offsets.

Only `\n` ends a line (JSON strings may hold U+2028 and friends), one trailing `\r` is dropped, and
a line over the limit is reported without ever being held whole.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Line(NamedTuple):
    """One line: its number from 1, the offset of its first byte, and its bytes.

    `data` is None for a line over the limit; `size` counts its bytes without the line end.
    """

    number: int
    offset: int
    data: bytes | None
    size: int


def split_lines(
    chunks: Iterable[bytes], max_bytes: int, *, first_number: int = 1, first_offset: int = 0
) -> Iterator[Line]:
    """Yield the lines of a byte stream; memory is one chunk plus `max_bytes`."""
    number, offset = first_number, first_offset
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        pieces = chunk.split(b"\n")
        for piece in pieces[:-1]:
            if size:
                held.append(piece)
                size += len(piece)
                data = b"".join(held) if size <= max_bytes + 1 else None
            else:
                data, size = piece, len(piece)
            yield _line(number, offset, data, size, max_bytes)
            number, offset = number + 1, offset + size + 1
            held, size = [], 0
        tail = pieces[-1]
        size += len(tail)
        if size <= max_bytes + 1:
            held.append(tail)
        else:
            held = []
    if size:
        data = b"".join(held) if size <= max_bytes + 1 else None
        yield _line(number, offset, data, size, max_bytes)


def _line(number: int, offset: int, data: bytes | None, size: int, max_bytes: int) -> Line:
    if data is not None and data.endswith(b"\r"):
        data = data[:-1]
    if data is None or len(data) > max_bytes:
        return Line(number, offset, None, size)
    return Line(number, offset, data, len(data))

"""Process byte streams piece by piece: decompress, split into lines, batch."""

import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

from search_router.domain.errors import InvalidInputError

BOM = b"\xef\xbb\xbf"  # the byte order mark of UTF-8
MAX_RATIO = 200
MAX_MEMBERS = 100_000  # bgzip writes a member for every 64 KiB: 4 GiB have 65,536
_SMALL_BYTES = 4 * 1024
_STEP_BYTES = 64 * 1024
_GZIP_WINDOW = 31  # zlib's code for "gzip header and trailer, 32 KiB window"
_FREE_BYTES = 16 * 1024 * 1024  # unpacked bytes without a limit on the ratio


def gunzip(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield the unpacked bytes of one or more gzip members.

    Raises InvalidInputError for damaged or truncated input, more than `max_bytes` unpacked, a ratio
    over 200:1 beyond the first 16 MiB, or too many members.
    """
    packed = unpacked = members = 0
    member = zlib.decompressobj(_GZIP_WINDOW)
    open_member = False
    for chunk in chunks:
        packed += len(chunk)
        position, size = 0, _STEP_BYTES
        while position < len(chunk):
            if member.eof:
                member, members = zlib.decompressobj(_GZIP_WINDOW), members + 1
                size = _SMALL_BYTES  # zlib copies what follows a member
            data = chunk[position : position + size]
            piece = _unpack(member, data, unpacked)
            position += len(data) - len(member.unused_data) - len(member.unconsumed_tail)
            open_member = not member.eof
            unpacked += len(piece)
            _check_size(unpacked, packed, members, max_bytes)
            if piece:
                yield piece
    if open_member:
        raise InvalidInputError(f"the gzip data is truncated after {unpacked} unpacked bytes")


def _check_size(unpacked: int, packed: int, members: int, max_bytes: int) -> None:
    if unpacked > max_bytes:
        raise InvalidInputError(f"more than {max_bytes} bytes when unpacked")
    if unpacked > max(_FREE_BYTES, packed * MAX_RATIO):
        raise InvalidInputError(f"unpacks to more than {MAX_RATIO} times its size")
    if members >= MAX_MEMBERS:
        raise InvalidInputError(f"more than {MAX_MEMBERS} gzip members")


def is_gzip(start: bytes) -> bool:
    """Return whether data begins with gzip's two magic bytes (RFC 1952)."""
    return start.startswith(b"\x1f\x8b")


def _unpack(member: "zlib._Decompress", data: bytes, unpacked: int) -> bytes:
    try:
        return member.decompress(data, _STEP_BYTES)
    except zlib.error:
        raise InvalidInputError(
            f"the gzip data is damaged after {unpacked} unpacked bytes"
        ) from None


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
        tail = pieces.pop()
        for piece in pieces:
            if size:
                held.append(piece)
                size += len(piece)
                data = b"".join(held) if size <= max_bytes + 1 else None
            else:
                data, size = piece, len(piece)
            if data is None or size > max_bytes or data[-1:] == b"\r":
                yield _line(number, offset, data, size, max_bytes)
            else:
                yield Line(number, offset, data, size)
            number, offset = number + 1, offset + size + 1
            if held:
                held = []
            size = 0
        size += len(tail)
        if size <= max_bytes + 1:
            held.append(tail)
        else:
            held = []
    if size:
        data = b"".join(held) if size <= max_bytes + 1 else None
        yield _line(number, offset, data, size, max_bytes)


def lines_at(chunks: Iterable[bytes], offsets: Iterable[int], max_bytes: int) -> Iterator[Line]:
    """Yield the lines that begin at the given ascending offsets.

    Stops at a line over the limit, so its offset must not be among them.
    """
    wanted = iter(offsets)
    number, position, rest = 1, 0, b""
    target = next(wanted, None)
    for chunk in chunks:
        if target is None:
            return
        block = rest + chunk
        counted = 0
        while target is not None and (end := block.find(b"\n", target - position)) >= 0:
            start = target - position
            number += block.count(b"\n", counted, start)
            yield _line(number, target, block[start:end], end - start, max_bytes)
            counted, target = start, next(wanted, None)
        kept = len(block) if target is None else min(len(block), target - position)
        number += block.count(b"\n", counted, kept)
        position, rest = position + kept, block[kept:]
        if len(rest) > max_bytes + 1:
            return
    if target is not None and rest:
        yield _line(number, target, rest, len(rest), max_bytes)


def _line(number: int, offset: int, data: bytes | None, size: int, max_bytes: int) -> Line:
    if data is not None and data.endswith(b"\r"):
        data = data[:-1]
    if data is None or len(data) > max_bytes:
        return Line(number, offset, None, size)
    return Line(number, offset, data, len(data))


ItemT = TypeVar("ItemT")


def batched(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    """Yield lists of `size` items, drawn on demand; the last may be shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch

"""Unpack gzip streams without trusting them: several members, truncation and bombs.

A gzip bomb reaches 1,029:1; honest JSON Lines stay far below 200:1.
"""

import zlib
from collections.abc import Iterable, Iterator

from search_router.domain.errors import InvalidInputError

MAX_RATIO = 200
_STEP_BYTES = 64 * 1024
_GZIP_WINDOW = 31  # zlib's code for "gzip header and trailer, 32 KiB window"
_FREE_BYTES = 16 * 1024 * 1024  # small files may compress as well as they like


def gunzip(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield the unpacked bytes of one or more gzip members.

    Raises InvalidInputError for damaged or truncated input, more than `max_bytes` unpacked, or a
    ratio over 200:1 beyond the first 16 MiB.
    """
    packed = unpacked = 0
    member = zlib.decompressobj(_GZIP_WINDOW)
    open_member = False
    for chunk in chunks:
        packed += len(chunk)
        data = chunk
        while data:
            if member.eof:
                member = zlib.decompressobj(_GZIP_WINDOW)
            piece = _unpack(member, data, unpacked)
            open_member = not member.eof
            unpacked += len(piece)
            if unpacked > max_bytes:
                raise InvalidInputError(f"more than {max_bytes} bytes when unpacked")
            if unpacked > max(_FREE_BYTES, packed * MAX_RATIO):
                raise InvalidInputError(f"unpacks to more than {MAX_RATIO} times its size")
            yield piece
            data = member.unused_data if member.eof else member.unconsumed_tail
    if open_member:
        raise InvalidInputError(f"the gzip data is truncated after {unpacked} unpacked bytes")


def is_gzip(start: bytes) -> bool:
    """Tell gzip data by its first two bytes; names and headers may lie (RFC 1952)."""
    return start.startswith(b"\x1f\x8b")


def _unpack(member: "zlib._Decompress", data: bytes, unpacked: int) -> bytes:
    try:
        return member.decompress(data, _STEP_BYTES)
    except zlib.error:
        place = f"after {unpacked} unpacked bytes"
        raise InvalidInputError(f"the gzip data is damaged {place}") from None

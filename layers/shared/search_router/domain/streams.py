"""Process byte streams piece by piece: decompress, decode, split into lines, batch.

The content of a file decides how it is read, never its name.
"""

import codecs
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple, TypeVar

from search_router.domain.errors import InvalidInputError

BOM = b"\xef\xbb\xbf"  # the byte order mark of UTF-8
MAX_RATIO = 200
MAX_MEMBERS = 100_000  # bgzip writes a member for every 64 KiB: 4 GiB have 65,536
_SMALL_BYTES = 4 * 1024
_STEP_BYTES = 64 * 1024
_GZIP_WINDOW = 31  # zlib's code for "gzip header and trailer, 32 KiB window"
_FREE_BYTES = 16 * 1024 * 1024  # unpacked bytes without a limit on the ratio
_SNIFFED_BYTES = 64 * 1024
_UTF8 = "utf-8"
_PADDING = re.compile(rb"\0+")
_BOMS = (  # the mark of UTF-16LE begins that of UTF-32LE
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BINARY = tuple(
    (re.compile(pattern, re.DOTALL), what)
    for pattern, what in (
        (rb"PK[\x03\x05\x07][\x04\x06\x08]", "a ZIP archive or an Excel workbook"),
        (rb"\xd0\xcf\x11\xe0", "an Excel workbook"),
        (rb"PAR1\x15", "a Parquet file"),
        (rb"Obj\x01", "an Avro file"),
        (rb"SQLite format 3\0", "an SQLite database"),
        (rb"%PDF-", "a PDF"),
        (rb"BZh[1-9]1AY", "compressed with bzip2"),
        (rb"\xfd7zXZ\0", "compressed with xz"),
        (rb"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
        (rb".{257}ustar", "a tar archive"),
    )
)


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
                padding = _PADDING.match(chunk, position)  # of tapes and block devices
                position = padding.end() if padding else position
                if position == len(chunk):
                    break
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
        raise InvalidInputError(
            f"the gzip data is truncated after {unpacked} unpacked bytes. Copy the file again."
        )


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


@dataclass(frozen=True, slots=True)
class TextForm:
    """How a file stores its text: gzipped, in an encoding, with CR as the line end."""

    packed: bool = False
    encoding: str = _UTF8
    cr_only: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the stored bytes are UTF-8 with LF or CRLF."""
        return self == TextForm()

    def __str__(self) -> str:
        ends = "CR line ends" if self.cr_only else "LF or CRLF line ends"
        return f"{self.encoding.upper()}, {ends}{', gzipped' if self.packed else ''}"


def find_form(start: bytes) -> TextForm:
    """Return the form of a file by its first bytes; raises InvalidInputError if it is not text."""
    packed = is_gzip(start)
    text = _first_unpacked(start) if packed else start
    encoding = next((name for bom, name in _BOMS if text.startswith(bom)), _UTF8)
    if encoding == _UTF8:
        _check_text(text)
    else:
        text = codecs.getincrementaldecoder(encoding)("replace").decode(text).encode()
    return TextForm(packed, encoding, b"\r" in text[:-1] and b"\n" not in text)


def text_of(chunks: Iterable[bytes], form: TextForm, max_bytes: int) -> Iterable[bytes]:
    """Return the text of a file as UTF-8 whose lines end in LF or CRLF.

    `max_bytes` limits what is unpacked. A part that cannot be decoded becomes invalid UTF-8.
    """
    if form.packed:
        chunks = gunzip(chunks, max_bytes)
    if form.encoding != _UTF8:
        chunks = _as_utf8(chunks, form.encoding)
    if form.cr_only:
        chunks = (chunk.replace(b"\r", b"\n") for chunk in chunks)
    return chunks


def read_text(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield the text of a file as `text_of` does, in the form that its first bytes show."""
    remaining = iter(chunks)
    start = bytearray()
    for chunk in remaining:
        start += chunk
        if len(start) >= _SNIFFED_BYTES:
            break
    if start:
        form = find_form(bytes(start))
        yield from text_of(chain([bytes(start)], remaining), form, max_bytes)


def _first_unpacked(start: bytes) -> bytes:
    taken = bytearray()
    with suppress(InvalidInputError):  # `start` may end inside a member
        for piece in gunzip([start], _FREE_BYTES):
            taken += piece
            if len(taken) >= _SNIFFED_BYTES:
                break
    return bytes(taken)


def _check_text(start: bytes) -> None:
    """Raise InvalidInputError for binary files and for UTF-16 or UTF-32 without a mark."""
    if is_gzip(start):
        raise InvalidInputError("gzipped twice. Unpack it once.")
    for pattern, what in _BINARY:
        if pattern.match(start):
            raise InvalidInputError(f"{what}, not text. Save the rows as CSV or JSON Lines.")
    guess = _likely_encoding(start[:4096])
    if guess:
        raise InvalidInputError(
            f"not UTF-8: likely {guess} without a byte order mark. Save the file as UTF-8."
        )


def _likely_encoding(start: bytes) -> str:
    """Return the wide encoding that the places of zero bytes show, or an empty string."""
    quarter = len(start) // 4
    zeros = [start[place::4].count(0) for place in range(4)]
    for name, first, second, low in (("UTF-32BE", 0, 1, 3), ("UTF-32LE", 3, 2, 0)):
        if zeros[first] >= quarter > zeros[low] * 10 and zeros[second] * 10 > quarter * 8:
            return name
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    most = max(even, odd)
    if most < 2 or most * 50 < len(start) or min(even, odd) * 10 > most:
        return ""
    return "UTF-16LE" if odd > even else "UTF-16BE"


def _as_utf8(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield decoded text; half of a surrogate pair becomes invalid UTF-8, which rejects its row."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        if error.reason != "truncated data":
            raise InvalidInputError(
                f"damaged {encoding.upper()}. Save the file as UTF-8."
            ) from None
        yield b"\xff"


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


def first_bytes(chunks: Iterable[bytes], size: int) -> bytes:
    """Return at most the first `size` bytes; reads no chunk more than that takes."""
    taken = bytearray()
    for chunk in chunks:
        taken += chunk
        if len(taken) >= size:
            break
    return bytes(taken[:size])


ItemT = TypeVar("ItemT")


def batched(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    """Yield lists of `size` items, drawn on demand; the last may be shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch

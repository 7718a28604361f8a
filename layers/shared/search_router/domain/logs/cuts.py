"""Cut a log that has to be read anyway, packed or quoted, into splits of whole rows.

The text streams through: what is held is one split, never more than about its size limit.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from search_router.domain.logs.dialects import MAX_ROW_BYTES, Dialect
from search_router.domain.logs.rows import is_blank, raw_rows
from search_router.domain.streams import Line


class Cut(NamedTuple):
    """One split: the bytes [start, end) of the text, the rows in it, and the bytes themselves.

    Of a row over the size limit, `data` holds as much as shows that it is.
    """

    start: int
    end: int
    rows: int
    data: bytes


def cut_rows(
    chunks: Iterable[bytes], dialect: Dialect, max_bytes: int, max_rows: int
) -> Iterator[Cut]:
    """Cut a whole log, read from its first byte, into splits of at most so many bytes and rows."""
    tape = _Tape(chunks, max_bytes + 4 * MAX_ROW_BYTES)
    rows = 0
    for line in raw_rows(tape.read(), 0, dialect):
        full = rows >= max_rows or line.offset + line.size - tape.start > max_bytes
        if full and line.offset > tape.start:
            yield tape.cut(line.offset, rows)
            rows = 0
        rows += _counts(line, dialect)
        if line.data is None and line.size > max_bytes:
            yield tape.cut(min(line.offset + line.size + 1, tape.end), rows)
            rows = 0
    if tape.end > tape.start:
        yield tape.cut(tape.end, rows)


def _counts(line: Line, dialect: Dialect) -> bool:
    if line.offset < dialect.header_end:
        return False
    return line.data is None or not is_blank(line.data, dialect)


class _Tape:
    """Passes chunks on and remembers what was read since the last cut, up to a limit."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._held = bytearray()  # from `start` to the beginning of `_chunk`
        self._chunk = b""
        self.start = 0
        self.end = 0

    def read(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._held += self._chunk[: max(0, self._limit - len(self._held))]
            self._chunk = chunk
            self.end += len(chunk)
            yield chunk

    def cut(self, end: int, rows: int) -> Cut:
        """Cut at `end`: in the latest chunk, or before it as far as quotes were followed."""
        inside = end - (self.end - len(self._chunk))
        if inside <= 0:
            size = end - self.start
            data = bytes(self._held[:size])
            del self._held[:size]
        else:
            whole = len(self._held) < self._limit
            data = bytes(self._held) + (self._chunk[:inside] if whole else b"")
            self._held.clear()
            self._chunk = self._chunk[inside:]
        cut = Cut(self.start, end, rows, data)
        self.start = end
        return cut

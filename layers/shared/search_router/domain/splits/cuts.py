"""Cut a gzipped or quoted file into splits of whole rows.

The text is streamed; memory is about one split's size limit.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from search_router.domain.splits.formats import RowLayout
from search_router.domain.splits.rows import is_blank, raw_rows
from search_router.domain.streams import Line


class Cut(NamedTuple):
    """One split: its offsets [start, end) in the text, its number of rows, and its bytes.

    `first_line` is the number of its first line in the file, from 1. `data` is cut off after a row
    that exceeds the size limit.
    """

    start: int
    end: int
    rows: int
    first_line: int
    data: bytes


def cut_rows(
    chunks: Iterable[bytes], layout: RowLayout, max_bytes: int, max_rows: int
) -> Iterator[Cut]:
    """Cut a whole file into splits of at most `max_bytes` and `max_rows`."""
    buffer = _Buffer(chunks, max_bytes + 4 * layout.max_row_bytes)
    rows, number = 0, 1
    for line in raw_rows(buffer.read(), 0, layout):
        full = rows >= max_rows or line.offset + line.size - buffer.start > max_bytes
        if full and line.offset > buffer.start:
            yield buffer.cut(line.offset, rows, number)
            rows, number = 0, line.number
        rows += _counts(line, layout)
        if line.data is None and line.size > max_bytes:
            yield buffer.cut(min(line.offset + line.size + 1, buffer.end), rows, number)
            rows, number = 0, line.number + 1
    if buffer.end > buffer.start:
        yield buffer.cut(buffer.end, rows, number)


def _counts(line: Line, layout: RowLayout) -> bool:
    if line.offset < layout.header_end:
        return False
    return line.data is None or not is_blank(line.data, layout)


class _Buffer:
    """Passes chunks on and keeps the bytes since the last cut, up to a limit."""

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

    def cut(self, end: int, rows: int, first_line: int) -> Cut:
        """Cut at `end`, which may lie before the latest chunk if a quoted field was followed."""
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
        cut = Cut(self.start, end, rows, first_line, data)
        self.start = end
        return cut

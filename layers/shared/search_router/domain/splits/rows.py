"""Read the raw rows of one split, and reject rows.

A line belongs to the split that contains its first byte. A split cut at any byte is read as in
Hadoop: skip the first, partial line, and read past the end to finish the last one. A split cut
between rows is read as it is.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import NamedTuple

from search_router.domain.splits.formats import RowFormat, RowLayout
from search_router.domain.splits.quoted_rows import join_quoted
from search_router.domain.streams import BOM, Line, split_lines


class RejectedRow(NamedTuple):
    """One row that cannot be used; `reason` never quotes the row.

    `line_number` counts from 1; it is None where the lines before the split are not counted.
    """

    byte_offset: int
    reason: str
    text: str | None
    line_number: int | None = None


def raw_rows_of_range(
    chunks: Iterable[bytes], start: int, end: int, layout: RowLayout
) -> Iterator[Line]:
    """Yield the lines whose first byte is in [start, end), including blank lines and the header.

    `chunks` must begin at byte `start - 1` (at 0 for the first split) and may run past `end`.
    """
    first_offset = max(0, start - 1)
    lines = split_lines(chunks, layout.max_row_bytes, first_offset=first_offset)
    if start > 0:
        next(lines, None)  # the end of a line of the previous split
    return takewhile(lambda line: line.offset < end, lines)


def raw_rows(
    chunks: Iterable[bytes], start: int, layout: RowLayout, first_line: int = 1
) -> Iterator[Line]:
    """Split text that begins with a row into rows, including blank ones and the header."""
    lines = split_lines(chunks, layout.max_row_bytes, first_number=first_line, first_offset=start)
    if layout.quoted:
        return join_quoted(lines, layout.delimiter.encode(), layout.max_row_bytes)
    return lines


def row_data(line: Line, layout: RowLayout) -> bytes | RejectedRow | None:
    """Return a row's bytes, its rejection if it is too long, or None for a blank or header line."""
    if line.offset < layout.header_end:
        return None
    if line.data is None:
        return RejectedRow(line.offset, f"longer than {layout.max_row_bytes} bytes", None)
    data = line.data.removeprefix(BOM) if line.offset == 0 else line.data
    return None if is_blank(data, layout) else data


def rejected_unread(line: Line, layout: RowLayout, reason: str) -> RejectedRow | None:
    """Reject one line without reading it; None for a blank line and the header."""
    data = row_data(line, layout)
    if isinstance(data, bytes):
        return RejectedRow(line.offset, reason, shown(data))
    return data and data._replace(reason=reason)


def is_blank(data: bytes, layout: RowLayout) -> bool:
    """Return whether a line is blank; in a TSV, tabs separate empty fields."""
    return not data.strip(b" \r\n" if layout.format is RowFormat.TSV else None)


def shown(data: bytes) -> str:
    """Return a row's bytes as text, with what is not UTF-8 escaped."""
    return data.decode("utf-8", errors="backslashreplace")


def rejected_row(row: RejectedRow) -> bytes:
    """Render a rejection, one JSON line."""
    return json.dumps(row._asdict(), ensure_ascii=False).encode("utf-8") + b"\n"

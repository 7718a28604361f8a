"""Read the rows of one split: each becomes a query with its columns, or a rejection.

A line belongs to the split that contains its first byte. A split cut at any byte is read as in
Hadoop: skip the first, partial line, and read past the end to finish the last one. A split cut
between rows is read as it is.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import NamedTuple

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.dialects import (
    MAX_ROW_BYTES,
    Dialect,
    LogFormat,
    fields_of,
    value_at,
)
from search_router.domain.logs.query_fields import holds_query_dsl
from search_router.domain.logs.quoted_rows import join_quoted
from search_router.domain.queries import MAX_QUERY_BYTES, problem_of
from search_router.domain.streams import BOM, Line, split_lines

_MAY_BEGIN_JSON = frozenset("{[ \t\n")


class LogRow(NamedTuple):
    """One row of a log: its query, its columns, and its offset in the unpacked log."""

    byte_offset: int
    query: str
    columns: dict[str, object]


class RejectedRow(NamedTuple):
    """One row without a usable query; `reason` never quotes the row."""

    byte_offset: int
    reason: str
    text: str | None


def raw_rows_of_range(chunks: Iterable[bytes], start: int, end: int) -> Iterator[Line]:
    """Yield the lines whose first byte is in [start, end), including blank lines and the header.

    `chunks` must begin at byte `start - 1` (at 0 for the first split) and may run past `end`.
    """
    first_offset = max(0, start - 1)
    lines = split_lines(chunks, MAX_ROW_BYTES, first_offset=first_offset)
    if start > 0:
        next(lines, None)  # the end of a line of the previous split
    return takewhile(lambda line: line.offset < end, lines)


def raw_rows(chunks: Iterable[bytes], start: int, dialect: Dialect) -> Iterator[Line]:
    """Split text that begins with a row into rows, including blank ones and the header."""
    lines = split_lines(chunks, MAX_ROW_BYTES, first_offset=start)
    if dialect.quoted:
        return join_quoted(lines, dialect.delimiter.encode(), MAX_ROW_BYTES)
    return lines


def read_row(line: Line, dialect: Dialect) -> LogRow | RejectedRow | None:
    """Turn one line into a row or a rejection; None for a blank line and the header."""
    if line.offset < dialect.header_end:
        return None
    if line.data is None:
        return RejectedRow(line.offset, f"longer than {MAX_ROW_BYTES} bytes", None)
    data = _without_bom(line.offset, line.data)
    if is_blank(data, dialect):
        return None
    try:
        return _row(line.offset, data, dialect)
    except InvalidInputError as error:
        return RejectedRow(line.offset, str(error), _shown(data))


def rejected_unread(line: Line, dialect: Dialect, reason: str) -> RejectedRow | None:
    """Reject one line without reading it; None for a blank line and the header."""
    if line.offset < dialect.header_end:
        return None
    if line.data is None:
        return RejectedRow(line.offset, reason, None)
    data = _without_bom(line.offset, line.data)
    return None if is_blank(data, dialect) else RejectedRow(line.offset, reason, _shown(data))


def is_blank(data: bytes, dialect: Dialect) -> bool:
    """Return whether a line is blank; in a TSV, tabs separate empty fields."""
    return not data.strip(b" \r\n" if dialect.format is LogFormat.TSV else None)


def rejected_row(row: RejectedRow) -> bytes:
    """Render a rejection, one JSON line."""
    return json.dumps(row._asdict(), ensure_ascii=False).encode("utf-8") + b"\n"


def _without_bom(offset: int, data: bytes) -> bytes:
    return data.removeprefix(BOM) if offset == 0 else data


def _shown(data: bytes) -> str:
    return data.decode("utf-8", errors="backslashreplace")


def _row(offset: int, data: bytes, dialect: Dialect) -> LogRow:
    if dialect.format is LogFormat.JSONL:
        value = strict_json.loads(data)
        if not isinstance(value, dict):
            raise InvalidInputError("not a JSON object")
        return LogRow(offset, _checked_query(value_at(value, dialect.query_field)), value)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"not UTF-8 at byte {error.start}") from None
    if dialect.format is LogFormat.TEXT:
        return LogRow(offset, _checked_query(text), {})
    columns = _columns(fields_of(text, dialect), dialect)
    return LogRow(offset, _checked_query(columns.get(dialect.query_field)), columns)


def _columns(fields: list[str], dialect: Dialect) -> dict[str, object]:
    if len(fields) != len(dialect.columns):
        raise InvalidInputError(f"{len(fields)} fields instead of {len(dialect.columns)}")
    columns: dict[str, object] = dict(zip(dialect.columns, fields, strict=True))
    if dialect.optional:
        for name in dialect.columns[-dialect.optional :]:
            if not columns[name]:
                del columns[name]
    return columns


def _checked_query(query: object) -> str:
    if not isinstance(query, str):
        raise InvalidInputError("the row has no query text")
    if problem := problem_of(query):
        raise InvalidInputError(problem)
    if query[0] in _MAY_BEGIN_JSON and holds_query_dsl(query):
        raise InvalidInputError("the query is query DSL, not text")
    if len(query.encode("utf-8")) > MAX_QUERY_BYTES:
        raise InvalidInputError(f"the query is longer than {MAX_QUERY_BYTES} bytes")
    return query

"""Read the rows of a query log: each becomes a query with its columns, or a rejection."""

from typing import NamedTuple

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.dialects import Dialect, fields_of, value_at
from search_router.domain.logs.query_fields import holds_query_dsl
from search_router.domain.queries import MAX_QUERY_BYTES, problem_of
from search_router.domain.splits.formats import RowFormat
from search_router.domain.splits.rows import RejectedRow, row_data, shown
from search_router.domain.streams import Line

_MAY_BEGIN_JSON = frozenset("{[ \t\n")


class LogRow(NamedTuple):
    """One row of a log: its query, its columns, and its offset in the unpacked log."""

    byte_offset: int
    query: str
    columns: dict[str, object]


def read_row(line: Line, dialect: Dialect) -> LogRow | RejectedRow | None:
    """Turn one line into a row or a rejection; None for a blank line and the header."""
    data = row_data(line, dialect)
    if not isinstance(data, bytes):
        return data
    try:
        return _row(line.offset, data, dialect)
    except InvalidInputError as error:
        return RejectedRow(line.offset, str(error), shown(data))


def _row(offset: int, data: bytes, dialect: Dialect) -> LogRow:
    if dialect.format is RowFormat.JSONL:
        value = strict_json.loads(data)
        if not isinstance(value, dict):
            raise InvalidInputError("not a JSON object")
        return LogRow(offset, _checked_query(value_at(value, dialect.query_field)), value)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"not UTF-8 at byte {error.start}") from None
    if dialect.format is RowFormat.TEXT:
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
    if len(query) * 4 > MAX_QUERY_BYTES and len(query.encode("utf-8")) > MAX_QUERY_BYTES:
        raise InvalidInputError(f"the query is longer than {MAX_QUERY_BYTES} bytes")
    return query

"""How the rows of a query log are written, found once by the planner from the log's first bytes.

    .jsonl  one JSON object a line
    .txt    one query a line
    .csv    RFC 4180, with a header: fields may be quoted and then hold commas and line ends
    .tsv    IANA text/tab-separated-values, with a header: a field never holds a tab or a line end

Quotes in a TSV are text, because search queries quote phrases. Two things only a CSV writer makes:
a field with doubled quotes inside quotes, which is unquoted, and a header whose every name is
quoted, after which the whole file is read as CSV with tabs.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.quoted_rows import join_quoted
from search_router.domain.streams import Line, split_lines

MAX_ROW_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024  # it is in every message: ten of them must fit into one SQS batch
MAX_FIELD_DEPTH = 4
QUERY_FIELDS = ("query", "q", "user_query", "search_query", "url_query")
BOM = b"\xef\xbb\xbf"
_QUOTED_BY_A_WRITER = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')


class LogFormat(StrEnum):
    """How rows are written."""

    JSONL = "jsonl"
    TEXT = "text"
    CSV = "csv"
    TSV = "tsv"


_BY_SUFFIX = {
    ".jsonl": LogFormat.JSONL,
    ".txt": LogFormat.TEXT,
    ".csv": LogFormat.CSV,
    ".tsv": LogFormat.TSV,
}
_DELIMITERS = {LogFormat.CSV: ",", LogFormat.TSV: "\t"}


class Dialect(BaseModel):
    """What a reader must know of a log.

    `query_field` is a column's name or, in JSON, a path such as `request.query`; `columns` are the
    header's names; what begins before byte `header_end` is no row; `quoted` says that a row may
    span several lines.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: LogFormat
    query_field: str
    columns: tuple[str, ...] = ()
    header_end: int = 0
    quoted: bool = False

    @property
    def delimiter(self) -> str:
        """What stands between two fields of a CSV or TSV."""
        return _DELIMITERS[self.format]


def log_format(key: str) -> LogFormat:
    """Return the format that a key's ending names; raises InvalidInputError."""
    name = key.removesuffix(".gz")
    for suffix, found in _BY_SUFFIX.items():
        if name.endswith(suffix):
            return found
    raise InvalidInputError(f"not a query log: expected {', '.join(_BY_SUFFIX)}, each also .gz")


def find_dialect(key: str, sample: bytes, *, whole: bool, wanted: str = "") -> Dialect | None:
    """Find the dialect from a log's first bytes; None if they hold no row that tells.

    `wanted` names the query field, otherwise it is looked for; `whole` says that nothing follows
    the sample. Raises InvalidInputError for a header that cannot be used.
    """
    found = log_format(key)
    lines = split_lines([sample], MAX_ROW_BYTES)
    if found is LogFormat.TEXT:
        return Dialect(format=found, query_field="query") if _rows(lines) else None
    if found is LogFormat.JSONL:
        field = next(filter(None, (_json_field(line, wanted) for line in _rows(lines))), None)
        return Dialect(format=found, query_field=field) if field else None
    return _with_header(found, sample, whole, wanted)


def no_query_field(wanted: str) -> InvalidInputError:
    """Say that no row names a query."""
    if wanted:
        return InvalidInputError(f"no row has a text in the query field {wanted!r}")
    return InvalidInputError(f"no row has a query field; looked for {', '.join(QUERY_FIELDS)}")


def value_at(value: Mapping[str, object], path: str) -> object:
    """Return what a path such as `request.query` leads to, or None; a literal key comes first."""
    place: object = value
    while isinstance(place, Mapping):
        if path in place:
            return place[path]
        head, dot, path = path.partition(".")
        if not dot:
            return None
        place = place.get(head)
    return None


def fields_of(text: str, dialect: Dialect) -> list[str]:
    """Cut one row of a CSV or TSV into fields; raises InvalidInputError."""
    if not dialect.quoted:
        return [_unquoted(field) for field in text.split(dialect.delimiter)]
    try:
        return next(csv.reader([text], delimiter=dialect.delimiter, strict=True))
    except csv.Error as error:
        raise InvalidInputError(f"not CSV: {error}") from None


def _with_header(found: LogFormat, sample: bytes, whole: bool, wanted: str) -> Dialect | None:
    dialect = Dialect(format=found, query_field="", quoted=True)
    lines = split_lines([sample], MAX_ROW_BYTES)
    rows = _rows(join_quoted(lines, dialect.delimiter.encode(), MAX_ROW_BYTES))
    if not rows or (rows[0].offset + MAX_HEADER_BYTES > len(sample) and not whole):
        return None  # the header may go on after the sample
    header = rows[0]
    text = _header_text(header)
    if found is LogFormat.TSV:
        names = text.split(dialect.delimiter)
        quoted = all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
        dialect = dialect.model_copy(update={"quoted": quoted})
    columns = tuple(fields_of(text, dialect))
    if len(set(columns)) < len(columns):
        raise InvalidInputError("the header names a column twice")
    field = wanted if wanted in columns else None if wanted else _named(columns)
    if field is None:
        raise _no_query_column(wanted, len(columns))
    end = header.offset + header.size
    return dialect.model_copy(update={"columns": columns, "header_end": end, "query_field": field})


def _header_text(header: Line) -> str:
    if header.data is None or len(header.data) > MAX_HEADER_BYTES:
        raise InvalidInputError(f"the header is longer than {MAX_HEADER_BYTES} bytes")
    try:
        return header.data.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"the header is not UTF-8 at byte {error.start}") from None


def _no_query_column(wanted: str, columns: int) -> InvalidInputError:
    """Say what the header lacks, without quoting it: it may be somebody's row."""
    names = repr(wanted) if wanted else f"one of {', '.join(QUERY_FIELDS)}"
    return InvalidInputError(f"the first row, {columns} fields, is no header that names {names}")


def _rows(lines: Iterator[Line]) -> list[Line]:
    """Return the rows that are not blank; one over the limit cannot tell anything."""
    return [line for line in lines if line.data and line.data.removeprefix(BOM).strip()]


def _json_field(line: Line, wanted: str) -> str | None:
    try:
        value = strict_json.loads((line.data or b"").removeprefix(BOM))
    except InvalidInputError:
        return None
    if not isinstance(value, dict):
        return None
    if wanted:
        return wanted if isinstance(value_at(value, wanted), str) else None
    return _found_in(value)


def _found_in(value: Mapping[str, object]) -> str | None:
    """Look for a query field level by level, so that the outermost wins."""
    level: list[tuple[str, Mapping[str, object]]] = [("", value)]
    for _ in range(MAX_FIELD_DEPTH):
        for prefix, fields in level:
            name = _named([name for name in fields if isinstance(fields[name], str)])
            if name is not None:
                return prefix + name
        level = [
            (f"{prefix}{name}.", inner)
            for prefix, fields in level
            for name, inner in fields.items()
            if isinstance(inner, Mapping)
        ]
    return None


def _named(names: Sequence[str]) -> str | None:
    """Return the name that means the query, whatever its case."""
    known = {name.strip().casefold(): name for name in reversed(names)}
    return next((known[field] for field in QUERY_FIELDS if field in known), None)


def _unquoted(field: str) -> str:
    if '""' in field and _QUOTED_BY_A_WRITER.fullmatch(field):
        return field[1:-1].replace('""', '"')
    return field

"""The format of a query log, found by the planner from the log's first bytes.

    .jsonl  one JSON object a line
    .txt    one query a line
    .csv    RFC 4180, with a header: fields may be quoted and then hold commas and line ends
    .tsv    IANA text/tab-separated-values, with a header: a field never holds a tab or a line end

Quotes in a TSV are text, because search queries quote phrases. There are two exceptions, which only
CSV writers produce: a quoted field with doubled quotes is unquoted, and a file whose header names
are all quoted is read as CSV with tabs.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.splits.formats import MAX_ROW_BYTES, RowFormat, RowLayout
from search_router.domain.splits.quoted_rows import join_quoted
from search_router.domain.streams import BOM, Line, split_lines

MAX_HEADER_BYTES = 16 * 1024  # every message holds it, and ten must fit into an SQS batch
MAX_FIELD_DEPTH = 4
QUERY_FIELDS = ("query", "q", "user_query", "search_query", "url_query")
_QUOTED_BY_WRITER = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')


_BY_SUFFIX = {
    ".jsonl": RowFormat.JSONL,
    ".txt": RowFormat.TEXT,
    ".csv": RowFormat.CSV,
    ".tsv": RowFormat.TSV,
}


class Dialect(RowLayout):
    """How to read a log's rows.

    `query_field` is a column's name or, in JSON, a path such as `request.query`. `columns` are the
    header's names.
    """

    query_field: str
    columns: tuple[str, ...] = ()


def log_format(key: str) -> RowFormat:
    """Return the format by a key's suffix; raises InvalidInputError."""
    name = key.removesuffix(".gz")
    for suffix, found in _BY_SUFFIX.items():
        if name.endswith(suffix):
            return found
    raise InvalidInputError(f"not a query log: expected {', '.join(_BY_SUFFIX)}, each also .gz")


def find_dialect(key: str, sample: bytes, *, whole: bool, wanted: str = "") -> Dialect | None:
    """Return the dialect of a log by its first bytes; None if they hold no row with a query.

    `wanted` is the name of the query field, searched for if empty. `whole` means that the sample is
    the whole log. Raises InvalidInputError for an unusable header.
    """
    found = log_format(key)
    lines = split_lines([sample], MAX_ROW_BYTES)
    if found is RowFormat.TEXT:
        return Dialect(format=found, query_field="query") if _rows(lines) else None
    if found is RowFormat.JSONL:
        field = next(filter(None, (_json_field(line, wanted) for line in _rows(lines))), None)
        return Dialect(format=found, query_field=field) if field else None
    return _with_header(found, sample, whole, wanted)


def no_query_field(wanted: str) -> InvalidInputError:
    """Return the error for a log without a query field."""
    if wanted:
        return InvalidInputError(f"no row has a string in the query field {wanted!r}")
    return InvalidInputError(f"no row has a query field; looked for {', '.join(QUERY_FIELDS)}")


def value_at(value: Mapping[str, object], path: str) -> object:
    """Return the value at a path such as `request.query`, or None; a literal key comes first."""
    inner: object = value
    while isinstance(inner, Mapping):
        if path in inner:
            return inner[path]
        head, dot, path = path.partition(".")
        if not dot:
            return None
        inner = inner.get(head)
    return None


def fields_of(text: str, dialect: Dialect) -> list[str]:
    """Split one row of a CSV or TSV into fields; raises InvalidInputError."""
    return _fields(text, dialect.delimiter, quoted=dialect.quoted)


def _fields(text: str, delimiter: str, *, quoted: bool) -> list[str]:
    if not quoted:
        return [_unquoted(field) for field in text.split(delimiter)]
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InvalidInputError(f"not CSV: {error}") from None


def _with_header(found: RowFormat, sample: bytes, whole: bool, wanted: str) -> Dialect | None:
    delimiter, quoted = RowLayout(format=found).delimiter, True
    lines = split_lines([sample], MAX_ROW_BYTES)
    rows = _rows(join_quoted(lines, delimiter.encode(), MAX_ROW_BYTES))
    if not rows or (rows[0].offset + MAX_HEADER_BYTES > len(sample) and not whole):
        return None  # the header may continue after the sample
    header = rows[0]
    text = _header_text(header)
    if found is RowFormat.TSV:
        names = text.split(delimiter)
        quoted = all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
    columns = tuple(_fields(text, delimiter, quoted=quoted))
    if len(set(columns)) < len(columns):
        raise InvalidInputError("the header has a column twice")
    field = wanted if wanted in columns else None if wanted else _named(columns)
    if field is None:
        raise _no_query_column(wanted, len(columns))
    return Dialect(
        format=found,
        query_field=field,
        columns=columns,
        header_end=header.offset + header.size,
        quoted=quoted,
    )


def _header_text(header: Line) -> str:
    if header.data is None or len(header.data) > MAX_HEADER_BYTES:
        raise InvalidInputError(f"the header is longer than {MAX_HEADER_BYTES} bytes")
    try:
        return header.data.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"the header is not UTF-8 at byte {error.start}") from None


def _no_query_column(wanted: str, columns: int) -> InvalidInputError:
    """Return the error for a header without the query; it may be a row, so it is not quoted."""
    names = repr(wanted) if wanted else f"one of {', '.join(QUERY_FIELDS)}"
    return InvalidInputError(f"the first row ({columns} fields) has no column named {names}")


def _rows(lines: Iterator[Line]) -> list[Line]:
    """Return the rows that are neither blank nor over the size limit."""
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
    """Find a query field, level by level, so that the outermost wins."""
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
    """Return the name of the query field, ignoring case."""
    folded = {name.strip().casefold(): name for name in reversed(names)}
    return next((folded[field] for field in QUERY_FIELDS if field in folded), None)


def _unquoted(field: str) -> str:
    if '""' in field and _QUOTED_BY_WRITER.fullmatch(field):
        return field[1:-1].replace('""', '"')
    return field

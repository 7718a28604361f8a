"""The format of a query log, found from its first bytes; its name is only a hint.

    .jsonl, .ndjson, .json, .log  one JSON object a line
    .txt                          one query a line
    .csv, .tsv                    a table with a header, separated by a comma, `;`, tab or `|`

A table separated by tabs is IANA text/tab-separated-values: a field never holds a tab or a line
end, and quotes are text, because search queries quote phrases. There are two exceptions, which only
CSV writers produce: a quoted field with doubled quotes is unquoted, and a file whose header names
are all quoted is read as CSV. Any other table is CSV (RFC 4180). Objects in every line are JSON
Lines under any name.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.query_fields import (
    FieldValues,
    choose_field,
    count_values,
    query_name,
    same_name,
    strings_in,
)
from search_router.domain.splits.formats import MAX_ROW_BYTES, RowFormat, RowLayout
from search_router.domain.splits.quoted_rows import join_quoted
from search_router.domain.streams import BOM, Line, split_lines

MAX_HEADER_BYTES = 16 * 1024  # every message holds it, and ten must fit into an SQS batch
SAMPLED_ROWS = 200
_MAX_PREAMBLE = 20  # lines before a header that are searched for it
_SHOWN_NAMES, _SHOWN_CHARACTERS = 20, 40
_COMMA, _TAB = ",", "\t"
_DELIMITERS = (_COMMA, ";", _TAB, "|")
_DELIMITER_NAMES = {_TAB: "tab"}
_QUOTED_BY_WRITER = re.compile(r'"(?:[^"]|"")*+"')  # possessive, so it is linear
_SEPARATOR_LINE = re.compile(rb'"?sep=([!#-/:-@\[-`{-~\t])"?\r?(?:\n|\Z)', re.IGNORECASE)  # Excel
_DATA = re.compile(r"(?=\D*+\d)[\d\s.,:+\-/%$\u20acTZ]++|.{80}.*|[\[{].*", re.DOTALL)


_BY_SUFFIX = {
    ".jsonl": RowFormat.JSONL,
    ".ndjson": RowFormat.JSONL,
    ".json": RowFormat.JSONL,
    ".log": RowFormat.JSONL,
    ".txt": RowFormat.TEXT,
    ".csv": RowFormat.CSV,
    ".tsv": RowFormat.TSV,
}


class Dialect(RowLayout):
    """How to read a log's rows.

    `query_field` is a column's name or, in JSON, a path such as `request.query`. `columns` are the
    names of the header's cells; the last `optional` ones had no name and are left out where they
    are empty.
    """

    query_field: str
    columns: tuple[str, ...] = ()
    optional: int = 0

    def __str__(self) -> str:
        if self.format in (RowFormat.JSONL, RowFormat.TEXT):
            return "JSON Lines" if self.format is RowFormat.JSONL else "one query a line"
        return f"table separated by {_DELIMITER_NAMES.get(self.delimiter, self.delimiter)!r}"


def log_format(key: str) -> RowFormat:
    """Return the format that a key's suffix suggests; raises InvalidInputError."""
    name = key.lower().removesuffix(".gz")
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
    first = list(islice(_rows(split_lines([sample], MAX_ROW_BYTES)), SAMPLED_ROWS))
    if not first:
        return None
    if found is not RowFormat.JSONL and all(_object(line) is not None for line in first):
        found = RowFormat.JSONL
    if problem := json_problem(first):
        raise InvalidInputError(problem)
    if found is RowFormat.JSONL:
        field = _json_field(sample, wanted)
        return Dialect(format=found, query_field=field) if field else None
    if found is RowFormat.TEXT:
        return _text_dialect(first[0])
    return _table(found, sample, whole, wanted)


def no_query_field(sample: bytes, wanted: str) -> InvalidInputError:
    """Return the error for JSON Lines without a query field: the cause and what to do."""
    first = list(islice(_rows(split_lines([sample], MAX_ROW_BYTES)), SAMPLED_ROWS))
    objects = [value for line in first if (value := _object(line)) is not None]
    if objects:
        return _no_field(_paths(objects), wanted, "field")
    return InvalidInputError(_not_objects(first))


def sampled_lines(sample: bytes, dialect: Dialect, *, whole: bool) -> list[Line]:
    """Return the first rows of a sample, without a last line that may be cut off."""
    sample = sample if whole else sample[: sample.rfind(b"\n") + 1]
    lines = split_lines([sample], MAX_ROW_BYTES)
    rows = (
        join_quoted(lines, dialect.delimiter.encode(), MAX_ROW_BYTES) if dialect.quoted else lines
    )
    after = (line for line in rows if line.offset >= dialect.header_end)
    return list(islice(_rows(after), SAMPLED_ROWS))


def json_problem(lines: Sequence[Line]) -> str:
    """Return why JSON is not JSON Lines and how to change it; empty if the reason is another."""
    texts = [_text(line) for line in lines]
    if not texts:
        return ""
    whole = "\n".join(texts)
    if re.match(r"\[\s*(?:[\[{\"]|\Z)", whole):
        return "one JSON array, not JSON Lines. Write one object a line: jq -c '.[]'."
    if re.match(r"\{\s*(?:\n|\Z)", whole) and not whole.startswith("{}"):
        return "JSON objects over several lines, not JSON Lines. Write one a line: jq -c ."
    joined = re.compile(r"\{.*\}\s*+,?\s*+\{")
    if all(
        joined.match(text) and _object(line) is None
        for text, line in zip(texts, lines, strict=True)
    ):
        return "several JSON objects on one line. Write one a line: jq -c ."
    return ""


def _not_objects(lines: Sequence[Line]) -> str:
    """Return what lines without any JSON object are instead, and what to do."""
    texts = [_text(line) for line in lines]
    ends = [text[text.find("{") :] for text in texts if "{" in text and text.endswith("}")]
    objects = [_object(Line(1, 0, end.encode(), 0)) for end in ends]
    inner = [value for value in objects if value is not None]
    if inner:
        return (
            "text before the JSON object in each line, so that no row has a query field (fields "
            f"of the objects: {_listed(_paths(inner))}). Keep only the object of each line."
        )
    if texts and all(text.startswith("{") for text in texts):
        return _broken_objects(lines[0])
    for delimiter in _DELIMITERS:
        cells = {text.count(delimiter) for text in texts}
        if len(texts) > 1 and len(cells) == 1 and cells != {0}:
            name = _DELIMITER_NAMES.get(delimiter, delimiter)
            return f"a table separated by {name!r}, not JSON Lines. Name the file .csv or .tsv."
    return "no line is a JSON object. Name the file .txt if it has one query a line."


def _broken_objects(first: Line) -> str:
    """Return what is wrong with lines that begin as objects do, by the first of them."""
    if _object(first._replace(data=_text(first).rstrip(", ").encode())) is not None:
        return "a comma after each JSON object, not JSON Lines. Remove the commas: sed 's/,$//'."
    reason = "it is cut off"
    try:
        strict_json.loads(_text(first).encode())
    except InvalidInputError as error:
        reason = str(error)
    return f"no line is a JSON object; line {first.number}: {reason}. Write one object a line."


def _text(line: Line) -> str:
    return (line.data or b"").removeprefix(BOM).decode("utf-8", "replace").strip()


def _text_dialect(first: Line) -> Dialect:
    """Return the dialect of plain lines; the name of a query field in the first one is a header."""
    end = first.offset + first.size if query_name(_text(first)) else 0
    return Dialect(format=RowFormat.TEXT, query_field="query", header_end=end)


def _no_field(fields: Mapping[str, FieldValues], wanted: str, kind: str) -> InvalidInputError:
    """Return the error that lists the fields; `kind` is "field" or "column"."""
    other = next(
        (
            f": {name} holds {found.other}"
            for name, found in fields.items()
            if not found.holds_queries and query_name(name.rpartition(".")[2])
        ),
        "",
    )
    what = f"no row has a query {kind}{other}"
    if wanted:
        what = f"no row has a string in the query {kind} {wanted!r}"
    listed = f" ({kind}s: {_listed(fields)})" if fields else ""
    return InvalidInputError(f"{what}{listed}. Name the {kind} with --query-field.")


def _listed(names: Iterable[str]) -> str:
    shown = list(islice((name[:_SHOWN_CHARACTERS] for name in names), _SHOWN_NAMES + 1))
    return ", ".join(shown[:_SHOWN_NAMES]) + (", …" if len(shown) > _SHOWN_NAMES else "")


def _paths(objects: Iterable[Mapping[str, object]]) -> dict[str, FieldValues]:
    """Return the counts of every string field by its path, then the other outermost fields.

    A name that is also a value is left out: it may be a query.
    """
    objects = list(objects)
    values = {value for row in objects for _, _, value in strings_in(row)}
    found = {
        parent + name: counts
        for (parent, name), counts in count_values(objects).items()
        if name not in values
    }
    for row in objects:
        for name in row:
            if name not in values and not isinstance(row[name], Mapping):
                found.setdefault(name, FieldValues())
    return found


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
    except csv.Error:
        raise InvalidInputError(
            "not CSV: quotes inside a field are not doubled or never closed, or a line end is "
            "not quoted"
        ) from None


class _Table(NamedTuple):
    """A sample read with one delimiter: its header, and the first rows that could be split."""

    delimiter: str
    quoted: bool
    header: Line
    names: list[str]
    rows: list[tuple[int, list[str]]]  # with their line numbers

    @property
    def share(self) -> float:
        """The share of rows with as many fields as the header."""
        fitting = sum(len(row) == len(self.names) for _, row in self.rows)
        return fitting / len(self.rows) if self.rows else 1.0


def _table(found: RowFormat, sample: bytes, whole: bool, wanted: str) -> Dialect | None:
    separator = _SEPARATOR_LINE.match(sample, len(BOM) if sample.startswith(BOM) else 0)
    start = separator.end() if separator else 0
    usual = _TAB if found is RowFormat.TSV else _COMMA
    delimiters = [separator[1].decode()] if separator else sorted(_DELIMITERS, key=usual.__ne__)
    lines = list(split_lines([sample[start:]], MAX_ROW_BYTES, first_offset=start))
    header = next(_rows(lines), None)
    if header is None or (header.offset + MAX_HEADER_BYTES > len(sample) and not whole):
        return None  # the header may continue after the sample
    tables = [table for cut in delimiters[1:] if (table := _other_table(lines, cut)) is not None]
    first = _read_table(lines, delimiters[0])
    if first is None:
        return None
    tables.insert(0, first)
    fitting = [table for table in tables if len(table.names) > 1 and table.share >= 0.5]
    table = max(
        fitting or tables[:1], key=lambda table: (_column(table, wanted) is not None, table.share)
    )
    column = _column(table, wanted)
    if column is None:
        raise _no_column(table, tables, wanted)
    columns = _column_names(table.names)
    named = max((n for n, name in enumerate(table.names, 1) if name.strip()), default=len(columns))
    return Dialect(
        format=RowFormat.TSV if table.delimiter == _TAB else RowFormat.CSV,
        query_field=columns[column],
        columns=tuple(columns),
        optional=len(columns) - named,
        header_end=table.header.offset + table.header.size,
        quoted=table.quoted,
        separator=_COMMA if table.delimiter == _TAB else table.delimiter,
    )


def _read_table(lines: Sequence[Line], delimiter: str) -> _Table | None:
    """Read the first rows with a delimiter; raises InvalidInputError for an unusable header."""
    rows = list(
        islice(_rows(join_quoted(lines, delimiter.encode(), MAX_ROW_BYTES)), SAMPLED_ROWS + 1)
    )
    if not rows:
        return None
    header, text = rows[0], _header_text(rows[0])
    quoted = True
    if delimiter == _TAB:
        names = text.split(delimiter)
        quoted = all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
        rows = rows if quoted else list(islice(_rows(iter(lines)), SAMPLED_ROWS + 1))
    read = []
    for line in rows[1:]:
        try:
            fields = _fields((line.data or b"").decode("utf-8"), delimiter, quoted=quoted)
        except (UnicodeDecodeError, InvalidInputError):
            continue
        read.append((line.number, fields))
    return _Table(delimiter, quoted, header, _fields(text, delimiter, quoted=quoted), read)


def _other_table(lines: Sequence[Line], delimiter: str) -> _Table | None:
    """Read the first rows with an unusual delimiter; None if the header cannot be read."""
    try:
        return _read_table(lines, delimiter)
    except InvalidInputError:
        return None


def _column(table: _Table, wanted: str) -> int | None:
    """Return the index of the query column, by its name and by the values of the sample."""
    names = table.names
    if wanted:
        usable = _column_names(names)
        if wanted in usable:
            return usable.index(wanted)
        return next((n for n, name in enumerate(names) if same_name(name, wanted)), None)
    values = _column_values(table)
    chosen = choose_field({("", name): found for name, found in values.items() if name.strip()})
    return names.index(chosen[1]) if chosen else None


def _column_values(table: _Table) -> dict[str, FieldValues]:
    values = {name: FieldValues() for name in reversed(table.names)}
    index = {name: place for place, name in reversed(list(enumerate(table.names)))}
    for _, row in table.rows:
        if len(row) == len(table.names):
            for name, place in index.items():
                if row[place].strip():
                    values[name].add(row[place])
    return dict(reversed(values.items()))


def _column_names(names: Sequence[str]) -> list[str]:
    """Name unnamed columns by their number, and repeated ones by their name and a number."""
    taken = set(names)
    found: list[str] = []
    for number, name in enumerate(names, start=1):
        base = name if name.strip() else f"column_{number}"
        free, count = base, 1
        while free in found or (free in taken and free != name):
            count += 1
            free = f"{base}_{count}"
        found.append(free)
    return found


def _no_column(table: _Table, tables: Sequence[_Table], wanted: str) -> InvalidInputError:
    """Return the error for a header without the query; it may be a row, so it is not quoted."""
    for other in tables:
        for number, row in other.rows[:_MAX_PREAMBLE]:
            if any(same_name(cell, wanted) if wanted else query_name(cell) for cell in row):
                return InvalidInputError(
                    f"the header is in line {number}, after other lines. Remove the lines before "
                    "it, and lines with totals at the end."
                )
    widest = max((len(row) for _, row in table.rows), default=0)
    if len(table.names) == 1 < widest:
        return InvalidInputError(
            "the first line is a title, not the header. Remove the lines before the header, and "
            "lines with totals at the end."
        )
    is_data = any(_DATA.fullmatch(name.strip()) for name in table.names)
    if is_data and not wanted:
        return InvalidInputError(
            f"the first row ({len(table.names)} fields) is not a header. Add a line with the "
            "names of the columns."
        )
    values = _column_values(table)
    cells = {cell for _, row in table.rows for cell in row}
    columns = {
        name: values[raw]
        for name, raw in zip(_column_names(table.names), table.names, strict=True)
        if raw not in cells or not raw
    }
    return _no_field({} if is_data else columns, wanted, "column")


def _header_text(header: Line) -> str:
    if header.data is None or len(header.data) > MAX_HEADER_BYTES:
        raise InvalidInputError(f"the header is longer than {MAX_HEADER_BYTES} bytes")
    try:
        return header.data.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"the header is not UTF-8 at byte {error.start}. Save the file as UTF-8."
        ) from None


def _rows(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield the rows that are neither blank nor over the size limit."""
    return (line for line in lines if line.data and line.data.removeprefix(BOM).strip())


def _object(line: Line) -> Mapping[str, object] | None:
    """Return the JSON object of a line, or None."""
    data = (line.data or b"").removeprefix(BOM)
    if data.lstrip()[:1] != b"{":
        return None
    try:
        value = strict_json.loads(data)
    except InvalidInputError:
        return None
    return value if isinstance(value, dict) else None


def _json_field(sample: bytes, wanted: str) -> str | None:
    """Search a sample, some hundred rows at a time, for the path of the query field."""
    lines = _rows(split_lines([sample], MAX_ROW_BYTES))
    while batch := list(islice(lines, SAMPLED_ROWS)):
        objects = [value for line in batch if (value := _object(line)) is not None]
        field = _wanted_path(objects, wanted) if wanted else _found_path(objects)
        if field:
            return field
    return None


def _wanted_path(objects: Sequence[Mapping[str, object]], wanted: str) -> str | None:
    if any(isinstance(value_at(value, wanted), str) for value in objects):
        return wanted
    paths = _paths(objects)
    return next((path for path in paths if same_name(path, wanted) and paths[path].texts), None)


def _found_path(objects: Iterable[Mapping[str, object]]) -> str | None:
    chosen = choose_field(count_values(objects))
    return None if chosen is None else "".join(chosen)


def _unquoted(field: str) -> str:
    if '""' in field[1:-1] and _QUOTED_BY_WRITER.fullmatch(field):
        return field[1:-1].replace('""', '"')
    return field

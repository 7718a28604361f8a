"""The rows of a routed log as CSV and as an Athena table."""

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from search_router.domain.logs.results import result_columns
from search_router.domain.weights import Modalities

SERDE = "org.openx.data.jsonserde.JsonSerDe"
_TYPES = {str: "string", int: "bigint", float: "double"}
_LONG = 2**63
_MAX_NAME = 120  # characters; Glue allows 255, and the key of the mapping repeats the name

# Also after spaces, and as full-width characters, which some spreadsheets read as the plain ones.
_FORMULA = re.compile(r"[\t\r\n\0]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def write_csv(rows: Iterable[dict[str, Any]], columns: Sequence[str], out: TextIO) -> None:
    """Write rows for a spreadsheet, with a header if there are columns.

    Text that a spreadsheet could read as a formula gets a single quote in front, and all text is in
    double quotes (OWASP, "CSV Injection"). Columns that a row lacks are empty cells.
    """
    if not columns:
        return
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow(map(_quoted, columns))
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])


def _quoted(text: str) -> str:
    """Quote a cell, and what becomes a cell if the separator is a semicolon or a tab."""
    for separator in ";\t":
        text = separator.join(map(_without_formula, text.split(separator)))
    return _without_formula(text)


def _without_formula(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return _quoted(text_of(value))


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in Athena, its type, and the key of a result row that it reads."""

    name: str
    kind: str
    key: str


def columns_of(rows: Iterable[dict[str, Any]], modalities: Modalities) -> list[Column]:
    """Return the columns of the log in order of appearance, then the result columns.

    Names in Athena are lower case and hold letters, digits and underscores. The OpenX SerDe maps
    them to the keys (docs.aws.amazon.com/athena/latest/ug/openx-json-serde.html).
    """
    results = {name: _TYPES[kind] for name, kind in result_columns(modalities).items()}
    kinds: dict[str, set[str]] = {}
    for row in rows:
        for key, value in row.items():
            if key not in results:
                kinds.setdefault(key, set()).add(kind_of(value))
    taken = set(results)
    columns = []
    for key, found in kinds.items():
        name = _free_name(key, taken)
        taken.add(name)
        columns.append(Column(name, common_kind(found), key))
    return [*columns, *(Column(name, kind, name) for name, kind in results.items())]


def table_definition(table: str, columns: Sequence[Column], location: str) -> str:
    """Return the CREATE EXTERNAL TABLE statement; `location` is the folder of the parts."""
    listed = ",\n".join(f"  `{column.name}` {column.kind}" for column in columns)
    properties = {"case.insensitive": "FALSE"}
    for column in columns:
        if column.name != column.key:
            properties[f"mapping.{column.name}"] = column.key
    mapped = ",\n".join(f"  '{name}' = '{_literal(key)}'" for name, key in properties.items())
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS `{table}` (\n{listed}\n)\n"
        f"ROW FORMAT SERDE '{SERDE}'\n"
        f"WITH SERDEPROPERTIES (\n{mapped}\n)\n"
        f"LOCATION '{_literal(location)}';\n"
    )


def table_name(log_id: str) -> str:
    """Return the name of a log's table."""
    return f"search_router_{log_id.replace('-', '_')}"


def text_of(value: object) -> str:
    """Return a value as text, or as its JSON text if it is none."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def kind_of(value: object) -> str:
    """Return the type of a value in Athena; empty for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "bigint" if -_LONG <= value < _LONG else "string"
    return "double" if isinstance(value, float) else "string"


def common_kind(kinds: set[str]) -> str:
    """Return the type that holds all kinds; objects and lists become their JSON text."""
    known = kinds - {""}
    if known == {"bigint", "double"}:
        return "double"
    return known.pop() if len(known) == 1 else "string"


def _free_name(key: str, taken: set[str]) -> str:
    name = re.sub(r"[^a-z0-9_]", "_", key.lower())[:_MAX_NAME] or "_"
    if name[0].isdigit():
        name = f"c_{name}"
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _literal(text: str) -> str:
    """Return text for a Hive string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", escaped)

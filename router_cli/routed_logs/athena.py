"""The table definition with which Athena reads a log's parts where they lie.

Athena's names are lower case and hold letters, digits and underscores; the OpenX SerDe maps them to
whatever the log's columns are called, and tells keys apart that differ in case only
(docs.aws.amazon.com/athena/latest/ug/openx-json-serde.html).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from search_router.domain.logs.results import result_columns
from search_router.domain.weights import Modalities

SERDE = "org.openx.data.jsonserde.JsonSerDe"
_TYPES = {str: "string", int: "bigint", float: "double"}
_LONG = 2**63
_MAX_NAME = 120  # Glue takes 255; the mapping's key holds the name once more


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in Athena, its type, and the key of a result row that it reads."""

    name: str
    kind: str
    key: str


def columns_of(rows: Iterable[dict[str, Any]], modalities: Modalities) -> list[Column]:
    """Return the columns of these rows: the log's own, as they first appear, then ours."""
    ours = {name: _TYPES[kind] for name, kind in result_columns(modalities).items()}
    kinds: dict[str, set[str]] = {}
    for row in rows:
        for key, value in row.items():
            if key not in ours:
                kinds.setdefault(key, set()).add(_kind(value))
    taken = set(ours)
    theirs = []
    for key, found in kinds.items():
        name = _free_name(key, taken)
        taken.add(name)
        theirs.append(Column(name, _common(found), key))
    return [*theirs, *(Column(name, kind, name) for name, kind in ours.items())]


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
    """Return the table's name for a log."""
    return f"search_router_{log_id.replace('-', '_')}"


def _kind(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "bigint" if -_LONG <= value < _LONG else "string"
    return "double" if isinstance(value, float) else "string"


def _common(kinds: set[str]) -> str:
    """Return the one type that holds all; objects and lists are read as their JSON text."""
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
    """Write text inside a Hive string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", escaped)

"""Result rows as CSV that a spreadsheet may open: no cell of a log becomes a formula.

Text that a spreadsheet could take for a formula gets a single quote in front, and all text is in
double quotes (OWASP, "CSV Injection"). So CSV is for people; JSON Lines keep every byte.
"""

import csv
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

# Also after spaces, and as full-width characters, which some spreadsheets take for the plain ones.
_FORMULA = re.compile(r"[\t\r\n\0]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def write_csv(rows: Iterable[dict[str, Any]], columns: Sequence[str], out: TextIO) -> None:
    """Write rows with a header; a column that a row does not have is an empty cell.

    Without columns there is nothing to write, not even a header.
    """
    if not columns:
        return
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow([harmless(name) for name in columns])
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])


def harmless(text: str) -> str:
    """Quote text that would be a formula; a plain number, signed or not, is none."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, int | float):
        return value
    return harmless(json.dumps(value, ensure_ascii=False))

"""What every benchmark ends with: one table, one JSON file, and an exit code that tells the truth.

A benchmark measures ours, the obvious way and the limit in one run. A goal that is missed stays in
the table with its figure, and the exit code is 1.
"""

import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

Row = Mapping[str, str | float | int | None]


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and the bound it must keep; at most by default, at least otherwise."""

    name: str
    figure: float
    bound: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Tell whether the figure keeps the bound."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound


def conclude(title: str, rows: Sequence[Row], goals: Sequence[Goal], out: Path) -> int:
    """Print the table and the goals, write both as JSON, and return the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    for table in _tables(title, rows, console.width):
        console.print(table)
    console.print(_goals(goals))
    out.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "title": title,
        "machine": {"python": platform.python_version(), "system": platform.platform()},
        "rows": [dict(row) for row in rows],
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals],
    }
    out.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if all(goal.met for goal in goals) else 1


def _tables(title: str, rows: Sequence[Row], width: int) -> Iterator[Table]:
    """Part what is too wide for the console: every table begins with the first column."""
    first, *others = dict.fromkeys(name for row in rows for name in row)
    for names in _parted(rows, first, others, width):
        table = Table(title=title)
        for index, name in enumerate([first, *names]):
            table.add_column(name, justify="right" if index else "left")
        for row in rows:
            if any(name in row for name in names):
                table.add_row(*(_text(row.get(name)) for name in [first, *names]))
        yield table


def _parted(rows: Sequence[Row], first: str, others: Sequence[str], width: int) -> list[list[str]]:
    """Deal the columns out, in order; the first one's width is that of the rows in the part."""
    parts: list[list[str]] = [[]]
    for name in others:
        candidate = [*parts[-1], name]
        shown = [row for row in rows if any(column in row for column in candidate)]
        if parts[-1] and _width(shown, [first, *candidate]) > width:
            parts.append([name])
        else:
            parts[-1] = candidate
    return parts


def _width(rows: Sequence[Row], names: Sequence[str]) -> int:
    """Return the width of a table of these columns: each has a border and two spaces."""
    cells = [[name, *(_text(row.get(name)) for row in rows)] for name in names]
    return 1 + sum(3 + max(map(len, column)) for column in cells)


def _goals(goals: Sequence[Goal]) -> Table:
    table = Table("goal", "figure", "bound", "", title="goals")
    for goal in goals:
        relation = "≥" if goal.at_least else "≤"
        table.add_row(
            goal.name,
            f"{_text(goal.figure)} {goal.unit}",
            f"{relation} {_text(goal.bound)} {goal.unit}",
            "met" if goal.met else "MISSED",
        )
    return table


def _text(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value

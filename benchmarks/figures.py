"""The end of every benchmark: tables, goals, a JSON file and the exit code.

Goals are ratios of figures from the same run, sizes or counts. No time is judged by itself, so a
slow machine does not miss a goal. A missed goal stays in the table, and the exit code is 1.
"""

import argparse
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

WIDTH = 100
Row = Mapping[str, str | float | int | None]


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and its bound: at most by default, at least otherwise."""

    name: str
    figure: float
    bound: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Return whether the figure keeps the bound; NaN never does."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound


def options(module: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same figures as JSON")
    return parser


def conclude(title: str, rows: Sequence[Row], goals: Sequence[Goal], out: Path | None) -> int:
    """Print the tables, write the JSON file if one is named, and return the exit code."""
    console = Console(width=WIDTH)
    for table in [*_tables(title, rows), _goals(goals)]:
        console.print(table)
    if out is not None:
        record = {
            "title": title,
            "machine": {"python": platform.python_version(), "system": platform.platform()},
            "rows": [dict(row) for row in rows],
            "goals": [{**asdict(goal), "met": goal.met} for goal in goals],
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if all(goal.met for goal in goals) else 1


def _tables(title: str, rows: Sequence[Row]) -> Iterator[Table]:
    """Split columns over tables of at most `WIDTH`; each repeats the first column."""
    first, *others = dict.fromkeys(name for row in rows for name in row)
    for names in _split(rows, first, others):
        table = Table(title=title)
        for index, name in enumerate([first, *names]):
            table.add_column(name, justify="right" if index else "left")
        for row in rows:
            if any(name in row for name in names):
                table.add_row(*(_text(row.get(name)) for name in [first, *names]))
        yield table


def _split(rows: Sequence[Row], first: str, others: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for name in others:
        candidate = [*parts[-1], name]
        shown = [row for row in rows if any(column in row for column in candidate)]
        if parts[-1] and _width(shown, [first, *candidate]) > WIDTH:
            parts.append([name])
        else:
            parts[-1] = candidate
    return parts


def _width(rows: Sequence[Row], names: Sequence[str]) -> int:
    """Return a table's width: each column has a border and two spaces."""
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
        return f"{value:,.3g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value

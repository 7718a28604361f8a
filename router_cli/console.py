"""What the command prints: tables and steps for people, one JSON object for programs.

Text from files is stripped of control characters, so that a hostile query cannot steer a terminal.
"""

import json
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, TypeVar

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

_FAILED = 1
_WHOLE = 32  # a first column up to this wide is never wrapped: ids are copied from it
ItemT = TypeVar("ItemT")


def printable(value: object) -> str:
    """Return a value as text without control, format and surrogate characters."""
    return "".join(
        c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in str(value)
    )


def printable_lines(text: str) -> str:
    """Return text of several lines without other control characters."""
    return "\n".join(map(printable, text.split("\n")))


def print_json(value: Mapping[str, object]) -> None:
    """Print exactly one JSON object to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers are aligned to the right, and no text is cut off, ids least of all."""
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    listed = list(rows)
    for place, column in enumerate(columns):
        longest = max((len(_cell(row[place])) for row in listed), default=0)
        grid.add_column(column, overflow="fold", no_wrap=place == 0 and longest <= _WHOLE)
    for row in listed:
        grid.add_row(*(Text(_cell(value), justify=_side(value)) for value in row))
    Console(highlight=False).print(grid)


def say(message: str) -> None:
    """Tell a person something, on stderr, so that stdout stays for results."""
    sys.stderr.write(printable(message) + "\n")
    sys.stderr.flush()


def fail(message: str) -> int:
    """Tell what went wrong and return the exit code for failed work."""
    sys.stderr.write(f"search-router: {printable_lines(message)}\n")
    return _FAILED


def progress(doing: str, items: Iterable[ItemT], total: int) -> Iterator[ItemT]:
    """Pass items on and show how far they are; the bar is drawn on terminals only."""
    console = Console(stderr=True)
    yield from track(
        items, description=doing, total=total, console=console, disable=not console.is_terminal
    )


class Steps:
    """Says what is being done and, when it is done, how long it took."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first step."""
        return time.monotonic() - self._started

    @contextmanager
    def step(self, doing: str) -> Iterator[list[str]]:
        """Show one step; what the block puts into the list is said with its end."""
        started = time.monotonic()
        done: list[str] = []
        if sys.stderr.isatty():
            with Console(stderr=True).status(doing):
                yield done
        else:
            yield done
        took = time.monotonic() - started
        say(f"{self.elapsed_s:6.1f} s  {doing}: {', '.join(done) or 'done'} ({took:.1f} s)")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) else printable(value)


def _side(value: object) -> Literal["left", "right"]:
    return "right" if isinstance(value, int | float) else "left"

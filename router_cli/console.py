"""Output of the command: tables and messages for people, one JSON object for programs.

Text from files loses its control characters, so that a hostile query cannot steer a terminal.
"""

import json
import re
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

_FAILED = 1
_MAX_UNWRAPPED = 32  # characters; ids in the first column are copied from it
_STEERING = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # C1 and bidi controls
_NUMBER = re.compile(r"\$?[+-]?\d[\d,.]*(%| ms| µs)?")
ItemT = TypeVar("ItemT")


class CommandError(Exception):
    """The work of a verb failed; the message says why and what to do next."""


def printable(value: object) -> str:
    """Return a value as text without control, format and surrogate characters."""
    return "".join(
        c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in str(value)
    )


def print_json(value: Mapping[str, object]) -> None:
    """Print exactly one JSON object to stdout."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=not is_unicode, default=str)
    sys.stdout.write(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers are aligned to the right, and text is wrapped, never cut off."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A Text, because a plain title would be read as markup.
    heading = Text(printable(title), style="table.title") if title else None
    grid = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, show_header=any(columns))
    cells = [[_cell(value) for value in row] for row in rows]
    for number, column in enumerate(columns):
        longest = max((len(row[number]) for row in cells), default=0)
        grid.add_column(column, overflow="fold", no_wrap=number == 0 and longest <= _MAX_UNWRAPPED)
    for row in cells:
        grid.add_row(
            *(Text(text, justify="right" if _NUMBER.fullmatch(text) else "left") for text in row)
        )
    Console(highlight=False).print(grid)


def say(message: str) -> None:
    """Print a message to stderr, so that stdout holds nothing but results."""
    _to_stderr(printable(message) + "\n")


def fail(message: str) -> int:
    """Print an error of one or more lines and return the exit code for failed work."""
    _to_stderr("search-router: " + "\n".join(map(printable, message.split("\n"))) + "\n")
    return _FAILED


def _to_stderr(text: str) -> None:
    """Write to stderr; if it is closed or full, the exit code is all that is left."""
    with suppress(OSError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()


def progress(doing: str, items: Iterable[ItemT], total: int) -> Iterator[ItemT]:
    """Yield the items; a terminal shows a progress bar meanwhile."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=doing, total=total, console=Console(stderr=True))


class Steps:
    """Reports the steps of a longer job with their duration."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first step."""
        return time.monotonic() - self._started

    @contextmanager
    def step(self, doing: str) -> Iterator[list[str]]:
        """Report one step when it is done, with the details that the block puts into the list."""
        started = time.monotonic()
        details: list[str] = []
        if sys.stderr.isatty():
            from rich.console import Console

            with Console(stderr=True).status(doing):
                yield details
        else:
            yield details
        took = time.monotonic() - started
        say(f"{self.elapsed_s:6.1f} s  {doing}: {', '.join(details) or 'done'} ({took:.1f} s)")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else printable(value)

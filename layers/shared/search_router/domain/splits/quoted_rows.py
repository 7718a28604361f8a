"""Join the lines of a CSV into rows: a quoted field may hold line ends (RFC 4180).

This finds only where rows end, because the `csv` module reports no byte offsets; the `csv` module
splits their fields. A quote that is never closed must not swallow the rest of the file: if no row
ends within the limit, the line with the quote is a row of its own, which is rejected, and reading
continues with the next line.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from search_router.domain.streams import BOM, Line


class _Grammar(NamedTuple):
    """Patterns of a line at a row's start (`opens`) and inside quotes."""

    opens: re.Pattern[bytes]
    closes: re.Pattern[bytes]
    stays_open: re.Pattern[bytes]


class _Reader:
    """Lines that can be given back."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._again: deque[Line] = deque()

    def next(self) -> Line | None:
        return self._again.popleft() if self._again else next(self._lines, None)

    def give_back(self, lines: list[Line]) -> None:
        self._again.extendleft(reversed(lines))


def join_quoted(lines: Iterable[Line], delimiter: bytes, max_bytes: int) -> Iterator[Line]:
    """Yield rows as lines whose `data` may hold line ends; memory is `max_bytes`."""
    grammar = _grammar(delimiter)
    reader = _Reader(lines)
    while (line := reader.next()) is not None:
        if line.data is not None and b'"' in line.data and _opens(line, line.data, grammar):
            yield _joined(line, line.data, reader, grammar, max_bytes)
        else:
            yield line


def _opens(line: Line, data: bytes, grammar: _Grammar) -> bool:
    start = len(BOM) if line.offset == 0 and data.startswith(BOM) else 0
    return grammar.opens.fullmatch(data, start) is not None


def _joined(line: Line, data: bytes, reader: _Reader, grammar: _Grammar, max_bytes: int) -> Line:
    """Take lines until the quotes are closed.

    If they are never closed, the lines are given back unless one of them has a quote; then they
    stay one invalid row. This bounds how often a line is read.
    """
    taken: list[Line] = []
    pieces = [data]
    before, passed_quote = line, False
    while (after := reader.next()) is not None:
        taken.append(after)
        size = after.offset + after.size - line.offset
        if after.data is None or size > max_bytes:
            break
        crlf = after.offset - before.offset - before.size == len(b"\r\n")
        pieces += (b"\r\n" if crlf else b"\n", after.data)
        if b'"' in after.data:
            if grammar.closes.fullmatch(after.data):
                return Line(line.number, line.offset, b"".join(pieces), size)
            if not grammar.stays_open.fullmatch(after.data):
                break
            passed_quote = True
        before = after
    if not passed_quote:
        reader.give_back(taken)
        return line
    kept = taken if after is None else taken[:-1]
    reader.give_back(taken[len(kept) :])
    size = kept[-1].offset + kept[-1].size - line.offset
    return Line(line.number, line.offset, b"".join(pieces[: 1 + 2 * len(kept)]), size)


@lru_cache(maxsize=4)
def _grammar(delimiter: bytes) -> _Grammar:
    """Possessive quantifiers keep every match linear."""
    inside = rb'[^"]*+(?:""[^"]*+)*+'
    cut = re.escape(delimiter)
    field = rb'(?:"%b"|[^"%b][^%b]*+|)' % (inside, cut, cut)
    open_end = rb'(?:%b%b)*+"%b' % (field, cut, inside)
    rest = rb'%b"' % inside
    return _Grammar(
        opens=re.compile(open_end, re.DOTALL),
        closes=re.compile(rb"%b(?:%b%b)*+" % (rest, cut, field), re.DOTALL),
        stays_open=re.compile(rb"%b|%b%b%b" % (inside, rest, cut, open_end), re.DOTALL),
    )

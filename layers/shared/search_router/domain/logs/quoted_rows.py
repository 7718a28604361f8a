"""Join the lines of a CSV into rows, as RFC 4180 means it: a quoted field may hold line ends.

Only where rows end is decided here, with byte offsets that the `csv` module does not know; what a
row's fields are, it decides. A quote that is never closed must not swallow the rest of a file: if
no row comes of it within the limit, the line with the quote stands alone and is rejected, and
reading goes on with the next line.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from search_router.domain.streams import Line

_BOM = b"\xef\xbb\xbf"


class _Grammar(NamedTuple):
    """What a line may look like from a row's start (`opens`) and from inside quotes."""

    opens: re.Pattern[bytes]
    closes: re.Pattern[bytes]
    stays_open: re.Pattern[bytes]


class _Reader:
    """Lines, some of which were looked at before."""

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
    start = len(_BOM) if line.offset == 0 and data.startswith(_BOM) else 0
    return grammar.opens.fullmatch(data, start) is not None


def _joined(line: Line, data: bytes, reader: _Reader, grammar: _Grammar, max_bytes: int) -> Line:
    """Take lines until the quotes are closed.

    Without an end, what was taken is given back if no quote was passed on the way; otherwise it
    stays one row, which is no CSV. So no line is read often, whatever is in the file.
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

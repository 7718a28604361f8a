"""Open a query log: one reader for the planner, and for every verb that reads a log offline."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.dialects import (
    Dialect,
    find_dialect,
    log_format,
    no_query_field,
    sampled_lines,
)
from search_router.domain.logs.query_fields import not_text
from search_router.domain.logs.query_logs import MAX_SAMPLE_BYTES
from search_router.domain.logs.rows import LogRow, read_row
from search_router.domain.splits.formats import RowFormat
from search_router.domain.splits.plan import MAX_READ_BYTES, SAMPLE_BYTES
from search_router.domain.splits.rows import RejectedRow, raw_rows
from search_router.domain.streams import TextForm, find_form, first_bytes, text_of

_SAMPLE_GROWTH = 16

ReadStart = Callable[[int | None], Iterable[bytes]]  # the first bytes of a file, or all


@dataclass(frozen=True, slots=True)
class LogFile:
    """A query log, and how its first bytes show that it is to be read.

    `warnings` are doubts about it, without text of its rows.
    """

    name: str
    read: ReadStart
    form: TextForm
    dialect: Dialect
    sample: bytes
    warnings: tuple[str, ...]

    def text(self) -> Iterable[bytes]:
        """Return the whole text as UTF-8, from its beginning."""
        return text_of(self.read(None), self.form, MAX_READ_BYTES)

    def rows(self) -> Iterator[tuple[int, LogRow | RejectedRow]]:
        """Yield (line number, row) for every row of the log."""
        for line in raw_rows(self.text(), 0, self.dialect):
            row = read_row(line, self.dialect)
            if row is not None:
                yield line.number, row

    @property
    def findings(self) -> str:
        """How the log is read, in words."""
        return findings(self.form, self.dialect)


def findings(form: TextForm, dialect: Dialect) -> str:
    """Return in words how a log is read."""
    field = "" if dialect.format is RowFormat.TEXT else f"; query field: {dialect.query_field}"
    return f"{form}; {dialect}{field}"


def open_log(name: str, size: int, read: ReadStart, wanted: str = "") -> LogFile:
    """Read as much of a log's beginning as it takes to find how it is to be read.

    `size` is the stored file's in bytes, `wanted` the name of the query field if it is given.
    Raises InvalidInputError, with cause and remedy, for a file that is not a query log.
    """
    log_format(name)  # raises for a wrong suffix before anything is read
    start = first_bytes(read(min(size, SAMPLE_BYTES)), SAMPLE_BYTES)
    form, limit = find_form(start), SAMPLE_BYTES
    while True:
        if form.is_plain and min(limit, size) <= len(start):
            sample = start
        else:
            end = min(limit, size) if form.is_plain else None
            sample = first_bytes(text_of(read(end), form, MAX_READ_BYTES), limit)
        whole = len(sample) < limit
        dialect = find_dialect(name, sample, whole=whole, wanted=wanted)
        if dialect is not None:
            warnings = tuple(_warnings(name, sample, dialect, whole))
            return LogFile(name, read, form, dialect, sample, warnings)
        if whole and not sample.strip():
            raise InvalidInputError("the file is empty")
        if whole or limit >= MAX_SAMPLE_BYTES:
            raise no_query_field(sample, wanted)
        limit *= _SAMPLE_GROWTH


def _warnings(name: str, sample: bytes, dialect: Dialect, whole: bool) -> Iterator[str]:
    lines = sampled_lines(sample, dialect, whole=whole)
    if not lines and whole:
        yield "no rows after the header"
        return
    if dialect.format is RowFormat.JSONL and log_format(name) is not RowFormat.JSONL:
        yield "read as JSON Lines, in spite of its name"
    if dialect.format is RowFormat.TEXT:
        if dialect.header_end:
            yield "the first line is the name of a column and is not routed"
        tabs = {(line.data or b"").count(b"\t") for line in lines}
        if 0 not in tabs and len(lines) > 1:
            yield "tabs in every line: did you mean a table? Name it .tsv to use its query column."
    read = [(line.number, read_row(line, dialect)) for line in lines]
    yield from _doubts(read)


def _doubts(read: Sequence[tuple[int, LogRow | RejectedRow | None]]) -> Iterator[str]:
    """Yield what sampled rows are rejected for, and what their queries are instead of text."""
    rejected = [(number, row.reason) for number, row in read if isinstance(row, RejectedRow)]
    if rejected:
        number, reason = rejected[0]
        yield f"{len(rejected)} of the first {len(read)} rows are rejected; line {number}: {reason}"
    kinds = Counter(not_text(row.query) for _, row in read if isinstance(row, LogRow))
    kind, count = kinds.most_common(1)[0] if kinds else ("", 0)
    if kind and count * 2 > kinds.total():
        yield f"most of the first {kinds.total()} queries are {kind}: check the query field"

"""A query log: how it is cut into splits, and how one split's rows are read.

Splits are Hadoop-style input splits. A line belongs to the split in which its first byte lies; a
reader skips its first, partial line and reads past its end to finish its last. So a plan needs one
HEAD and one small read, never a scan.
"""

import json
import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.lines import Line, split_lines
from search_router.domain.routing import MAX_QUERY_BYTES, normalised_query
from search_router.domain.uploads import ObjectRef

SAMPLE_BYTES = 64 * 1024
MAX_ROW_BYTES = 64 * 1024
MAX_SPLIT_BYTES = 1024 * 1024
MIN_SPLIT_BYTES = 64 * 1024
WORKER_MINUTES = 15  # the longest a Lambda function may run
SHARE_OF_RUN = 0.5  # leaves the other half for retries and slow answers
QUERY_FIELDS = ("query", "q", "user_query", "search_query", "url_query")


class LogFormat(StrEnum):
    """How rows are written."""

    JSONL = "jsonl"
    TEXT = "text"


class Dialect(BaseModel):
    """What a reader must know of a log, found once by the planner."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: LogFormat
    query_field: str


class LogPlan(BaseModel):
    """How one log is cut; `plan.json`, written once."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    log_id: str
    bucket: str
    key: str
    version_id: str | None
    size: int
    dialect: Dialect
    champion_version: int
    split_bytes: int
    splits: int

    @property
    def source(self) -> ObjectRef:
        """The uploaded object."""
        return ObjectRef(self.bucket, self.key, self.version_id)


class SplitMessage(BaseModel):
    """The SQS message for one split: a pointer with everything fixed, never query text."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    log_id: str
    split: int
    start: int
    end: int
    bucket: str
    key: str
    version_id: str | None
    dialect: Dialect
    champion_version: int

    @property
    def source(self) -> ObjectRef:
        """The uploaded object."""
        return ObjectRef(self.bucket, self.key, self.version_id)


class LogState(StrEnum):
    """Where a query log stands; PLANNED until every split is in the queue."""

    PLANNED = "PLANNED"
    ROUTING = "ROUTING"
    ROUTED = "ROUTED"
    FAILED = "FAILED"


LOG_PREDECESSORS: dict[LogState, frozenset[LogState]] = {
    LogState.PLANNED: frozenset(),
    LogState.ROUTING: frozenset({LogState.PLANNED}),
    LogState.ROUTED: frozenset({LogState.PLANNED, LogState.ROUTING}),
    LogState.FAILED: frozenset({LogState.PLANNED, LogState.ROUTING}),
}


class QueryLog(BaseModel):
    """The ledger's head: how many splits there are and how many have been entered."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    log_id: str
    state: LogState
    reason: str = ""
    source_bucket: str
    source_key: str
    source_version: str | None
    splits: int
    parts: int = 0
    champion_version: int = 0
    created_at: datetime
    updated_at: datetime

    @property
    def is_complete(self) -> bool:
        """Tell whether every split is in the ledger."""
        return self.parts >= self.splits


class LogRow(NamedTuple):
    """One row of a log: its query, its other columns, and where it stood."""

    byte_offset: int
    query: str
    columns: dict[str, object]


class RejectedRow(NamedTuple):
    """One row without a usable query; `reason` never quotes the row."""

    byte_offset: int
    reason: str
    text: str | None


def detect_dialect(key: str, sample: bytes) -> Dialect:
    """Find the format from the key and the query field from the first rows.

    Raises InvalidInputError when no row of the sample names a query.
    """
    if key.endswith(".txt"):
        return Dialect(format=LogFormat.TEXT, query_field="query")
    for line in split_lines([sample], MAX_ROW_BYTES):
        if line.data and line.data.strip():
            field = _query_field(line.data)
            if field is not None:
                return Dialect(format=LogFormat.JSONL, query_field=field)
    raise InvalidInputError(f"no row has a query field; looked for {', '.join(QUERY_FIELDS)}")


def plan_splits(
    size: int, sample: bytes, requests_per_minute: float, workers: int
) -> tuple[int, int]:
    """Return (bytes per split, number of splits) for a log of `size` bytes.

    A split holds at most half of what one worker's share of the quota can ask in 15 minutes, even
    if no query repeats, and at most 1 MiB; small logs are spread over all workers.
    """
    row_bytes = max(1.0, len(sample) / max(1, sample.count(b"\n")))
    rows = SHARE_OF_RUN * WORKER_MINUTES * requests_per_minute / workers
    limit = min(MAX_SPLIT_BYTES, max(MIN_SPLIT_BYTES, int(rows * row_bytes)))
    splits = max(math.ceil(size / limit), min(workers, math.ceil(size / MIN_SPLIT_BYTES)), 1)
    return math.ceil(size / splits), splits


def split_messages(plan: LogPlan) -> Iterator[SplitMessage]:
    """Yield the messages of a plan, in order; the same plan gives the same messages."""
    for split in range(plan.splits):
        start = split * plan.split_bytes
        yield SplitMessage(
            log_id=plan.log_id,
            split=split,
            start=start,
            end=min(plan.size, start + plan.split_bytes),
            bucket=plan.bucket,
            key=plan.key,
            version_id=plan.version_id,
            dialect=plan.dialect,
            champion_version=plan.champion_version,
        )


def read_split(
    chunks: Iterable[bytes], start: int, end: int, dialect: Dialect
) -> Iterator[LogRow | RejectedRow]:
    """Read the rows whose first byte lies in [start, end).

    `chunks` must begin at byte `start - 1` (at 0 for the first split) and may run past `end`. Blank
    lines count as nothing.
    """
    first_offset = max(0, start - 1)
    lines = split_lines(chunks, MAX_ROW_BYTES, first_offset=first_offset)
    if start > 0:
        next(lines, None)  # the tail of a line that the split before reads
    for line in lines:
        if line.offset >= end:
            return
        row = read_row(line, dialect)
        if row is not None:
            yield row


def read_row(line: Line, dialect: Dialect) -> LogRow | RejectedRow | None:
    """Turn one line into a row or a rejection; None for a blank line."""
    if line.data is None:
        return RejectedRow(line.offset, f"longer than {MAX_ROW_BYTES} bytes", None)
    data = line.data.removeprefix(b"\xef\xbb\xbf") if line.offset == 0 else line.data
    if not data.strip():
        return None
    try:
        return _row(line.offset, data, dialect)
    except InvalidInputError as error:
        text = data.decode("utf-8", errors="backslashreplace")
        return RejectedRow(line.offset, str(error), text)


def rejected_row(row: RejectedRow) -> bytes:
    """Render a rejection, one JSON line."""
    return json.dumps(row._asdict(), ensure_ascii=False).encode("utf-8") + b"\n"


def _row(offset: int, data: bytes, dialect: Dialect) -> LogRow:
    if dialect.format is LogFormat.TEXT:
        try:
            return LogRow(offset, _checked_query(data.decode("utf-8")), {})
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"not UTF-8 at byte {error.start}") from None
    value = strict_json.loads(data)
    if not isinstance(value, dict):
        raise InvalidInputError("not a JSON object")
    query = _checked_query(value.get(dialect.query_field))
    return LogRow(offset, query, value)


def _checked_query(query: object) -> str:
    if not isinstance(query, str):
        raise InvalidInputError("the row has no query text")
    if not normalised_query(query):
        raise InvalidInputError("the query is blank")
    if len(query.encode("utf-8")) > MAX_QUERY_BYTES:
        raise InvalidInputError(f"the query is longer than {MAX_QUERY_BYTES} bytes")
    return query


def _query_field(data: bytes) -> str | None:
    try:
        value = strict_json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except InvalidInputError:
        return None
    if not isinstance(value, dict):
        return None
    return next((name for name in QUERY_FIELDS if isinstance(value.get(name), str)), None)

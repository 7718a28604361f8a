"""A query log: the plan by which it is cut into splits, their messages, and where the log stands.

Splits are Hadoop-style input splits. A log of plain lines is cut at any byte, so its plan needs one
HEAD and one small read, never a scan. A packed or quoted one is read once and cut between rows.
"""

import math
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError, computed_field

from search_router.domain.errors import MalformedMessageError
from search_router.domain.logs.dialects import MAX_ROW_BYTES, Dialect
from search_router.domain.uploads import ObjectRef

SAMPLE_BYTES = 64 * 1024
MAX_SAMPLE_BYTES = 16 * 1024 * 1024  # a log may begin with that much that tells nothing
MAX_SPLIT_BYTES = 2 * 1024 * 1024
MIN_SPLIT_BYTES = 64 * 1024
WORKER_MINUTES = 15  # the longest a Lambda function may run
SHARE_OF_RUN = 0.5  # leaves the other half for retries and slow answers
_USUAL_ROW_BYTES = 100.0  # of a log whose sample holds no row


class Layout(StrEnum):
    """Where a split's bytes lie, and whether they begin and end with a row."""

    RANGE = "range"  # in the upload, cut at any byte
    ROWS = "rows"  # in the upload, cut between rows
    COPY = "copy"  # unpacked in the data bucket, cut between rows


class LogPlan(BaseModel):
    """How one log is cut; `plan.json`, written once.

    `size` is that of the upload in bytes; places are in the unpacked text. A log cut between rows
    has the ends of its splits in `cuts` and its rows counted; otherwise `rows` is estimated from
    the sample.
    """

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
    layout: Layout = Layout.RANGE
    cuts: tuple[int, ...] = ()
    rows: int = 0
    rows_are_counted: bool = False
    requests_per_minute: float = 0.0

    @property
    def source(self) -> ObjectRef:
        """The uploaded object."""
        return ObjectRef(self.bucket, self.key, self.version_id)

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def hours_if_distinct(self) -> float:
        """Hours at the batch share of the quota if no query repeats and none is cached."""
        return hours_to_ask(self.rows, self.requests_per_minute)


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
    layout: Layout = Layout.RANGE

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
    """The ledger's head: how many splits there are and how many have been entered.

    `rows` and `hours_if_distinct` are the plan's, said before the log starts.
    """

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
    rows: int = 0
    hours_if_distinct: float = 0.0
    created_at: datetime
    updated_at: datetime

    @property
    def is_complete(self) -> bool:
        """Tell whether every split is in the ledger."""
        return self.parts >= self.splits

    @property
    def outlook(self) -> str:
        """Say, before anything is routed, what the log can come to."""
        return (
            f"{self.rows:,} rows in {self.splits:,} splits; {self.hours_if_distinct:,} hours at "
            "the batch share of the quota if no query repeats and none is cached"
        )


class Attempts(NamedTuple):
    """Retries of one split that ended without reporting an error.

    `answered` is the number of its queries that were answered at the last check for progress.
    """

    made: int
    answered: int


def hours_to_ask(queries: int, requests_per_minute: float) -> float:
    """Return the hours that so many model calls take, to a hundredth."""
    return round(queries / requests_per_minute / 60, 2) if requests_per_minute else 0.0


def split_rows(requests_per_minute: float, workers: int) -> int:
    """Return the rows that a split may hold.

    Half of what one worker's share of the quota can ask in 15 minutes, even if no query repeats.
    """
    return max(1, int(SHARE_OF_RUN * WORKER_MINUTES * requests_per_minute / workers))


def mean_row_bytes(sample: bytes) -> float:
    """Estimate the bytes of a row, line end included, from whole lines that can be rows."""
    *lines, last = sample.split(b"\n")
    sizes = [len(line) + 1 for line in lines or [last] if line.strip()]
    usable = [size for size in sizes if size <= MAX_ROW_BYTES]
    return sum(usable) / len(usable) if usable else _USUAL_ROW_BYTES


def plan_splits(size: int, row_bytes: float, rows: int, workers: int) -> tuple[int, int]:
    """Return (bytes per split, number of splits) for `size` bytes of text.

    A split holds at most `rows` rows of `row_bytes` and at most 2 MiB; small logs are spread over
    all workers.
    """
    limit = min(MAX_SPLIT_BYTES, max(MIN_SPLIT_BYTES, int(rows * row_bytes)))
    splits = max(math.ceil(size / limit), min(workers, math.ceil(size / MIN_SPLIT_BYTES)), 1)
    return math.ceil(size / splits), splits


def split_messages(plan: LogPlan) -> Iterator[SplitMessage]:
    """Yield the messages of a plan, in order; the same plan gives the same messages."""
    start = 0
    for split, end in enumerate(plan.cuts or _even_cuts(plan)):
        yield SplitMessage(
            log_id=plan.log_id,
            split=split,
            start=start,
            end=end,
            bucket=plan.bucket,
            key=plan.key,
            version_id=plan.version_id,
            dialect=plan.dialect,
            champion_version=plan.champion_version,
            layout=plan.layout,
        )
        start = end


def read_message(body: str) -> SplitMessage:
    """Read a message's body; raises MalformedMessageError, which does not quote it."""
    try:
        return SplitMessage.model_validate_json(body)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors()[:3])
        raise MalformedMessageError(f"not the message of a split: {fields}") from None


def _even_cuts(plan: LogPlan) -> Iterator[int]:
    for split in range(1, plan.splits + 1):
        yield min(plan.size, split * plan.split_bytes)

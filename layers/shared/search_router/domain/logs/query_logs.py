"""A query log: the plan that cuts it into splits, the splits' messages, and the log's state.

Splits are Hadoop-style input splits. A log of plain lines is cut at any byte, so its plan needs one
HEAD and one small read. A gzipped or quoted log is read once and cut between rows.
"""

import math
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError, computed_field

from search_router.domain.errors import MalformedMessageError
from search_router.domain.logs.dialects import MAX_ROW_BYTES, Dialect
from search_router.domain.streams import TextForm
from search_router.domain.uploads import ObjectRef

SAMPLE_BYTES = 64 * 1024
MAX_SAMPLE_BYTES = 16 * 1024 * 1024  # the longest search for a row with a query
MAX_SPLIT_BYTES = 2 * 1024 * 1024
MIN_SPLIT_BYTES = 64 * 1024
WORKER_MINUTES = 15  # the longest a Lambda function may run
SHARE_OF_RUN = 0.5  # the rest is left for retries and slow answers
_USUAL_ROW_BYTES = 100.0  # if the sample holds no row


class Layout(StrEnum):
    """Where a split's bytes are stored, and whether they are cut between rows."""

    RANGE = "range"  # in the upload, cut at any byte
    ROWS = "rows"  # in the upload, cut between rows
    COPY = "copy"  # unpacked in the data bucket, cut between rows


class LogPlan(BaseModel):
    """How one log is cut into splits; stored once as `plan.json`.

    `size` is the upload's in bytes; offsets are in the unpacked text. A log cut between rows has
    the end offsets of its splits in `cuts`, and its rows are counted; otherwise `rows` is estimated
    from the sample. `form` and `dialect` say how it is read, `warnings` are doubts about that.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    log_id: str
    bucket: str
    key: str
    version_id: str | None
    size: int
    form: TextForm = TextForm()
    dialect: Dialect
    warnings: tuple[str, ...] = ()
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

    @computed_field  # type: ignore[prop-decorator]  # mypy does not support decorated properties
    @property
    def hours_if_distinct(self) -> float:
        """Hours at the batch share of the quota if no query repeats or is cached."""
        return hours_to_ask(self.rows, self.requests_per_minute)


class SplitMessage(BaseModel):
    """The SQS message for one split: where to read it and with which champion; no query text."""

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
    """The state of a query log; PLANNED until every split is in the queue."""

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
    """The ledger's head of a log: its state, its `splits`, and how many have their `parts`.

    `rows` and `hours_if_distinct` are the plan's.
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
        """Whether every split has its part in the ledger."""
        return self.parts >= self.splits

    @property
    def outlook(self) -> str:
        """The plan in one sentence."""
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
    """Return the hours that `queries` model calls take, to a hundredth."""
    return round(queries / requests_per_minute / 60, 2) if requests_per_minute else 0.0


def split_rows(requests_per_minute: float, workers: int) -> int:
    """Return the largest number of rows in a split.

    One worker's share of the quota asks twice as many queries in 15 minutes.
    """
    return max(1, int(SHARE_OF_RUN * WORKER_MINUTES * requests_per_minute / workers))


def mean_row_bytes(sample: bytes) -> float:
    """Estimate the bytes of a row, line end included, from the whole lines of a sample."""
    *lines, last = sample.split(b"\n")
    sizes = [len(line) + 1 for line in lines or [last] if line.strip()]
    usable = [size for size in sizes if size <= MAX_ROW_BYTES]
    return sum(usable) / len(usable) if usable else _USUAL_ROW_BYTES


def plan_splits(size: int, row_bytes: float, rows: int, workers: int) -> tuple[int, int]:
    """Return (bytes per split, number of splits) for `size` bytes of text.

    A split holds at most `rows` rows of `row_bytes` and at most 2 MiB. A small log has a split for
    each worker.
    """
    limit = min(MAX_SPLIT_BYTES, max(MIN_SPLIT_BYTES, int(rows * row_bytes)))
    splits = max(math.ceil(size / limit), min(workers, math.ceil(size / MIN_SPLIT_BYTES)), 1)
    return math.ceil(size / splits), splits


def split_messages(plan: LogPlan) -> Iterator[SplitMessage]:
    """Yield the messages of a plan, in order; equal plans give equal messages."""
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
    """Parse a message's body; raises MalformedMessageError, which does not quote it."""
    try:
        return SplitMessage.model_validate_json(body)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors()[:3])
        raise MalformedMessageError(f"not a split message. Invalid fields: {fields}") from None


def _even_cuts(plan: LogPlan) -> Iterator[int]:
    for split in range(1, plan.splits + 1):
        yield min(plan.size, split * plan.split_bytes)

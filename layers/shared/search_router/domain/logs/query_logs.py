"""A query log: its plan, its splits' messages, and its state."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import computed_field

from search_router.domain.logs.dialects import Dialect
from search_router.domain.splits.ledger import UploadHead, UploadState
from search_router.domain.splits.plan import SplitPlan, UploadSplit

MAX_SAMPLE_BYTES = 16 * 1024 * 1024  # the longest search for a row with a query
WORKER_MINUTES = 15  # the longest a Lambda function may run
SHARE_OF_RUN = 0.5  # the rest is left for retries and slow answers


class LogPlan(SplitPlan):
    """How one log is cut into splits, how to read its rows, and doubts about that."""

    log_id: str
    dialect: Dialect
    warnings: tuple[str, ...] = ()
    champion_version: int
    requests_per_minute: float = 0.0

    @computed_field  # type: ignore[prop-decorator]  # mypy does not support decorated properties
    @property
    def hours_if_distinct(self) -> float:
        """Hours at the batch share of the quota if no query repeats or is cached."""
        return hours_to_ask(self.rows, self.requests_per_minute)

    def holds(self, message: UploadSplit) -> bool:
        """Whether a message is one of this plan's, with its dialect and champion."""
        return (
            isinstance(message, SplitMessage)
            and super().holds(message)
            and message.dialect == self.dialect
            and message.champion_version == self.champion_version
        )


class SplitMessage(UploadSplit):
    """The SQS message for one split: where to read it and with which champion; no query text."""

    log_id: str
    dialect: Dialect
    champion_version: int

    @property
    def upload(self) -> str:
        """The id of the log."""
        return self.log_id

    @property
    def row_layout(self) -> Dialect:
        """How to find the split's rows."""
        return self.dialect


class LogState(UploadState):
    """The state of a query log; PLANNED until every split is in the queue."""

    PLANNED = "PLANNED"
    ROUTING = "ROUTING"
    ROUTED = "ROUTED"
    FAILED = "FAILED"


class QueryLog(UploadHead):
    """The ledger's head of a log; `rows`, `hours_if_distinct` and `warnings` are the plan's."""

    id_name: ClassVar[str] = "log_id"
    planned: ClassVar[UploadState] = LogState.PLANNED
    in_work: ClassVar[UploadState] = LogState.ROUTING
    done: ClassVar[UploadState] = LogState.ROUTED
    failed: ClassVar[UploadState] = LogState.FAILED

    log_id: str
    state: LogState
    champion_version: int = 0
    hours_if_distinct: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def upload(self) -> str:
        """The id of the log."""
        return self.log_id

    @property
    def outlook(self) -> str:
        """The plan in one sentence."""
        return (
            f"{self.planned_rows} rows in {self.splits:,} splits; {self.hours_if_distinct:,} hours "
            "at the batch share of the quota if no query repeats and none is cached"
        )


def hours_to_ask(queries: int, requests_per_minute: float) -> float:
    """Return the hours that `queries` model calls take, to a hundredth."""
    return round(queries / requests_per_minute / 60, 2) if requests_per_minute else 0.0


def split_rows(requests_per_minute: float, workers: int) -> int:
    """Return the largest number of rows in a split.

    One worker's share of the quota asks twice as many queries in 15 minutes.
    """
    return max(1, int(SHARE_OF_RUN * WORKER_MINUTES * requests_per_minute / workers))


def split_messages(plan: LogPlan) -> Iterator[SplitMessage]:
    """Yield the messages of a plan, in order; equal plans give equal messages."""
    for split, (start, end) in enumerate(plan.ranges):
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
            first_line=plan.first_line(split),
        )

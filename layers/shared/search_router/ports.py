"""What the use cases need of the outside world, as Protocols.

Adapters implement them on AWS, tests in memory. Every method raises only the errors of
`domain.errors`: PermanentError for what a retry cannot mend, TransientError otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from search_router.domain.serving.cascade import AnswerCache, Model

if TYPE_CHECKING:  # annotations only: each of these models costs every cold start its making
    from search_router.domain.events import RouterEvent
    from search_router.domain.lifecycle.budget import Spending
    from search_router.domain.lifecycle.distillation import (
        DeploymentView,
        DistillationJob,
        JobView,
        ModelLifecycle,
    )
    from search_router.domain.lifecycle.judging import JudgeRequest, JudgeView
    from search_router.domain.lifecycle.runs import Run
    from search_router.domain.logs.query_logs import Attempts, LogState, QueryLog, SplitMessage
    from search_router.domain.logs.results import PartMarker
    from search_router.domain.serving.champions import Champion, ChampionMove, ServingModel
    from search_router.domain.serving.local_tier import LocalTier
    from search_router.domain.uploads import ObjectRef, Upload

__all__ = [
    "AnswerCache",
    "AnswerCaches",
    "ChampionRepository",
    "Clock",
    "CurrentChampion",
    "Deployments",
    "DistillationJobs",
    "EvaluationJobs",
    "EventPublisher",
    "FoundationModels",
    "LocalModels",
    "Model",
    "ObjectInfo",
    "ObjectStore",
    "QueryLogLedger",
    "RunRepository",
    "SpendingLedger",
    "SplitQueue",
    "Tiers",
    "UploadStore",
]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a HEAD tells of an object."""

    size: int
    metadata: Mapping[str, str]


class Clock(Protocol):
    """Time, so that tests can hold it still."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class UploadStore(Protocol):
    """Reads what users uploaded, always by version."""

    def info(self, source: ObjectRef) -> ObjectInfo:
        """Return size and metadata; raises NotFoundError when that version is gone."""

    def read(self, source: ObjectRef, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Stream the bytes in [start, end); raises NotFoundError when that version is gone."""

    def latest(self, bucket: str, prefix: str) -> Iterator[Upload]:
        """Yield the current version of every object under a prefix, by key."""


class ObjectStore(Protocol):
    """Our own objects, in the data bucket."""

    def put(self, key: str, body: bytes) -> None:
        """Write an object whose bytes are a function of its key: repeating it is harmless."""

    def writer(self, key: str) -> AbstractContextManager[Callable[[bytes], None]]:
        """Stream lines into one object, which is written unless the block raises."""

    def put_once(self, key: str, body: bytes, metadata: Mapping[str, str]) -> bool:
        """Write only if the key is free; tell whether this call wrote it."""

    def get(self, key: str) -> bytes:
        """Read a whole object; raises NotFoundError."""

    def info(self, key: str) -> ObjectInfo:
        """Return size and metadata; raises NotFoundError."""

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield key and size of the objects under a prefix."""


class RunRepository(Protocol):
    """The owner of run states."""

    def create(self, run: Run) -> Run:
        """Store a new run, or return the one already stored under its id."""

    def get(self, run_id: str) -> Run | None:
        """Read a run as it is now."""

    def replace(self, run: Run) -> None:
        """Store a run's next revision; raises ConflictError if somebody else moved it first."""

    def record_job(self, job_name: str, run_id: str) -> None:
        """Note that a run waits for a job; the same bytes uploaded twice share one job."""

    def runs_of_job(self, job_name: str) -> Sequence[str]:
        """Return the runs that wait for a job; none if the job is not ours."""

    def all(self) -> Iterator[Run]:
        """Yield every run, oldest first."""

    def open(self) -> Iterator[Run]:
        """Yield the runs that are not settled: all that the schedule has to look after."""

    def close(self, run: Run) -> None:
        """Take a closed run off the schedule's list, unless it was moved meanwhile."""

    def reopen(self, run: Run) -> None:
        """Store a run's next revision and put it on the schedule's list again, in one write.

        Raises ConflictError if somebody else moved it first.
        """


class CurrentChampion(Protocol):
    """Who tells which champion serves."""

    def current(self) -> Champion | None:
        """Read the champion that the pointer names."""


class ChampionRepository(CurrentChampion, Protocol):
    """The owner of the champion pointer."""

    def version(self, version: int) -> Champion | None:
        """Read one champion by its version, in use or not."""

    def history(self) -> Iterator[Champion]:
        """Yield every champion there ever was, by version."""

    def last_version(self) -> int:
        """Return the highest version that was ever given out; 0 before the first."""

    def moves(self) -> Iterator[ChampionMove]:
        """Yield every move of the pointer, oldest first."""

    def promote(self, champion: Champion, previous: Champion | None, run: Run) -> None:
        """In one write: store the champion, move the pointer on from `previous`, replace the run.

        Raises ConflictError, and writes nothing, when pointer or run moved meanwhile.
        """

    def roll_back(self, champion: Champion, previous: Champion, move: ChampionMove) -> None:
        """In one write: move the pointer from `previous` back to a stored champion, and note it.

        Raises ConflictError, and writes nothing, when the pointer moved meanwhile.
        """


class QueryLogLedger(Protocol):
    """The owner of query logs: a head per log, a marker per part."""

    def create(self, log: QueryLog) -> QueryLog:
        """Store a new log, or return the one already stored under its id."""

    def get(self, log_id: str) -> QueryLog | None:
        """Read a log's head as it is now."""

    def record_part(self, marker: PartMarker, now: datetime) -> QueryLog:
        """Enter a part once and count it, in one transaction; return the head after it."""

    def record_attempt(self, log_id: str, split: int, receives: int) -> Attempts:
        """Count an attempt at a split that was received so often; counting it again is harmless."""

    def reset_attempts(self, log_id: str, split: int, known: int | None = None) -> None:
        """Forget the attempts at a split; `known` is what it is measured by next time."""

    def markers(self, log_id: str) -> Iterator[PartMarker]:
        """Yield the markers of a log, by split."""

    def move(self, log_id: str, state: LogState, now: datetime, reason: str = "") -> bool:
        """Move a log on to a state; False if it is there already, or beyond."""

    def all(self) -> Iterator[QueryLog]:
        """Yield every log."""

    def open(self) -> Iterator[QueryLog]:
        """Yield the logs that are not settled: all that the schedule has to look after."""

    def close(self, log: QueryLog) -> None:
        """Take a closed log off the schedule's list, unless it was moved meanwhile."""


class SplitQueue(Protocol):
    """The work queue."""

    def send(self, messages: Iterable[SplitMessage]) -> None:
        """Send all messages, completing batches that were only partly accepted."""

    def set_visibility(self, receipt_handle: str, seconds: int) -> None:
        """Let a message that is being handled come back after so many seconds."""


class SpendingLedger(Protocol):
    """The owner of what jobs cost."""

    def read(self) -> Spending:
        """Read what was spent as it is now."""

    def replace(self, spending: Spending) -> None:
        """Store the next revision; raises UnavailableError if somebody else was first."""


class EventPublisher(Protocol):
    """Puts our events on the bus."""

    def publish(self, event: RouterEvent) -> None:
        """Put one event."""


class FoundationModels(Protocol):
    """Bedrock's catalogue of foundation models."""

    def lifecycle(self, model_id: str) -> ModelLifecycle:
        """Read a foundation model's lifecycle; raises NotFoundError for an unknown model."""


class DistillationJobs(Protocol):
    """Bedrock's customization jobs."""

    def start_job(self, job: DistillationJob) -> str:
        """Start a distillation job, or adopt the one of the same name; return its ARN."""

    def job(self, identifier: str) -> JobView:
        """Read a job by name or ARN; raises NotFoundError."""


class Deployments(Protocol):
    """Bedrock's on-demand deployments of custom models."""

    def deploy(self, deployment_name: str, model_arn: str) -> str:
        """Deploy a custom model on demand, or adopt the deployment of that name; return its ARN."""

    def deployment(self, identifier: str) -> DeploymentView:
        """Read a deployment by name or ARN; raises NotFoundError."""

    def arns(self) -> Iterator[str]:
        """Yield the ARN of every deployment of the account, ours or not."""

    def tear_down(self, deployment_arn: str) -> None:
        """Delete a deployment, never the model; one that is gone is fine."""


class EvaluationJobs(Protocol):
    """Bedrock's evaluation jobs."""

    def start(self, request: JudgeRequest) -> str:
        """Start a job, or adopt the one of the same name; return its ARN."""

    def view(self, job_arn: str) -> JudgeView:
        """Read a job; raises NotFoundError."""


class LocalModels(Protocol):
    """Hands out the local tier that belongs to a serving model."""

    def tier(self, serving: ServingModel) -> LocalTier | None:
        """Return the tier; None if there is none, or none that can serve or be compared."""


class AnswerCaches(Protocol):
    """Hands out the cache of one champion version, as seen by one owner."""

    def of(self, champion_version: int, owner: str) -> AnswerCache:
        """Return the cache whose keys hold this version; an owner gets its own calls back."""


class Tiers(NamedTuple):
    """Everybody who answers queries, in the order of the cascade; the prior needs nobody."""

    caches: AnswerCaches
    local_models: LocalModels
    model: Model

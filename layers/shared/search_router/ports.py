"""The ports of the use cases, as Protocols.

Adapters implement them on AWS, tests in memory. Methods raise only the errors of `domain.errors`:
PermanentError if a retry cannot help, TransientError otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from search_router.domain.serving.cascade import AnswerCache, Model

if TYPE_CHECKING:  # building these models would slow down every cold start
    from search_router.domain.errors import InvalidInputError
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
    from search_router.domain.logs.query_logs import QueryLog
    from search_router.domain.logs.results import PartMarker
    from search_router.domain.search.index import (
        Candidate,
        Collection,
        EmbeddingPurpose,
        IndexEntry,
        ListQuery,
        Vector,
    )
    from search_router.domain.search.rankings import Ranking
    from search_router.domain.search.segment_records import RecordWrite, SegmentRecord
    from search_router.domain.search.segment_uploads import SegmentMarker, SegmentUpload
    from search_router.domain.serving.champions import Champion, ChampionMove, ServingModel
    from search_router.domain.serving.local_tier import LocalTier
    from search_router.domain.splits.ledger import SplitMarker, UploadHead, UploadState
    from search_router.domain.splits.plan import Attempts, UploadSplit
    from search_router.domain.uploads import ObjectRef, Upload

__all__ = [
    "AnswerCache",
    "AnswerCaches",
    "ChampionRepository",
    "Clock",
    "CollectionRepository",
    "CurrentChampion",
    "Deployments",
    "DistillationJobs",
    "Embedder",
    "EvaluationJobs",
    "EventPublisher",
    "FoundationModels",
    "LocalModels",
    "Model",
    "ObjectInfo",
    "ObjectStore",
    "QueryLogLedger",
    "Rankings",
    "RunRepository",
    "SegmentIndex",
    "SegmentRecords",
    "SegmentUploadLedger",
    "SpendingLedger",
    "SplitQueue",
    "UploadLedger",
    "UploadStore",
]

HeadT = TypeVar("HeadT", bound="UploadHead")
MarkerT = TypeVar("MarkerT", bound="SplitMarker")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """The size of an object in bytes, its metadata, and when it was written."""

    size: int
    metadata: Mapping[str, str]
    modified: datetime


class Clock(Protocol):
    """The time, which tests can control."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""

    def monotonic(self) -> float:
        """Return monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""


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
    """The runs."""

    def create(self, run: Run) -> Run:
        """Store a new run, or return the one stored under its id."""

    def get(self, run_id: str) -> Run | None:
        """Read a run consistently."""

    def replace(self, run: Run) -> None:
        """Store a run's next revision; raises ConflictError after a concurrent write."""

    def record_job(self, job_name: str, run_id: str) -> None:
        """Record that a run waits for a job; runs of the same bytes share one job."""

    def runs_of_job(self, job_name: str) -> Sequence[str]:
        """Return the ids of the runs that wait for a job; none if the job is not ours."""

    def all(self) -> Iterator[Run]:
        """Yield every run, oldest first."""

    def open(self) -> Iterator[Run]:
        """Yield the runs that track_runs has to follow."""

    def close(self, run: Run) -> None:
        """Remove a run from the open runs, unless it changed meanwhile."""

    def reopen(self, run: Run) -> None:
        """Store a run's next revision and add it to the open runs, in one write.

        Raises ConflictError after a concurrent write.
        """


class CurrentChampion(Protocol):
    """Reads which champion serves."""

    def current(self) -> Champion | None:
        """Return the champion that the pointer names."""


class ChampionRepository(CurrentChampion, Protocol):
    """The champion pointer, its versions and its moves."""

    def version(self, version: int) -> Champion | None:
        """Read one champion by its version, current or former."""

    def history(self) -> Iterator[Champion]:
        """Yield every champion, by version."""

    def last_version(self) -> int:
        """Return the highest version so far; 0 before the first promotion."""

    def moves(self) -> Iterator[ChampionMove]:
        """Yield every move of the pointer, oldest first."""

    def promote(self, champion: Champion, previous: Champion | None, run: Run) -> None:
        """Store the champion, move the pointer from `previous` and replace the run, in one write.

        Raises ConflictError, and writes nothing, if pointer or run changed meanwhile.
        """

    def roll_back(self, champion: Champion, previous: Champion, move: ChampionMove) -> None:
        """Move the pointer from `previous` to a stored champion and record it, in one write.

        Raises ConflictError, and writes nothing, if the pointer changed meanwhile.
        """


class UploadLedger(Protocol[HeadT, MarkerT]):
    """The owner of uploads that are cut into splits: a head per upload, a marker per part."""

    def create(self, head: HeadT) -> HeadT:
        """Store a new upload, or return the one already stored under its id."""

    def get(self, upload: str) -> HeadT | None:
        """Read an upload's head as it is now."""

    def record_part(self, marker: MarkerT, now: datetime) -> HeadT:
        """Store a part's marker and count it, once, in one transaction; return the head."""

    def record_attempt(self, upload: str, split: int, receives: int) -> Attempts:
        """Count an attempt at a split by its number of receives; repeating it changes nothing."""

    def reset_attempts(self, upload: str, split: int, answered: int | None = None) -> None:
        """Reset a split's count; `answered` rows are the next check's baseline."""

    def markers(self, upload: str) -> Iterator[MarkerT]:
        """Yield the markers of an upload, by split."""

    def move(self, upload: str, state: UploadState, now: datetime, reason: str = "") -> bool:
        """Move an upload to a state; return False if it has reached that state already."""

    def all(self) -> Iterator[HeadT]:
        """Yield every upload."""

    def open(self) -> Iterator[HeadT]:
        """Yield the uploads on the worklist, which are not closed."""

    def close(self, head: HeadT) -> None:
        """Remove a closed upload from the worklist, unless its state has changed."""


QueryLogLedger: TypeAlias = "UploadLedger[QueryLog, PartMarker]"
SegmentUploadLedger: TypeAlias = "UploadLedger[SegmentUpload, SegmentMarker]"


class SplitQueue(Protocol):
    """The queue of splits."""

    def send(self, messages: Iterable[UploadSplit]) -> None:
        """Send all messages; retries those that a batch rejected."""

    def set_visibility(self, receipt_handle: str, seconds: int) -> None:
        """Set the seconds after which a received message is delivered again."""


class SpendingLedger(Protocol):
    """The cost of jobs."""

    def read(self) -> Spending:
        """Read the spending consistently."""

    def replace(self, spending: Spending) -> None:
        """Store the next revision; raises UnavailableError after a concurrent write."""


class EventPublisher(Protocol):
    """The event bus."""

    def publish(self, event: RouterEvent) -> None:
        """Put one event on the bus."""


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
        """Yield the ARNs of all deployments of the account, ours or not."""

    def delete(self, deployment_arn: str) -> None:
        """Delete a deployment, not its model; a deployment that is gone is no error."""


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
    """The answer caches by champion version and owner."""

    def of(self, champion_version: int, owner: str) -> AnswerCache:
        """Return one version's cache; entries of `owner` count as model calls, not cache hits."""


class CollectionRepository(Protocol):
    """The collections."""

    def create(self, collection: Collection) -> Collection:
        """Store a new collection, or return the one already stored under its name."""

    def get(self, name: str) -> Collection | None:
        """Read a collection."""

    def all(self) -> Iterator[Collection]:
        """Yield every collection, by name."""

    def delete(self, name: str) -> None:
        """Delete a collection's entry; its index and records are deleted separately."""


class SegmentRecords(Protocol):
    """The records of segments, from which the index can be rebuilt."""

    def get_many(self, collection: str, segment_ids: Sequence[str]) -> Mapping[str, SegmentRecord]:
        """Read records consistently, by segment id; those that do not exist are left out."""

    def put_many(self, collection: str, writes: Sequence[RecordWrite]) -> Set[str]:
        """Write records; return the ids of those that were not written, because others were first.

        At most 100 records, each of another segment.
        """

    def sample(self, collection: str, limit: int) -> Sequence[SegmentRecord]:
        """Return about `limit` records of segments that are not deleted, from all shards."""

    def all(self, collection: str) -> Iterator[SegmentRecord]:
        """Yield every record, deletions included."""


class Rankings(Protocol):
    """How each collection is searched."""

    def of(self, collection: str) -> Ranking | None:
        """Return a collection with its profile and calibration; None if it does not exist."""


class SegmentIndex(Protocol):
    """The index of segments, one list per collection and modality."""

    def create(self, collection: Collection) -> None:
        """Create the lists that do not exist yet."""

    def put(self, collection: Collection, modality: str, entries: Sequence[IndexEntry]) -> None:
        """Write entries; one of the same segment is replaced."""

    def delete(self, collection: Collection, modality: str, segment_ids: Sequence[str]) -> None:
        """Delete entries; those that do not exist are ignored."""

    def search(self, collection: Collection, query: ListQuery) -> Sequence[Candidate]:
        """Return the hits of one list that meet all filters, best first by the engine's order.

        Raises NotFoundError if the list does not exist.
        """

    def drop(self, collection: Collection) -> None:
        """Delete the collection's lists."""


class Embedder(Protocol):
    """The embedding model."""

    def embed(
        self, texts: Sequence[str], purpose: EmbeddingPurpose
    ) -> Sequence[Vector | InvalidInputError]:
        """Return each text's vector, or the error of a text that the model rejected.

        Raises ThrottledError, UnavailableError, NotFoundError or OperatorError for all of them.
        """

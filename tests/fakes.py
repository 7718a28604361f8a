"""Every port in memory, with the semantics that the adapters get from AWS.

Conditional writes lose, transactions write all or nothing, records are stored as JSON text, keys
and metadata are refused where S3 or Bedrock would refuse them. What happened can be read from
plain attributes; faults are set on plain attributes too.
"""

import hashlib
import itertools
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from search_router import ports
from search_router.domain import naming
from search_router.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    QuotaExceededError,
    SearchRouterError,
    TransientError,
    UnavailableError,
)
from search_router.domain.events import RouterEvent
from search_router.domain.lifecycle.budget import Spending
from search_router.domain.lifecycle.distillation import (
    DeploymentView,
    DistillationJob,
    JobView,
    ModelLifecycle,
)
from search_router.domain.lifecycle.judging import JudgeRequest, JudgeView
from search_router.domain.lifecycle.runs import DeploymentStatus, JobStatus, Run
from search_router.domain.search.index import (
    Candidate,
    Collection,
    EmbeddingPurpose,
    IndexEntry,
    ListQuery,
    Vector,
)
from search_router.domain.search.segment_records import RecordWrite, SegmentRecord
from search_router.domain.serving.champions import Champion, ChampionMove, ServingModel
from search_router.domain.serving.decisions import (
    Decision,
    ModelAnswer,
    ModelReply,
    cached_value,
    decision_from_cache,
)
from search_router.domain.splits.ledger import SplitMarker, UploadHead, UploadState
from search_router.domain.splits.plan import Attempts, UploadSplit
from search_router.domain.uploads import ObjectRef, Upload

UPLOAD_BUCKET = "uploads"
START = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
MAX_METADATA_BYTES = 2_048  # S3: user-defined metadata, keys and values together

HeadT = TypeVar("HeadT", bound=UploadHead)
MarkerT = TypeVar("MarkerT", bound=SplitMarker)
EventT = TypeVar("EventT", bound=RouterEvent)


@dataclass(slots=True)
class VirtualClock:
    """Time that passes only when somebody sleeps or a test lets it."""

    time: datetime = START
    slept: float = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        self.time += by


@dataclass(slots=True)
class InMemoryUploads:
    """A versioned bucket; `chunk_bytes` is how much of a body comes at a time."""

    chunk_bytes: int = 8 * 1024
    clock: VirtualClock = field(default_factory=VirtualClock)
    _times: dict[ObjectRef, datetime] = field(default_factory=dict)
    _versions: dict[ObjectRef, bytes] = field(default_factory=dict)
    _metadata: dict[ObjectRef, dict[str, str]] = field(default_factory=dict)
    _latest: dict[str, ObjectRef] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def upload(self, key: str, body: bytes, **metadata: str) -> ObjectRef:
        """Store a new version, older ones stay readable; metadata names have dashes."""
        ref = ObjectRef(UPLOAD_BUCKET, key, f"v{next(self._numbers)}")
        self._metadata[ref] = {name.replace("_", "-"): text for name, text in metadata.items()}
        self._versions[ref] = body
        self._times[ref] = self.clock.now()
        self._latest[key] = ref
        return ref

    def erase(self, source: ObjectRef) -> None:
        """Delete one version for good."""
        del self._versions[source]

    def info(self, source: ObjectRef) -> ports.ObjectInfo:
        body, ref = self._body(source), self._ref(source)
        return ports.ObjectInfo(len(body), self._metadata.get(ref, {}), self._times[ref])

    def read(self, source: ObjectRef, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        wanted = self._body(source)[start:end]
        for place in range(0, len(wanted), self.chunk_bytes):
            yield wanted[place : place + self.chunk_bytes]

    def latest(self, bucket: str, prefix: str) -> Iterator[Upload]:
        for key, ref in sorted(self._latest.items()):
            if bucket == UPLOAD_BUCKET and key.startswith(prefix) and ref in self._versions:
                yield Upload(ref, self._times[ref], len(self._versions[ref]))

    def _ref(self, source: ObjectRef) -> ObjectRef:
        return source if source.version_id else self._latest.get(source.key, source)

    def _body(self, source: ObjectRef) -> bytes:
        ref = self._ref(source)
        if source.bucket != UPLOAD_BUCKET or ref not in self._versions:
            raise NotFoundError(f"read the upload: no version {source.version_id}")
        return self._versions[ref]


@dataclass(slots=True)
class InMemoryObjects:
    """The data bucket; a key or metadata that S3 or Bedrock would refuse is refused.

    After `room` more writes it is unreachable.
    """

    bodies: dict[str, bytes] = field(default_factory=dict)
    metadata: dict[str, Mapping[str, str]] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter)
    room: int | None = None

    def put(self, key: str, body: bytes) -> None:
        self._store(key, body, {})

    @contextmanager
    def writer(self, key: str) -> Iterator[Callable[[bytes], None]]:
        lines: list[bytes] = []
        yield lines.append  # an error skips the write, as an aborted upload would
        self._store(key, b"".join(lines), {})

    def put_once(self, key: str, body: bytes, metadata: Mapping[str, str]) -> bool:
        if key in self.bodies:
            return False
        self._store(key, body, metadata)
        return True

    def get(self, key: str) -> bytes:
        if key not in self.bodies:
            raise NotFoundError(f"read an object: {key}")
        return self.bodies[key]

    def info(self, key: str) -> ports.ObjectInfo:
        return ports.ObjectInfo(len(self.get(key)), self.metadata[key], START)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        for key in sorted(self.bodies):
            if key.startswith(prefix):
                yield key, len(self.bodies[key])

    def _store(self, key: str, body: bytes, metadata: Mapping[str, str]) -> None:
        naming.s3_uri("data", key)  # raises InvalidInputError
        if self.room is not None:
            if not self.room:
                raise UnavailableError("write an object: the bucket is unreachable")
            self.room -= 1
        size = sum(len(name) + len(value.encode("utf-8")) for name, value in metadata.items())
        if size > MAX_METADATA_BYTES:
            raise InvalidInputError("write an object once: MetadataTooLarge")
        self.bodies[key] = body
        self.metadata[key] = dict(metadata)
        self.writes[key] += 1


@dataclass(slots=True)
class InMemoryRuns:
    """Runs by id; only the revision that a run was made from can be replaced."""

    _runs: dict[str, str] = field(default_factory=dict)
    _jobs: dict[str, dict[str, None]] = field(default_factory=dict)
    listed: dict[str, None] = field(default_factory=dict)

    def create(self, run: Run) -> Run:
        if run.run_id not in self._runs:
            self.listed[run.run_id] = None
        return Run.model_validate_json(
            self._runs.setdefault(run.run_id, run.model_dump_json()),
        )

    def get(self, run_id: str) -> Run | None:
        stored = self._runs.get(run_id)
        return None if stored is None else Run.model_validate_json(stored)

    def replace(self, run: Run) -> None:
        if self.get(run.run_id) != run:  # our own repeated write is no conflict
            self.check(run)
            self._runs[run.run_id] = run.model_dump_json()

    def check(self, run: Run) -> None:
        """Raise ConflictError unless `run` is the next revision of what is stored."""
        stored = self.get(run.run_id)
        if stored is None or stored.revision != run.revision - 1:
            raise ConflictError(f"move a run: {run.run_id} is not at {run.revision - 1}")

    def open(self) -> Iterator[Run]:
        for run_id in sorted(self.listed):
            yield Run.model_validate_json(self._runs[run_id])

    def close(self, run: Run) -> None:
        stored = self.get(run.run_id)
        if stored is not None and stored.revision == run.revision:
            self.listed.pop(run.run_id, None)

    def reopen(self, run: Run) -> None:
        self.check(run)
        self.replace(run)
        self.listed[run.run_id] = None

    def record_job(self, job_name: str, run_id: str) -> None:
        self._jobs.setdefault(job_name, {})[run_id] = None

    def runs_of_job(self, job_name: str) -> Sequence[str]:
        return sorted(self._jobs.get(job_name, ()))

    def all(self) -> Iterator[Run]:
        runs = map(Run.model_validate_json, list(self._runs.values()))
        yield from sorted(runs, key=lambda run: (run.created_at, run.run_id))


@dataclass(slots=True)
class InMemorySpending:
    """What jobs cost; only the revision that a spending was made from can be replaced."""

    spending: Spending = field(default_factory=Spending)

    def read(self) -> Spending:
        return self.spending

    def replace(self, spending: Spending) -> None:
        if spending.revision != self.spending.revision + 1:
            raise UnavailableError("note a purchase: another run was first")
        self.spending = spending


@dataclass(slots=True)
class InMemoryChampions:
    """The pointer and its versions; `promote` writes all three records or none."""

    runs: InMemoryRuns
    _pointer: Champion | None = None
    _versions: dict[int, Champion] = field(default_factory=dict)
    _moves: list[ChampionMove] = field(default_factory=list)

    def current(self) -> Champion | None:
        return self._pointer

    def version(self, version: int) -> Champion | None:
        return self._versions.get(version)

    def history(self) -> Iterator[Champion]:
        yield from [self._versions[version] for version in sorted(self._versions)]

    def last_version(self) -> int:
        return max(self._versions, default=0)

    def moves(self) -> Iterator[ChampionMove]:
        yield from list(self._moves)

    def roll_back(self, champion: Champion, previous: Champion, move: ChampionMove) -> None:
        self._check(previous)
        self._pointer = champion
        self._moves.append(move)

    def _check(self, previous: Champion | None) -> None:
        if (self._pointer and self._pointer.version) != (previous and previous.version):
            raise ConflictError("promote a model: the pointer moved")

    def promote(self, champion: Champion, previous: Champion | None, run: Run) -> None:
        self._check(previous)
        if champion.version in self._versions:
            raise ConflictError("promote a model: the version is taken")
        self.runs.check(run)
        self.runs.replace(run)
        self._versions[champion.version] = self._pointer = champion
        before = previous.version if previous else None
        self._moves.append(
            ChampionMove(
                moved_at=champion.promoted_at,
                from_version=before,
                to_version=champion.version,
                reason=run.why,
            )
        )

    def install(self, champion: Champion) -> None:
        """Make a champion serve without a run, as the start of a story."""
        self._versions[champion.version] = self._pointer = champion


@dataclass(slots=True)
class InMemoryLedger(Generic[HeadT, MarkerT]):
    """Heads and markers; a marker and its count move together."""

    receives: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    answered: dict[tuple[str, int], int] = field(default_factory=dict)
    _logs: dict[str, HeadT] = field(default_factory=dict)
    _markers: dict[tuple[str, int], MarkerT] = field(default_factory=dict)
    listed: dict[str, None] = field(default_factory=dict)

    def create(self, head: HeadT) -> HeadT:
        if head.upload not in self._logs:
            self.listed[head.upload] = None
        return self._logs.setdefault(head.upload, head)

    def get(self, upload: str) -> HeadT | None:
        return self._logs.get(upload)

    def record_part(self, marker: MarkerT, now: datetime) -> HeadT:
        head = self._logs.get(marker.upload)
        if head is None:
            raise NotFoundError(f"upload {marker.upload} is not in the ledger")
        place = (marker.upload, marker.split)
        if place not in self._markers:
            self._markers[place] = marker.model_copy()
            counted = {"parts": head.parts + 1, "updated_at": now}
            self._logs[marker.upload] = head.model_copy(update=counted)
        return self._logs[marker.upload]

    def record_attempt(self, upload: str, split: int, receives: int) -> Attempts:
        place = (upload, split)
        counted = self.receives.setdefault(place, set())
        counted.add(receives)
        return Attempts(len(counted), self.answered.get(place, 0))

    def reset_attempts(self, upload: str, split: int, answered: int | None = None) -> None:
        place = (upload, split)
        self.receives.pop(place, None)
        if answered is not None:
            self.answered[place] = answered

    def markers(self, upload: str) -> Iterator[MarkerT]:
        for place in sorted(self._markers):
            if place[0] == upload:
                yield self._markers[place]

    def move(self, upload: str, state: UploadState, now: datetime, reason: str = "") -> bool:
        stored = self._logs.get(upload)
        if stored is None or stored.state not in state.predecessors:
            return False
        change = {"state": state, "reason": reason, "updated_at": now}
        self._logs[upload] = stored.model_copy(update=change)
        return True

    def open(self) -> Iterator[HeadT]:
        yield from [self._logs[upload] for upload in sorted(self.listed)]

    def close(self, head: HeadT) -> None:
        if self._logs[head.upload].state is head.state:
            self.listed.pop(head.upload, None)

    def all(self) -> Iterator[HeadT]:
        yield from [self._logs[upload] for upload in sorted(self._logs)]


@dataclass(slots=True)
class InMemoryCollections:
    """Collections by name."""

    stored: dict[str, Collection] = field(default_factory=dict)

    def create(self, collection: Collection) -> Collection:
        return self.stored.setdefault(collection.name, collection)

    def get(self, name: str) -> Collection | None:
        return self.stored.get(name)

    def all(self) -> Iterator[Collection]:
        yield from [self.stored[name] for name in sorted(self.stored)]

    def delete(self, name: str) -> None:
        self.stored.pop(name, None)


@dataclass(slots=True)
class InMemoryRecords:
    """Records by collection and segment id."""

    stored: dict[tuple[str, str], SegmentRecord] = field(default_factory=dict)

    def get_many(self, collection: str, segment_ids: Sequence[str]) -> Mapping[str, SegmentRecord]:
        places = ((collection, one) for one in segment_ids)
        return {place[1]: self.stored[place] for place in places if place in self.stored}

    def put_many(self, collection: str, writes: Sequence[RecordWrite]) -> set[str]:
        lost: set[str] = set()
        for record, seen in writes:
            before = self.stored.get((collection, record.segment_id))
            if (before.order if before else None) == seen:
                self.stored[collection, record.segment_id] = record
            else:
                lost.add(record.segment_id)
        return lost

    def sample(self, collection: str, limit: int) -> Sequence[SegmentRecord]:
        return [record for record in self.all(collection) if record.segment][:limit]

    def all(self, collection: str) -> Iterator[SegmentRecord]:
        yield from [self.stored[place] for place in sorted(self.stored) if place[0] == collection]

    def count(self, collection: str) -> int:
        return sum(record.segment is not None for record in self.all(collection))

    def drop(self, collection: str) -> None:
        for place in [place for place in self.stored if place[0] == collection]:
            del self.stored[place]


@dataclass(slots=True)
class InMemoryIndex:
    """Entries by collection and modality, then by segment id; counts the entries written."""

    lists: dict[tuple[str, str], dict[str, IndexEntry]] = field(default_factory=dict)
    written: int = 0

    def create(self, collection: Collection) -> None:
        for modality in collection.modalities:
            self.lists.setdefault((collection.name, modality), {})

    def put(self, collection: Collection, modality: str, entries: Sequence[IndexEntry]) -> None:
        self.written += len(entries)
        for entry in entries:
            self._list(collection, modality)[entry.segment_id] = entry

    def delete(self, collection: Collection, modality: str, segment_ids: Sequence[str]) -> None:
        for segment_id in segment_ids:
            self._list(collection, modality).pop(segment_id, None)

    def search(self, collection: Collection, query: ListQuery) -> Sequence[Candidate]:
        raise NotImplementedError("the index in memory is for indexing only")

    def drop(self, collection: Collection) -> None:
        for modality in collection.modalities:
            self.lists.pop((collection.name, modality), None)

    def _list(self, collection: Collection, modality: str) -> dict[str, IndexEntry]:
        try:
            return self.lists[collection.name, modality]
        except KeyError:
            raise NotFoundError("the list does not exist") from None


@dataclass(slots=True)
class FakeEmbedder:
    """Embeds a text as numbers made of its hash; rejects texts with the word `unembeddable`."""

    dimension: int = 4
    asked: list[str] = field(default_factory=list)
    failing: SearchRouterError | None = None

    def embed(
        self, texts: Sequence[str], purpose: EmbeddingPurpose
    ) -> "Sequence[Vector | InvalidInputError]":
        if self.failing is not None:
            raise self.failing
        self.asked += texts
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> "Vector | InvalidInputError":
        if "unembeddable" in text:
            return InvalidInputError("embed a text: ValidationException")
        digest = hashlib.sha256(text.encode()).digest()
        return array("f", [1 + byte for byte in digest[: self.dimension]])


@dataclass(slots=True)
class InMemoryQueue:
    """What was sent, in order; a standard queue promises none, so tests may shuffle it.

    After `room` messages the queue is unreachable, which leaves a batch half sent.
    """

    sent: list[Any] = field(default_factory=list)
    postponed: list[tuple[str, int]] = field(default_factory=list)
    room: int | None = None

    def send(self, messages: Iterable[UploadSplit]) -> None:
        for message in messages:
            if self.room is not None and len(self.sent) >= self.room:
                raise UnavailableError("send splits: the queue is unreachable")
            self.sent.append(type(message).model_validate_json(message.model_dump_json()))

    def set_visibility(self, receipt_handle: str, seconds: int) -> None:
        self.postponed.append((receipt_handle, seconds))


@dataclass(slots=True)
class InMemoryEvents:
    """What was put on the bus; `failing` is raised instead."""

    published: list[RouterEvent] = field(default_factory=list)
    failing: TransientError | None = None

    def publish(self, event: RouterEvent) -> None:
        if self.failing is not None:
            raise self.failing
        self.published.append(event)

    def of(self, kind: type[EventT]) -> list[EventT]:
        """Return the published events of one kind, in order."""
        return [event for event in self.published if isinstance(event, kind)]


@dataclass(slots=True)
class InMemoryCustomizer:
    """Bedrock's control plane: names are unique, what is taken is adopted, places are few."""

    lifecycles: dict[str, ModelLifecycle] = field(default_factory=dict)
    jobs: dict[str, JobView] = field(default_factory=dict)
    started: list[DistillationJob] = field(default_factory=list)
    deployments: dict[str, DeploymentView] = field(default_factory=dict)
    deployed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    slots: int = 10
    refusing: SearchRouterError | None = None
    calls: int = 0

    def lifecycle(self, model_id: str) -> ModelLifecycle:
        self.calls += 1
        return self.lifecycles.get(model_id, ModelLifecycle(model_id, "ACTIVE", None))

    def start_job(self, job: DistillationJob) -> str:
        self.calls += 1
        if self.refusing is not None:
            raise self.refusing
        if job.name not in self.jobs:
            self.started.append(job)
            arn = f"arn:aws:bedrock:us-east-1:123456789012:model-customization-job/{job.name}"
            self.jobs[job.name] = JobView(job.name, arn, JobStatus.IN_PROGRESS.value, "", "")
        return self.jobs[job.name].arn

    def job(self, identifier: str) -> JobView:
        self.calls += 1
        for view in self.jobs.values():
            if identifier in (view.name, view.arn):
                return view
        raise NotFoundError("read the distillation job: unknown")

    def deploy(self, deployment_name: str, model_arn: str) -> str:
        self.calls += 1
        if deployment_name not in self.deployments:
            if len(self.deployments) >= self.slots:
                raise QuotaExceededError("deploy the model: no slot is free")
            self.deployed.append(deployment_name)
            arn = (
                f"arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/{deployment_name}"
            )
            view = DeploymentView(arn, DeploymentStatus.CREATING.value, "")
            self.deployments[deployment_name] = view
        return self.deployments[deployment_name].arn

    def deployment(self, identifier: str) -> DeploymentView:
        self.calls += 1
        for name, view in self.deployments.items():
            if identifier in (name, view.arn):
                return view
        raise NotFoundError("read the deployment: unknown")

    def arns(self) -> Iterator[str]:
        self.calls += 1
        yield from [view.arn for view in self.deployments.values()]

    def delete(self, deployment_arn: str) -> None:
        self.calls += 1
        for name, view in list(self.deployments.items()):
            if view.arn == deployment_arn:
                del self.deployments[name]
                self.deleted.append(deployment_arn)

    def end_job(self, name: str, status: str = "Completed", failure: str = "") -> JobView:
        """Let a job reach a status; a completed one has made a model."""
        arn = f"arn:aws:bedrock:us-east-1:123456789012:custom-model/{name}"
        model_arn = arn if status == JobStatus.COMPLETED else ""
        self.jobs[name] = replace(
            self.jobs[name], status=status, model_arn=model_arn, failure=failure
        )
        return self.jobs[name]

    def end_deployment(self, name: str, status: str = "Active", failure: str = "") -> None:
        """Let a deployment reach a status."""
        view = replace(self.deployments[name], status=status, failure=failure)
        self.deployments[name] = view


@dataclass(slots=True)
class InMemoryJudges:
    """Evaluation jobs that end when a test says so.

    `refusing` is raised instead of a start, `unreadable` instead of a view.
    """

    started: dict[str, JudgeRequest] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    refusing: SearchRouterError | None = None
    unreadable: SearchRouterError | None = None

    def start(self, request: JudgeRequest) -> str:
        if self.refusing is not None:
            raise self.refusing
        arn = f"arn:aws:bedrock:us-east-1:123456789012:evaluation-job/{request.job_name}"
        if arn not in self.started:
            self.started[arn] = request
            self.statuses[arn] = "InProgress"
        return arn

    def view(self, job_arn: str) -> JudgeView:
        if self.unreadable is not None:
            raise self.unreadable
        if job_arn not in self.statuses:
            raise NotFoundError("read the evaluation job: unknown")
        return JudgeView(self.statuses[job_arn], "")


@dataclass(slots=True)
class InMemoryCache:
    """The answers of one champion version, kept the way the table keeps them."""

    owner: str = ""
    values: dict[str, str] = field(default_factory=dict)
    remembered: list[int] = field(default_factory=list)
    recalled: list[int] = field(default_factory=list)

    def get_many(self, queries: Sequence[str]) -> Mapping[str, Decision]:
        self.recalled.append(len(queries))
        cached = (query for query in queries if query in self.values)
        return {query: decision_from_cache(self.values[query], self.owner) for query in cached}

    def put_many(self, decisions: Mapping[str, Decision]) -> None:
        self.remembered.append(len(decisions))
        for query, decision in decisions.items():
            self.values[query] = cached_value(decision, self.owner)


@dataclass(slots=True)
class InMemoryCaches:
    """The values of each champion version, seen by every owner in its own way."""

    by_version: dict[int, dict[str, str]] = field(default_factory=dict)

    def of(self, champion_version: int, owner: str) -> InMemoryCache:
        return InMemoryCache(owner, self.by_version.setdefault(champion_version, {}))


Answering = Callable[[ServingModel, str], ModelAnswer]


def reply(text: str, stop_reason: str = "end_turn", latency_ms: int = 800) -> ModelReply:
    """Return what Converse says, at 60 input and 30 output tokens."""
    return ModelReply(text, stop_reason, 60, 30, latency_ms)


def always(text: str) -> Answering:
    """Answer every query with one text."""
    return lambda _serving, _query: reply(text)


@dataclass(slots=True)
class FakeModel:
    """Answers by script, three at a time and the last one first: the port promises no order.

    `refusing` is raised for these model ids at the first query; after `calls_left` calls the time
    is over, and what remains is neither drawn nor yielded.
    """

    answering: Answering
    refusing: dict[str, SearchRouterError] = field(default_factory=dict)
    calls_left: int | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    def ask(
        self, serving: ServingModel, queries: Iterable[str]
    ) -> Iterator[tuple[str, ModelAnswer]]:
        remaining = iter(queries)
        while batch := list(itertools.islice(remaining, self._take())):
            for query in reversed(batch):
                if serving.model_id in self.refusing:
                    raise self.refusing[serving.model_id]
                self.asked.append((serving.model_id, query))
                yield query, self.answering(serving, query)

    def _take(self) -> int:
        if self.calls_left is None:
            return 3
        taken = min(3, self.calls_left)
        self.calls_left -= taken
        return taken


if TYPE_CHECKING:  # mypy compares every fake with its port

    def _honour(runs: InMemoryRuns, model: FakeModel) -> None:
        _spending: ports.SpendingLedger = InMemorySpending()
        _judges: ports.EvaluationJobs = InMemoryJudges()
        _clock: ports.Clock = VirtualClock()
        _uploads: ports.UploadStore = InMemoryUploads()
        _objects: ports.ObjectStore = InMemoryObjects()
        _runs: ports.RunRepository = runs
        _champions: ports.ChampionRepository = InMemoryChampions(runs)
        _ledger: ports.QueryLogLedger = InMemoryLedger()
        _collections: ports.CollectionRepository = InMemoryCollections()
        _records: ports.SegmentRecords = InMemoryRecords()
        _index: ports.SegmentIndex = InMemoryIndex()
        _embedder: ports.Embedder = FakeEmbedder()
        _queue: ports.SplitQueue = InMemoryQueue()
        _events: ports.EventPublisher = InMemoryEvents()
        _models: ports.FoundationModels = InMemoryCustomizer()
        _jobs: ports.DistillationJobs = InMemoryCustomizer()
        _deployments: ports.Deployments = InMemoryCustomizer()
        _caches: ports.AnswerCaches = InMemoryCaches()
        _model: ports.Model = model

"""Histories of indexing: concurrent uploads of the same segments, crashes, duplicates, deletions.

The use cases are the product's. Their ports are in memory, and every call of one takes time, in
which other workers run, and may fail, or end its worker, before or after it has had its effect.
"""

import functools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from search_router.domain.errors import SearchRouterError, UnavailableError
from search_router.domain.search.index import MODALITIES_ATTRIBUTE, IndexEntry
from search_router.domain.search.segment_uploads import (
    SegmentMarker,
    SegmentSplit,
    SegmentState,
    SegmentUpload,
)
from search_router.domain.search.segments import metadata_text
from search_router.domain.splits.plan import UploadSplit, read_split
from search_router.domain.uploads import ObjectRef
from search_router.use_cases.calibrate import Calibrate
from search_router.use_cases.finish_segments import FinishSegments
from search_router.use_cases.index_segments import IndexSegments
from search_router.use_cases.split_attempts import retry_delay
from search_router.use_cases.split_segments import IndexRules, SplitSegments
from tests.fakes import (
    START,
    FakeEmbedder,
    InMemoryCollections,
    InMemoryEvents,
    InMemoryIndex,
    InMemoryLedger,
    InMemoryObjects,
    InMemoryRecords,
    InMemoryUploads,
)
from tests.records import jsonl
from tests.simulation.scheduler import CrashError, Scheduler
from tests.simulation.virtual_aws.sqs import Message, VirtualQueue

MODALITIES = ("visual", "audio", "metadata")
COLLECTION = "films"
HOUR = 3_600.0
_VISIBILITY = 1.5 * HOUR
_TIMEOUT = 900.0
_CALM_AT = 6 * HOUR
_END = 200 * HOUR


@dataclass(slots=True)
class Trouble:
    """What goes wrong with calls, by chance, until it is calm."""

    scheduler: Scheduler
    chance: random.Random
    rate: float
    met: int = 0

    def call(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Make a call that takes time and may fail or end its worker."""
        fiber = self.scheduler.current
        if fiber is None:
            return method(*arguments, **named)
        self.scheduler.sleep(self.chance.uniform(0.01, 2.0))
        fault = self._fault()
        if fault == "crash before":
            raise fiber.die(CrashError("planned"))
        if fault == "refused":
            raise UnavailableError("planned")
        result = method(*arguments, **named)
        self.scheduler.sleep(self.chance.uniform(0.01, 2.0))
        if fault == "crash after":
            raise fiber.die(CrashError("planned"))
        if fault == "lost reply":
            raise UnavailableError("planned")
        return result

    def _fault(self) -> str:
        if self.scheduler.seconds > _CALM_AT or self.chance.random() >= self.rate:
            return ""
        self.met += 1
        return self.chance.choice(("crash before", "refused", "crash after", "lost reply"))


class Slow:
    """A port whose every call takes time and may meet trouble."""

    def __init__(self, port: Any, trouble: Trouble) -> None:
        self._port = port
        self._trouble = trouble

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        return functools.partial(self._trouble.call, _at_once(method))


def _at_once(method: Callable[..., Any]) -> Callable[..., Any]:
    """Draw what a call yields before time goes on."""

    def call(*arguments: Any, **named: Any) -> Any:
        result = method(*arguments, **named)
        return iter(list(result)) if isinstance(result, Iterator) else result

    return call


@dataclass(slots=True)
class _Queue:
    queue: VirtualQueue
    wake: Callable[[], None]

    def send(self, messages: Iterable[UploadSplit]) -> None:
        for message in messages:
            self.queue.send(message.model_dump_json())
        self.wake()

    def set_visibility(self, receipt_handle: str, seconds: int) -> None:
        self.queue.change_visibility(receipt_handle, seconds)


@dataclass(slots=True)
class IndexWorld:
    """One collection with its uploads, queue, workers, records and lists."""

    chance: random.Random
    rate: float
    workers: int = 3
    scheduler: Scheduler = field(default_factory=lambda: Scheduler(START))
    uploads: InMemoryUploads = field(default_factory=InMemoryUploads)
    objects: InMemoryObjects = field(default_factory=InMemoryObjects)
    records: InMemoryRecords = field(default_factory=InMemoryRecords)
    index: InMemoryIndex = field(default_factory=InMemoryIndex)
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)
    ledger: InMemoryLedger[SegmentUpload, SegmentMarker] = field(default_factory=InMemoryLedger)
    events: InMemoryEvents = field(default_factory=InMemoryEvents)
    sources: list[tuple[ObjectRef, list[dict[str, Any]]]] = field(default_factory=list)
    trouble: Trouble = field(init=False)
    queue: VirtualQueue = field(init=False)
    running: int = 0
    split: SplitSegments = field(init=False)
    work: IndexSegments = field(init=False)
    finish: FinishSegments = field(init=False)

    def __post_init__(self) -> None:
        scheduler = self.scheduler
        self.trouble = Trouble(scheduler, self.chance, self.rate)
        self.queue = VirtualQueue(lambda: scheduler.seconds, _VISIBILITY, 14 * 24 * HOUR)
        self.uploads.clock = scheduler  # type: ignore[assignment]
        slow = functools.partial(Slow, trouble=self.trouble)
        shared: dict[str, Any] = {
            "objects": slow(self.objects),
            "ledger": slow(self.ledger),
            "clock": scheduler,
        }
        collections = slow(InMemoryCollections())
        index, records = slow(self.index), slow(self.records)
        self.split = SplitSegments(
            uploads=slow(self.uploads),
            queue=slow(_Queue(self.queue, self.poll)),
            collections=collections,
            index=index,
            rules=IndexRules(MODALITIES, "embedder", 4, workers=2),
            **shared,
        )
        self.work = IndexSegments(
            uploads=slow(self.uploads),
            collections=collections,
            records=records,
            index=index,
            embedder=slow(self.embedder),
            events=slow(self.events),
            **shared,
        )
        calibrate = Calibrate(records, shared["objects"])
        self.finish = FinishSegments(events=slow(self.events), calibrate=calibrate, **shared)

    def upload(self, rows: list[dict[str, Any]]) -> None:
        """Upload a file, and let S3's events start its planner once or twice, soon or late."""
        key = f"segments/{COLLECTION}/{self.chance.randrange(3)}.jsonl"
        source = self.uploads.upload(key, jsonl(rows))
        number = len(self.sources)
        self.sources.append((source, rows))
        for _ in range(self.chance.choice((1, 1, 2))):
            self.scheduler.after(
                self.chance.choice((1.0, 60.0, 1_000.0)) * self.chance.random(),
                lambda: self._plan(number),
            )

    def poll(self) -> None:
        """Start workers while messages are visible, in any order, some of them twice."""
        while self.running < self.workers and (message := self.queue.receive()) is not None:
            if self.trouble.scheduler.seconds < _CALM_AT and self.chance.random() < 0.2:
                message.visible = self.scheduler.seconds + self.chance.uniform(0.0, 60.0)
            self._start(message)

    def tick(self) -> None:
        """Look for messages, and finish what is complete, as events and the schedule would."""
        self.poll()
        for head in list(self.ledger.all()):
            if head.is_complete and head.state is not SegmentState.INDEXED:
                self._attempt(functools.partial(self.finish, head.upload_id))
        for number, (source, _) in enumerate(self.sources):
            found = self.ledger.get(self.split._upload_id(source))
            is_open = found is None or found.state is SegmentState.PLANNED
            if is_open and self.scheduler.seconds > _CALM_AT:
                self._plan(number)
        self.scheduler.after(300.0, self.tick)

    @property
    def is_done(self) -> bool:
        """Whether every upload is indexed and no worker runs."""
        heads = list(self.ledger.all())
        done = len(heads) == len(self.sources) and all(
            h.state is SegmentState.INDEXED for h in heads
        )
        return done and not self.queue.messages and not self.scheduler.busy

    def _plan(self, number: int) -> None:
        """Start a planner with S3's event: uploads of the same second differ in the sequencer."""
        source, _ = self.sources[number]
        self._attempt(lambda: self.split(source, f"{number:08X}"))

    def _attempt(self, action: Callable[[], Any]) -> None:
        def body() -> None:
            try:
                action()
            except SearchRouterError:
                return

        self.scheduler.spawn("planner", body, _TIMEOUT)

    def _start(self, message: Message) -> None:
        self.running += 1
        handle, receives = message.handle, message.receives

        def body() -> None:
            try:
                self.work(read_split(SegmentSplit, message.body), 800.0, receives)
            except SearchRouterError as error:
                if message.handle == handle:
                    message.visible = self.scheduler.seconds + retry_delay(receives, error)
            else:
                if message.handle == handle:
                    self.queue.delete(message)
            finally:
                self.running -= 1

        self.scheduler.spawn("worker", body, _TIMEOUT)


def run_history(seed: int, rate: float = 0.05) -> IndexWorld:
    """Live one history to its end and return what it leaves."""
    chance = random.Random(seed)
    world = IndexWorld(chance, chance.choice((0.0, rate, 2 * rate)))
    for number in range(chance.randint(2, 5)):
        rows = [_a_row(chance, number, place) for place in range(chance.randint(1, 12))]
        world.scheduler.after(
            chance.choice((0.0, 1.0, 3_600.0)) * chance.random(),
            functools.partial(world.upload, rows),
        )
    world.scheduler.after(1.0, world.tick)
    uploads = len(world.scheduler._due) - 1
    world.scheduler.run(_END, lambda: len(world.sources) == uploads and world.is_done)
    world.scheduler.close()
    return world


def violations(world: IndexWorld) -> list[str]:
    """Return what is not as promised when a history is over."""
    found = [
        f"{head.upload_id} is {head.state}: {head.reason}"
        for head in world.ledger.all()
        if head.state is not SegmentState.INDEXED
    ]
    expected = _expected(world)
    for modality in MODALITIES:
        entries = world.index.lists.get((COLLECTION, modality), {})
        wanted = {one: entry for one, entry in expected.items() if modality in entry["texts"]}
        if entries.keys() != wanted.keys():
            found.append(f"{modality}: {sorted(entries.keys() ^ wanted.keys())} differ")
        found += [
            f"{modality}: {one} is not its last write"
            for one in sorted(entries.keys() & wanted.keys())
            if _content(entries[one]) != _wanted(world, wanted[one], modality)
        ]
    found += _uncounted(world)
    return found


def _expected(world: IndexWorld) -> dict[str, Any]:
    """Return the last write of every id that is not deleted, by upload and place."""
    last: dict[str, Any] = {}
    places = sorted(
        range(len(world.sources)),
        key=lambda place: (int(world.uploads._times[world.sources[place][0]].timestamp()), place),
    )
    for place in places:
        for row in world.sources[place][1]:
            if "unembeddable" not in str(row.get("texts")):
                last[row["segment_id"]] = row
    return {
        one: {**row, "texts": {**row["texts"], "metadata": metadata_text(row["attributes"])}}
        for one, row in last.items()
        if "deleted" not in row
    }


def _wanted(world: IndexWorld, row: Mapping[str, Any], modality: str) -> tuple[Any, ...]:
    text = row["texts"][modality]
    vector = world.embedder.vector(text)
    attributes = {**row["attributes"], MODALITIES_ATTRIBUTE: sorted(row["texts"])}
    return text, vector, row["end"], attributes


def _content(entry: IndexEntry) -> tuple[Any, ...]:
    return entry.text, entry.vector, entry.end, entry.attributes


def _uncounted(world: IndexWorld) -> Iterator[str]:
    """Yield the uploads whose rows are not counted once each."""
    for source, rows in world.sources:
        upload = world.split._upload_id(source)
        markers = list(world.ledger.markers(upload))
        rows_in = sum(marker.stats.rows_in for marker in markers)
        if rows_in != len(rows) or not all(marker.stats.add_up for marker in markers):
            yield f"{upload}: {rows_in} rows counted of {len(rows)}"
        rejected = sum(
            len(body.splitlines())
            for key, body in world.objects.bodies.items()
            if key.startswith(f"segments/{upload}/rejected/")
        )
        if rejected != sum(marker.stats.rejected for marker in markers):
            yield f"{upload}: {rejected} rejected rows written"


def _a_row(chance: random.Random, upload: int, place: int) -> dict[str, Any]:
    segment_id = f"s{chance.randrange(8)}"
    if chance.random() < 0.2:
        return {"segment_id": segment_id, "deleted": True}
    words = ("door", "window", f"{upload}", f"{upload}.{place}")
    texts = {
        modality: chance.choice(words)
        for modality in chance.choice((("visual",), ("audio",), ("visual", "audio")))
    }
    if chance.random() < 0.05:
        texts["visual"] = "unembeddable"
    end = chance.choice((1.0, 2.0))
    attributes = {"genre": chance.choice(("drama", "news"))}
    return {
        "segment_id": segment_id,
        "video_id": "v1",
        "start": 0.0,
        "end": end,
        "texts": texts,
        "attributes": attributes,
    }

"""Segments: planned, written once, embedded where changed, and the last write wins."""

import itertools
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from search_router.domain.errors import (
    InvalidInputError,
    ModelUnusableError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)
from search_router.domain.events import SegmentPartsComplete, SegmentsIndexed
from search_router.domain.search.segment_uploads import (
    MAX_UPLOAD_BYTES,
    SegmentCounts,
    SegmentMarker,
    SegmentSplit,
    SegmentState,
    SegmentUpload,
)
from search_router.domain.uploads import ObjectRef
from search_router.ports import ObjectInfo
from search_router.use_cases.calibrate import Calibrate
from search_router.use_cases.finish_segments import FinishSegments
from search_router.use_cases.index_segments import IndexSegments
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.split_attempts import MAX_SPLIT_ATTEMPTS
from search_router.use_cases.split_segments import IndexRules, SplitSegments
from tests.fakes import (
    FakeEmbedder,
    InMemoryCollections,
    InMemoryEvents,
    InMemoryIndex,
    InMemoryLedger,
    InMemoryObjects,
    InMemoryQueue,
    InMemoryRecords,
    InMemoryUploads,
    VirtualClock,
)
from tests.records import gzipped, jsonl

MODALITIES = ("visual", "audio", "metadata")
RULES = IndexRules(MODALITIES, "embedder", 4, workers=2)


def a_row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "segment_id": f"s{number}",
        "video_id": "v1",
        "start": number,
        "end": number + 1,
        "texts": {"visual": f"door {number}", "audio": f"bark {number}"},
        "attributes": {"genre": "drama"},
    } | changes


def a_deletion(number: int) -> dict[str, Any]:
    return {"segment_id": f"s{number}", "deleted": True}


@dataclass
class Indexing:
    """All ports in memory and the use cases of indexing."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    uploads: InMemoryUploads = field(default_factory=InMemoryUploads)
    objects: InMemoryObjects = field(default_factory=InMemoryObjects)
    collections: InMemoryCollections = field(default_factory=InMemoryCollections)
    records: InMemoryRecords = field(default_factory=InMemoryRecords)
    index: InMemoryIndex = field(default_factory=InMemoryIndex)
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)
    ledger: InMemoryLedger[SegmentUpload, SegmentMarker] = field(default_factory=InMemoryLedger)
    queue: InMemoryQueue = field(default_factory=InMemoryQueue)
    events: InMemoryEvents = field(default_factory=InMemoryEvents)
    rules: IndexRules = RULES
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.uploads.clock = self.clock

    def planned(self, body: bytes, key: str = "") -> SegmentUpload | Ignored:
        self.clock.advance(timedelta(seconds=5))
        return self.split(
            self.uploads.upload(key or f"segments/films/{next(self.numbers)}.jsonl", body)
        )

    def split(self, source: ObjectRef, sequencer: str = "") -> SegmentUpload | Ignored:
        return SplitSegments(
            uploads=self.uploads,
            objects=self.objects,
            ledger=self.ledger,
            queue=self.queue,
            clock=self.clock,
            collections=self.collections,
            index=self.index,
            rules=self.rules,
        )(source, sequencer)

    def work(self, split: SegmentSplit, receives: int = 1, seconds: float = 900.0) -> SegmentCounts:
        index = IndexSegments(
            uploads=self.uploads,
            objects=self.objects,
            collections=self.collections,
            records=self.records,
            index=self.index,
            embedder=self.embedder,
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
        )
        counts = index(split, seconds, receives)
        assert isinstance(counts, SegmentCounts), counts
        return counts

    def splits(self, *rows: dict[str, Any]) -> list[SegmentSplit]:
        """Upload rows and return the messages."""
        self.queue.sent.clear()
        upload = self.planned(jsonl(list(rows)))
        assert isinstance(upload, SegmentUpload)
        assert upload.state is SegmentState.INDEXING, upload.reason
        return list(self.queue.sent)

    def indexed(self, *rows: dict[str, Any]) -> SegmentCounts:
        """Upload rows and index them in one split."""
        [split] = self.splits(*rows)
        return self.work(split)

    def finish(self, upload_id: str) -> SegmentCounts | Ignored:
        return FinishSegments(
            objects=self.objects,
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
            calibrate=Calibrate(self.records, self.objects),
        )(upload_id)

    def texts(self, modality: str) -> dict[str, str]:
        """Return the texts of one list, by segment id."""
        entries = self.index.lists["films", modality]
        return {segment_id: entry.text for segment_id, entry in sorted(entries.items())}

    def outcomes(self, split: SegmentSplit) -> list[str]:
        part = self.objects.bodies[f"segments/{split.upload_id}/parts/part-{split.split:05d}.jsonl"]
        return [json.loads(line)["outcome"] for line in part.splitlines()]

    def rejected(self, split: SegmentSplit) -> list[dict[str, Any]]:
        key = f"segments/{split.upload_id}/rejected/part-{split.split:05d}.jsonl"
        return [json.loads(line) for line in self.objects.bodies[key].splitlines()]


@pytest.fixture
def world() -> Indexing:
    return Indexing()


def test_an_upload_becomes_entries_records_and_a_summary(world: Indexing) -> None:
    [split] = world.splits(a_row(1), a_row(2))

    counts = world.work(split)

    assert (counts.rows_in, counts.indexed, counts.embeddings) == (2, 2, 5)
    assert world.texts("visual") == {"s1": "door 1", "s2": "door 2"}
    assert world.texts("metadata") == {"s1": "drama", "s2": "drama"}
    entry = world.index.lists["films", "audio"]["s2"]
    assert entry.vector == world.embedder.vector("bark 2")
    assert (entry.video_id, entry.start, entry.end) == ("v1", 2.0, 3.0)
    assert world.events.published == [SegmentPartsComplete(upload_id=split.upload_id)]
    assert world.finish(split.upload_id) == counts
    summary = json.loads(world.objects.bodies[f"segments/{split.upload_id}/summary.json"])
    assert (summary["collection"], summary["rows_in"], summary["indexed"]) == ("films", 2, 2)
    calibration = json.loads(world.objects.bodies["collections/films/calibration.json"])
    assert calibration["segments"] == 2
    finished = SegmentsIndexed(upload_id=split.upload_id, collection="films")
    assert world.events.published[-1] == finished
    head = world.ledger.get(split.upload_id)
    assert head is not None
    assert head.state is SegmentState.INDEXED


def test_unchanged_content_costs_neither_embeddings_nor_writes_to_the_index(
    world: Indexing,
) -> None:
    world.indexed(a_row(1), a_row(2))
    world.index.written = 0

    counts = world.indexed(a_row(1), a_row(2))

    assert (counts.unchanged, counts.embeddings, world.index.written) == (2, 0, 0)


def test_only_changed_modalities_are_embedded_and_written(world: Indexing) -> None:
    world.indexed(a_row(1))
    world.index.written = 0
    world.embedder.asked.clear()

    changed = a_row(1, texts={"visual": "door 1", "audio": "silence"})
    counts = world.indexed(changed)

    assert world.embedder.asked == ["silence"]
    assert (counts.indexed, counts.embeddings, world.index.written) == (1, 1, 1)


def test_new_times_are_written_to_every_list_without_embeddings(world: Indexing) -> None:
    world.indexed(a_row(1))

    counts = world.indexed(a_row(1, end=9))

    assert (counts.indexed, counts.embeddings) == (1, 0)
    ends = [world.index.lists["films", modality]["s1"].end for modality in MODALITIES]
    assert ends == [9.0, 9.0, 9.0]


def test_a_modality_that_a_segment_no_longer_has_leaves_its_list(world: Indexing) -> None:
    world.indexed(a_row(1))

    world.indexed(a_row(1, texts={"visual": "door 1", "audio": "  "}, attributes={}))

    assert [world.texts(modality) for modality in MODALITIES] == [{"s1": "door 1"}, {}, {}]


def test_vectors_of_the_user_are_indexed_as_they_are(world: Indexing) -> None:
    counts = world.indexed(
        a_row(
            1, texts={"visual": "a door"}, vectors={"visual": [1, 2, 3, 4], "audio": [0, 0, 0, 1]}
        )
    )

    assert counts.embeddings == 1, "the text of the attributes"
    visual = world.index.lists["films", "visual"]["s1"]
    assert (visual.vector, visual.text) == (array("f", [1, 2, 3, 4]), "a door")
    audio = world.index.lists["films", "audio"]["s1"]
    assert (audio.vector, audio.text) == (array("f", [0, 0, 0, 1]), "")


def test_equal_texts_of_a_split_are_embedded_once(world: Indexing) -> None:
    rows = [a_row(n, texts={"visual": "the same door"}) for n in range(250)]

    counts = world.indexed(*rows)

    assert (counts.indexed, counts.embeddings) == (250, 2)


def test_within_a_file_the_last_row_of_an_id_wins(world: Indexing) -> None:
    [split] = world.splits(a_row(1), a_row(2), a_row(1, texts={"visual": "window"}), a_deletion(2))

    counts = world.work(split)

    assert world.outcomes(split) == ["superseded", "superseded", "indexed", "deleted"]
    assert counts.add_up
    assert [world.texts(modality) for modality in ("visual", "audio")] == [{"s1": "window"}, {}]


def test_a_deletion_wins_over_older_uploads_that_are_indexed_later(world: Indexing) -> None:
    [older] = world.splits(a_row(1))
    deleted = world.indexed(a_deletion(1))

    counts = world.work(older)

    assert (deleted.deleted, counts.superseded) == (1, 1)
    assert world.texts("visual") == {}
    assert world.indexed(a_row(1)).indexed == 1, "and loses against newer ones"
    assert world.texts("visual") == {"s1": "door 1"}


@pytest.mark.parametrize(
    "sequencers", [("0055AED6DCD90281E5", "0055aed6dcd90281e6"), ("00AB", "00AB01")]
)
def test_of_two_uploads_in_one_second_the_sequencer_decides(
    world: Indexing, sequencers: tuple[str, str]
) -> None:
    bodies = [jsonl([a_row(1, texts={"visual": text})]) for text in ("older", "newer")]
    sources = [world.uploads.upload("segments/films/a.jsonl", body) for body in bodies]
    for source, sequencer in reversed(list(zip(sources, sequencers, strict=True))):
        world.split(source, sequencer)

    for split in world.queue.sent:
        world.work(split)

    assert world.texts("visual") == {"s1": "newer"}


def test_a_text_that_the_model_rejects_makes_the_row_a_rejected_row(world: Indexing) -> None:
    bad = a_row(1, texts={"visual": "unembeddable"})
    [split] = world.splits(a_row(1), bad, a_row(2, texts={"audio": "unembeddable"}), {"x": 1})

    counts = world.work(split)

    assert world.outcomes(split) == ["indexed", "rejected", "rejected", "rejected"]
    assert (counts.rejected, counts.add_up) == (3, True)
    assert [row["reason"] for row in world.rejected(split)] == [
        "the embedding model rejects the text of visual",
        "the embedding model rejects the text of audio",
        "segment_id is missing or blank",
    ]
    assert json.loads(world.rejected(split)[0]["text"]) == bad
    assert world.texts("visual") == {"s1": "door 1"}, "the row before it counts"
    world.objects.put(f"segments/{split.upload_id}/rejected/part-00000.jsonl", b"")
    assert world.work(split, receives=2) == counts
    assert len(world.rejected(split)) == 3, "a redelivery writes them again"


@pytest.mark.parametrize(
    ("failing", "raised"),
    [
        (ThrottledError("slow down"), ThrottledError),
        (NotFoundError("no such model"), ModelUnusableError),
    ],
)
def test_a_model_that_cannot_be_asked_is_asked_again_later(
    world: Indexing, failing: Exception, raised: type[Exception]
) -> None:
    [split] = world.splits(a_row(1))
    for receives in range(1, 3 * MAX_SPLIT_ATTEMPTS):
        world.embedder.failing = failing  # type: ignore[assignment]
        with pytest.raises(raised):
            world.work(split, receives)
    world.embedder.failing = None

    assert world.work(split, 99).indexed == 1


def test_without_time_the_rest_is_left_to_the_next_attempt(world: Indexing) -> None:
    [split] = world.splits(*(a_row(n) for n in range(150)))
    embed = FakeEmbedder.embed

    def slowly(self: FakeEmbedder, *arguments: Any) -> Any:
        world.clock.sleep(60)
        return embed(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeEmbedder, "embed", slowly)
        with pytest.raises(UnavailableError, match="no time was left"):
            world.work(split, seconds=30)
    asked = len(world.embedder.asked)

    counts = world.work(split, receives=2)

    assert counts.indexed == 150
    assert asked > 0
    assert len(world.embedder.asked) == 2 * 150 + 2, "metadata again, nothing else twice"


def test_a_write_between_read_and_write_is_seen(world: Indexing) -> None:
    """Another upload writes the same id after this worker has read its record."""
    [older] = world.splits(a_row(1))
    [newer] = world.splits(a_row(1, texts={"audio": "newer"}))
    put_many = InMemoryRecords.put_many

    def overtaken(self: InMemoryRecords, *arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(InMemoryRecords, "put_many", put_many)
            world.work(newer)
        return put_many(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InMemoryRecords, "put_many", overtaken)
        counts = world.work(older)

    assert counts.superseded == 1
    assert [world.texts(m) for m in ("visual", "audio")] == [{}, {"s1": "newer"}]


def test_a_write_between_write_and_index_is_put_instead(world: Indexing) -> None:
    """Another upload is indexed after this worker's record and before its entries."""
    [older] = world.splits(a_row(1))
    [newer] = world.splits(a_row(1, texts={"audio": "newer"}))
    put = InMemoryIndex.put

    def overtaken(self: InMemoryIndex, *arguments: Any) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(InMemoryIndex, "put", put)
            world.work(newer)
        put(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InMemoryIndex, "put", overtaken)
        world.work(older)

    assert [world.texts(m) for m in ("visual", "audio")] == [{}, {"s1": "newer"}]


def test_a_worker_that_dies_before_the_index_is_completed_by_its_redelivery(
    world: Indexing,
) -> None:
    [older] = world.splits(a_row(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InMemoryIndex, "put", _raise_memory_error)
        with pytest.raises(MemoryError):
            world.work(older)
    assert world.indexed(a_row(1)).unchanged == 1
    assert world.texts("visual") == {}

    assert world.work(older, receives=2).superseded == 1

    assert world.texts("visual") == {"s1": "door 1"}


def test_a_split_that_makes_no_progress_is_given_up(world: Indexing) -> None:
    [split] = world.splits(a_row(1), a_row(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InMemoryRecords, "put_many", _raise_memory_error)
        for receives in range(1, MAX_SPLIT_ATTEMPTS + 2):
            with pytest.raises(MemoryError):
                world.work(split, receives)
        counts = world.work(split, MAX_SPLIT_ATTEMPTS + 2)

    assert (counts.rows_in, counts.rejected, counts.add_up) == (2, 2, True)
    assert world.rejected(split)[0]["reason"] == "no progress in 5 attempts at its split"


def test_an_upload_that_is_deleted_fails(world: Indexing) -> None:
    [split] = world.splits(a_row(1))
    world.uploads.erase(split.source)
    index = IndexSegments(
        world.uploads, world.objects, world.collections, world.records, world.index,
        world.embedder, world.ledger, world.events, world.clock,
    )  # fmt: skip

    assert isinstance(index(split, 900.0), Ignored)

    head = world.ledger.get(split.upload_id)
    assert head is not None
    assert head.state is SegmentState.FAILED


def test_a_gzipped_file_is_cut_between_rows(world: Indexing) -> None:
    body = jsonl([a_row(n) for n in range(9_000)])
    upload = world.planned(gzipped(body), "segments/films/a.jsonl.gz")
    assert isinstance(upload, SegmentUpload)

    counts = [world.work(split) for split in world.queue.sent]

    assert len(counts) == upload.splits > 2
    assert sum(one.indexed for one in counts) == upload.rows == 9_000
    assert len(world.texts("audio")) == 9_000


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("segments/a.jsonl", "not in a collection's folder"),
        ("segments/films/more/a.jsonl", "not in a collection's folder"),
        ("segments/Films/a.jsonl", "not a collection name"),
        ("segments/a/a.jsonl", "not a collection name"),
        ("segments/films/a.csv", r"expected \.jsonl or \.jsonl\.gz"),
    ],
)
def test_a_file_in_the_wrong_place_fails_with_the_remedy(
    world: Indexing, key: str, reason: str
) -> None:
    upload = world.planned(jsonl([a_row(1)]), key)

    assert isinstance(upload, SegmentUpload)
    assert upload.state is SegmentState.FAILED
    with pytest.raises(InvalidInputError, match=reason):
        raise InvalidInputError(upload.reason)
    assert not world.collections.stored


def test_an_empty_file_fails(world: Indexing) -> None:
    upload = world.planned(b" \n")

    assert isinstance(upload, SegmentUpload)
    assert upload.reason == "the file is empty"


def test_a_collection_cannot_change_its_settings(world: Indexing) -> None:
    world.indexed(a_row(1))
    world.rules = RULES._replace(dimension=8)

    upload = world.planned(jsonl([a_row(2)]))

    assert isinstance(upload, SegmentUpload)
    assert upload.state is SegmentState.FAILED
    assert "embeddings of embedder in 4 dimensions" in upload.reason
    assert world.collections.stored["films"].dimension == 4


def test_ten_gigabytes_are_planned_from_the_first_64_kib(
    world: Indexing, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = world.uploads.upload(
        "segments/films/large.jsonl", jsonl([a_row(n) for n in range(900)])
    )
    size = 10 * 1024**3
    read: list[int] = []
    stream = InMemoryUploads.read

    def counted(self: InMemoryUploads, *arguments: Any) -> Iterator[bytes]:
        for chunk in stream(self, *arguments):
            read.append(len(chunk))
            yield chunk

    def info(self: InMemoryUploads, source: ObjectRef) -> ObjectInfo:
        return ObjectInfo(size, {}, self.clock.now())

    monkeypatch.setattr(InMemoryUploads, "info", info)
    monkeypatch.setattr(InMemoryUploads, "read", counted)

    upload = world.split(source)

    assert isinstance(upload, SegmentUpload)
    assert upload.state is SegmentState.INDEXING
    assert sum(read) <= 64 * 1024
    assert world.queue.sent[-1].end == size
    assert upload.splits == len(world.queue.sent) <= 20_000


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (MAX_UPLOAD_BYTES + 1, "has at most 21,474,836,480. Cut it"),
        (MAX_UPLOAD_BYTES, "37,026 splits, the limit is 20,000. Cut it into files of"),
    ],
)
def test_an_upload_over_the_limits_fails_with_figure_and_remedy(
    world: Indexing, monkeypatch: pytest.MonkeyPatch, size: int, reason: str
) -> None:
    source = world.uploads.upload("segments/films/large.jsonl", jsonl([a_row(1)]))
    info = ObjectInfo(size, {}, world.clock.now())
    monkeypatch.setattr(InMemoryUploads, "info", lambda *_: info)

    upload = world.split(source)

    assert isinstance(upload, SegmentUpload)
    assert upload.state is SegmentState.FAILED
    assert reason in upload.reason
    assert not world.queue.sent


def test_parts_and_rejections_are_not_made_of_an_order_that_can_change(world: Indexing) -> None:
    """A second planner reads the stored plan, whatever sequencer its event has."""
    source = world.uploads.upload("segments/films/a.jsonl", jsonl([a_row(1)]))
    world.queue.room = 0
    with pytest.raises(UnavailableError):
        world.split(source, "AA")
    world.queue.room = None

    world.split(source, "BB")

    [split] = world.queue.sent
    assert ".AA" in split.order


def _raise_memory_error(*_: object) -> None:
    raise MemoryError

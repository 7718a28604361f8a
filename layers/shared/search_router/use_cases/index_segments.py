"""Index one split of a segment file: records first, then the lists, until both agree.

The last write of an id wins, by the order of uploads and rows, whatever the order of work:

1. A record is replaced only if it is still the one that was read, and only by a later row.
2. The row's entries are put into the lists, and those that it no longer has are deleted.
3. The records are read again. Where another write came between, its content is put as a whole,
   and so on until nothing changes.

So the last writer of a list has read the last record. A worker that ends between 1 and 3 leaves
the split in the queue; its redelivery puts the current records of all its rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from search_router.domain.errors import (
    InvalidInputError,
    ModelUnusableError,
    NotFoundError,
    UnavailableError,
)
from search_router.domain.events import SegmentPartsComplete
from search_router.domain.search.index import Collection, EmbeddingPurpose, IndexEntry, Vector
from search_router.domain.search.segment_records import (
    Outcome,
    RecordWrite,
    SegmentRecord,
    content_hashes,
    row_order,
    text_hash,
)
from search_router.domain.search.segment_uploads import (
    RowOutcome,
    SegmentCounts,
    SegmentMarker,
    SegmentSplit,
)
from search_router.domain.search.segments import Segment, SegmentRow
from search_router.domain.splits.rows import RejectedRow
from search_router.domain.streams import batched
from search_router.ports import (
    Clock,
    CollectionRepository,
    Embedder,
    EventPublisher,
    ObjectStore,
    SegmentIndex,
    SegmentRecords,
    SegmentUploadLedger,
    UploadStore,
)
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.segment_parts import SegmentParts
from search_router.use_cases.split_attempts import (
    SplitAttempts,
    SplitWork,
    UploadGoneError,
    rows_unless_gone,
)

BATCH_SEGMENTS = 100  # a transaction's and a batch read's limit
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class IndexSegments:
    """Indexes the splits of segment files, one per call."""

    uploads: UploadStore
    objects: ObjectStore
    collections: CollectionRepository
    records: SegmentRecords
    index: SegmentIndex
    embedder: Embedder
    ledger: SegmentUploadLedger
    events: EventPublisher
    clock: Clock

    def __call__(
        self, message: SegmentSplit, remaining_seconds: float, receives: int = 1
    ) -> SegmentCounts | Ignored:
        """Index one split, received `receives` times including this one; return its counts.

        Raises TransientError or OperatorError if a service or the time did not suffice; what was
        indexed by then is not embedded again.
        """
        deadline = self.clock.monotonic() + remaining_seconds
        parts = SegmentParts(message, self.uploads, self.objects, interrupted=receives - 1)
        work = SplitWork(
            message,
            receives,
            parts,
            process=lambda: self._index(message, parts, deadline, receives > 1),
            progress=lambda: self._written(message, parts),
            complete=SegmentPartsComplete(upload_id=message.upload_id),
        )
        marker = SplitAttempts(self.ledger, self.events, self.clock)(work)
        return marker if isinstance(marker, Ignored) else marker.stats

    def _index(
        self, message: SegmentSplit, parts: SegmentParts, deadline: float, again: bool
    ) -> SegmentMarker:
        collection = self._collection(message)
        rows = rows_unless_gone(lambda: parts.rows(collection))
        split = _Split(message.order, rows)
        writer = _Writer(collection, self.records, self.index, self.embedder, split, again)
        for ids in batched(split.ids, BATCH_SEGMENTS):
            if self.clock.monotonic() >= deadline:
                raise UnavailableError("no time was left to index every segment")
            writer.write(ids)
        return parts.write(split.outcomes(), writer.embeddings)

    def _written(self, message: SegmentSplit, parts: SegmentParts) -> int:
        """Return how many of the split's segments have a record of this upload or a later one."""
        collection = self._collection(message)
        split = _Split(message.order, rows_unless_gone(lambda: parts.rows(collection)))
        written = 0
        for ids in batched(split.ids, BATCH_SEGMENTS):
            records = self.records.get_many(collection.name, ids)
            written += sum(split.order_of(one) <= records[one].order for one in records)
        return written

    def _collection(self, message: SegmentSplit) -> Collection:
        collection = self.collections.get(message.collection)
        if collection is None:
            raise UploadGoneError(f"collection {message.collection} was deleted")
        return collection


class _Split:
    """The rows of a split by segment id, the last first, and what became of each row."""

    def __init__(self, order: str, rows: Sequence[SegmentRow | RejectedRow]) -> None:
        self._order = order
        self._rows: defaultdict[str, list[SegmentRow]] = defaultdict(list)
        self._outcomes: dict[int, RowOutcome] = {}
        for row in rows:
            if isinstance(row, RejectedRow):
                offset, reason = row.byte_offset, row.reason
                self._outcomes[offset] = RowOutcome(offset, Outcome.REJECTED, "", reason)
            else:
                self._rows[row.segment_id].append(row)
        texts = Counter(
            text_hash(text)
            for same in self._rows.values()
            for text in (same[-1].segment.texts.values() if same[-1].segment else ())
        )
        self.repeated = {text for text, count in texts.items() if count > 1}

    @property
    def ids(self) -> list[str]:
        """The ids of the split's segments."""
        return list(self._rows)

    def row(self, segment_id: str) -> SegmentRow | None:
        """Return the last row of an id that is not rejected."""
        rows = self._rows[segment_id]
        return rows[-1] if rows else None

    def order_of(self, segment_id: str) -> str:
        """Return the order of the last row of an id; empty if all were rejected."""
        row = self.row(segment_id)
        return row_order(self._order, row.byte_offset) if row else ""

    def reject(self, segment_id: str, reason: str) -> None:
        """Reject the last row of an id; the one before it is the last now."""
        row = self._rows[segment_id].pop()
        offset = row.byte_offset
        self._outcomes[offset] = RowOutcome(offset, Outcome.REJECTED, segment_id, reason)

    def close(self, segment_id: str, outcome: Outcome) -> None:
        """Record what became of the last row of an id; those before it are superseded."""
        *earlier, last = self._rows[segment_id]
        for row in earlier:
            self._set_outcome(row, Outcome.SUPERSEDED)
        self._set_outcome(last, outcome)

    def outcomes(self) -> list[RowOutcome]:
        """Return every row's outcome, in the order of the file."""
        return [self._outcomes[offset] for offset in sorted(self._outcomes)]

    def _set_outcome(self, row: SegmentRow, outcome: Outcome) -> None:
        self._outcomes[row.byte_offset] = RowOutcome(row.byte_offset, outcome, row.segment_id)


@dataclass(slots=True)
class _Writer:
    """Writes segments of one split; `again` means that an earlier attempt may have begun."""

    collection: Collection
    records: SegmentRecords
    index: SegmentIndex
    embedder: Embedder
    split: _Split
    again: bool
    embeddings: int = 0
    _vectors: dict[str, Vector | InvalidInputError] = field(default_factory=dict)

    def write(self, ids: Sequence[str]) -> None:
        """Write the records and entries of at most 100 segments, and record their outcomes."""
        applied: dict[str, str] = {}  # the orders that are, or soon will be, in the lists
        remaining = list(ids)
        for _ in range(_ROUNDS):
            stored = self.records.get_many(self.collection.name, remaining)
            changes = self._changes(remaining, stored, applied)
            lost = self.records.put_many(
                self.collection.name,
                [RecordWrite(new, old.order if old else None) for new, old in changes],
            )
            won = [(new, old) for new, old in changes if new.segment_id not in lost]
            self._put(_differences(won, self.collection))
            for new, _ in won:
                self.split.close(new.segment_id, new.outcome)
                if new.outcome is not Outcome.UNCHANGED:
                    applied[new.segment_id] = new.order
            remaining = [one for one in remaining if one in lost]
            if not remaining:
                return self._settle(applied)
        raise UnavailableError("other uploads write the same segments")

    def _changes(
        self, ids: Sequence[str], stored: Mapping[str, SegmentRecord], applied: dict[str, str]
    ) -> list[tuple[SegmentRecord, SegmentRecord | None]]:
        """Return the records to write with those that they replace; close the other rows.

        A row that the embedding model rejects is replaced by the one before it.
        """
        changes: list[tuple[SegmentRecord, SegmentRecord | None]] = []
        open_ids = [one for one in ids if not self._is_closed(one, stored.get(one), applied)]
        while open_ids:
            rows = {one: row for one in open_ids if (row := self.split.row(one)) is not None}
            self._embed(rows.values(), stored)
            open_ids = []
            for one, row in rows.items():
                old = stored.get(one)
                new = self._record(row, old)
                if isinstance(new, SegmentRecord):
                    changes.append((new, old))
                    continue
                self.split.reject(one, new)
                if self.split.row(one) and not self._is_closed(one, old, applied):
                    open_ids.append(one)
        return changes

    def _is_closed(
        self, segment_id: str, stored: SegmentRecord | None, applied: dict[str, str]
    ) -> bool:
        """Close a row whose record is its own, of an earlier attempt, or a later row's."""
        order = self.split.order_of(segment_id)
        if stored is None or stored.order < order:
            return False
        own = stored.order == order
        self.split.close(segment_id, stored.outcome if own else Outcome.SUPERSEDED)
        if own or self.again:
            applied[segment_id] = ""  # to be put as a whole
        return True

    def _embed(self, rows: Iterable[SegmentRow], stored: Mapping[str, SegmentRecord]) -> None:
        """Embed the texts that are neither stored nor embedded in this split before."""
        self._vectors = {
            text: vector for text, vector in self._vectors.items() if text in self.split.repeated
        }
        texts: dict[str, str] = {}
        for row in rows:
            if row.segment is not None:
                for text in self._texts_to_embed(row.segment, stored.get(row.segment_id)):
                    texts[text_hash(text)] = text
        missing = [text for text in texts if text not in self._vectors]
        if not missing:
            return
        asked = [texts[text] for text in missing]
        try:
            vectors = self.embedder.embed(asked, EmbeddingPurpose.INDEX)
        except NotFoundError as error:
            raise ModelUnusableError(str(error)) from error
        self._vectors.update(zip(missing, vectors, strict=True))
        self.embeddings += len(missing)

    def _texts_to_embed(self, segment: Segment, old: SegmentRecord | None) -> Iterator[str]:
        hashes = content_hashes(segment, self.collection.embedding_model)
        for modality, text in segment.texts.items():
            if modality not in segment.vectors and not _is_same(modality, hashes, old):
                yield text

    def _record(self, row: SegmentRow, old: SegmentRecord | None) -> SegmentRecord | str:
        """Return the record of a row, or the reason why the embedding model rejects it."""
        order = self.split.order_of(row.segment_id)
        segment = row.segment
        if segment is None:
            return SegmentRecord(row.segment_id, order, Outcome.DELETED)
        hashes = content_hashes(segment, self.collection.embedding_model)
        vectors: dict[str, Vector] = {}
        for modality in hashes:
            if modality in segment.vectors:
                vectors[modality] = segment.vectors[modality]
            elif old is not None and _is_same(modality, hashes, old):
                vectors[modality] = old.vectors[modality]
            else:
                vector = self._vectors[text_hash(segment.texts[modality])]
                if isinstance(vector, InvalidInputError):
                    return f"the embedding model rejects the text of {modality}"
                vectors[modality] = vector
        is_same = old is not None and old.hashes == hashes and _describes(old, segment)
        outcome = Outcome.UNCHANGED if is_same else Outcome.INDEXED
        return SegmentRecord(row.segment_id, order, outcome, segment, hashes, vectors)

    def _settle(self, applied: Mapping[str, str]) -> None:
        settle(self.collection, self.records, self.index, applied)

    def _put(self, operations: Mapping[str, _Operations]) -> None:
        _put(self.collection, self.index, operations)


def put_wholes(
    collection: Collection, index: SegmentIndex, records: Iterable[SegmentRecord]
) -> None:
    """Make the lists hold exactly the entries of these records."""
    _put(collection, index, _wholes(records, collection))


def settle(
    collection: Collection,
    records: SegmentRecords,
    index: SegmentIndex,
    applied: Mapping[str, str],
) -> None:
    """Put records as a whole until each list holds the last write of every segment.

    `applied` are the orders that the lists hold. Raises UnavailableError.
    """
    for _ in range(_ROUNDS):
        current = records.get_many(collection.name, list(applied))
        newer = [
            record for record in current.values() if record.order != applied[record.segment_id]
        ]
        if not newer:
            return
        put_wholes(collection, index, newer)
        applied = {record.segment_id: record.order for record in newer}
    raise UnavailableError("other uploads write the same segments")


def _put(
    collection: Collection, index: SegmentIndex, operations: Mapping[str, _Operations]
) -> None:
    for modality, operation in operations.items():
        if operation.entries:
            index.put(collection, modality, operation.entries)
        if operation.deleted:
            index.delete(collection, modality, operation.deleted)


@dataclass(slots=True)
class _Operations:
    """What is to be done in the list of one modality."""

    entries: list[IndexEntry] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


def _differences(
    changes: Iterable[tuple[SegmentRecord, SegmentRecord | None]], collection: Collection
) -> dict[str, _Operations]:
    """Return what turns the entries of the old records into those of the new ones."""
    operations = {modality: _Operations() for modality in collection.modalities}
    for new, old in changes:
        described = (
            old is not None
            and new.segment is not None
            and _describes(old, new.segment)
            and old.vectors.keys() == new.vectors.keys()
        )
        for modality, operation in operations.items():
            same = described and _is_same(modality, new.hashes, old)
            entry = new.entry(modality)
            if entry is not None and not same:
                operation.entries.append(entry)
            elif entry is None and old is not None and modality in old.vectors:
                operation.deleted.append(new.segment_id)
    return operations


def _wholes(records: Iterable[SegmentRecord], collection: Collection) -> dict[str, _Operations]:
    """Return what makes the lists hold exactly the entries of the records."""
    operations = {modality: _Operations() for modality in collection.modalities}
    for record in records:
        for modality, operation in operations.items():
            entry = record.entry(modality)
            if entry is None:
                operation.deleted.append(record.segment_id)
            else:
                operation.entries.append(entry)
    return operations


def _is_same(modality: str, hashes: Mapping[str, str], old: SegmentRecord | None) -> bool:
    """Return whether an old record has the vector of a modality's content."""
    if old is None or modality not in hashes:
        return False
    return modality in old.vectors and old.hashes.get(modality) == hashes[modality]


def _describes(old: SegmentRecord, segment: Segment) -> bool:
    """Return whether video, times and attributes, which every entry holds, are the same."""
    before = old.segment
    return before is not None and (
        (before.video_id, before.start, before.end, before.attributes)
        == (segment.video_id, segment.start, segment.end, segment.attributes)
    )

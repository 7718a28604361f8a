"""Split an uploaded segment file; the first upload of a collection creates it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError
from search_router.domain.search.index import Collection
from search_router.domain.search.segment_records import upload_order
from search_router.domain.search.segment_uploads import (
    MAX_UPLOAD_BYTES,
    ROWS_PER_SPLIT,
    SegmentMarker,
    SegmentPlan,
    SegmentSplit,
    SegmentState,
    SegmentUpload,
    segment_splits,
)
from search_router.domain.search.segments import SEGMENT_ROWS, collection_of
from search_router.domain.splits.plan import SAMPLE_BYTES
from search_router.domain.uploads import SEGMENTS_PREFIX, ObjectRef
from search_router.domain.weights import Modalities
from search_router.ports import CollectionRepository, SegmentIndex
from search_router.use_cases.split_planning import opened, planned
from search_router.use_cases.split_upload import SplitUpload


class IndexRules(NamedTuple):
    """The settings of new collections, and the number of workers."""

    modalities: Modalities
    embedding_model: str
    dimension: int
    workers: int


@dataclass(frozen=True, slots=True)
class SplitSegments(SplitUpload[SegmentPlan, SegmentUpload, SegmentMarker]):
    """Splits uploaded segment files, one per call."""

    collections: CollectionRepository
    index: SegmentIndex
    rules: IndexRules

    def _upload_id(self, source: ObjectRef) -> str:
        return naming.segments_id(*source)

    def _plan(self, upload: str, source: ObjectRef, sequencer: str) -> SegmentPlan:
        collection = collection_of(source.key, SEGMENTS_PREFIX)
        info = self.uploads.info(source)
        if info.size > MAX_UPLOAD_BYTES:
            raise InvalidInputError(
                f"{info.size:,} bytes; an upload of segments has at most {MAX_UPLOAD_BYTES:,}. "
                "Cut it into several files."
            )
        file = opened(source, info.size, self.uploads)
        sample = file.sample(SAMPLE_BYTES, self.uploads)
        if not sample.strip() and len(sample) < SAMPLE_BYTES:
            raise InvalidInputError("the file is empty")
        limits = ROWS_PER_SPLIT, self.rules.workers
        plan = planned(upload, file, sample, SEGMENT_ROWS, limits, self.uploads, self.objects)
        self._create(collection)
        order = upload_order(info.modified, sequencer, upload)
        return SegmentPlan(**dict(plan), upload_id=upload, collection=collection, order=order)

    def _create(self, name: str) -> None:
        """Create the collection and its lists, unless they exist.

        Raises InvalidInputError if it was created with other settings, which cannot change.
        """
        rules = self.rules
        wanted = Collection(
            name=name,
            modalities=rules.modalities,
            embedding_model=rules.embedding_model,
            dimension=rules.dimension,
            created_at=self.clock.now(),
        )
        stored = self.collections.create(wanted)
        if stored.model_copy(update={"created_at": wanted.created_at}) != wanted:
            raise InvalidInputError(
                f"collection {name} has the modalities {', '.join(stored.modalities)} and "
                f"embeddings of {stored.embedding_model} in {stored.dimension} dimensions; the "
                "stack's settings differ. Upload to a new collection."
            )
        self.index.create(stored)

    def _read_plan(self, body: bytes) -> SegmentPlan:
        return SegmentPlan.model_validate_json(body)

    def _planned(self, plan: SegmentPlan) -> SegmentUpload:
        return SegmentUpload(
            upload_id=plan.upload_id,
            state=SegmentState.PLANNED,
            collection=plan.collection,
            splits=plan.splits,
            rows=plan.rows,
            rows_are_counted=plan.rows_are_counted,
            **self._fields(plan.source),
        )

    def _failed(self, upload: str, source: ObjectRef, reason: str) -> SegmentUpload:
        return SegmentUpload(
            upload_id=upload,
            state=SegmentState.FAILED,
            reason=reason,
            splits=0,
            **self._fields(source),
        )

    def _messages(self, plan: SegmentPlan) -> Iterable[SegmentSplit]:
        return segment_splits(plan)

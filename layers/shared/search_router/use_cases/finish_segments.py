"""Finish an upload of segments whose splits are all in the ledger, and calibrate its collection."""

from collections.abc import Sequence
from dataclasses import dataclass

from search_router.domain.events import RouterEvent, SegmentsIndexed
from search_router.domain.search.segment_uploads import (
    SegmentCounts,
    SegmentMarker,
    SegmentUpload,
    total_counts,
)
from search_router.use_cases.calibrate import Calibrate
from search_router.use_cases.finish_upload import FinishUpload


@dataclass(frozen=True, slots=True)
class FinishSegments(FinishUpload[SegmentUpload, SegmentMarker, SegmentCounts]):
    """Finishes uploads of segments, one per call."""

    calibrate: Calibrate

    def _total(self, markers: Sequence[SegmentMarker]) -> SegmentCounts:
        return total_counts(marker.stats for marker in markers)

    def _summary(self, head: SegmentUpload, total: SegmentCounts) -> dict[str, object]:
        return {
            "upload_id": head.upload_id,
            "source": f"s3://{head.source_bucket}/{head.source_key}",
            "collection": head.collection,
            "parts": head.splits,
            **total.model_dump(),
        }

    def _before_closing(self, head: SegmentUpload) -> None:
        self.calibrate(head.collection)

    def _finished(self, head: SegmentUpload) -> RouterEvent:
        return SegmentsIndexed(upload_id=head.upload_id, collection=head.collection)

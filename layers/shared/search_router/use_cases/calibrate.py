"""Calibrate a collection's scores on a sample of its segments."""

from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.search.calibration import MAX_SAMPLE, SampledSegment, calibrated
from search_router.ports import ObjectStore, SegmentRecords


@dataclass(frozen=True, slots=True)
class Calibrate:
    """Calibrates collections, one per call."""

    records: SegmentRecords
    objects: ObjectStore

    def __call__(self, collection: str) -> None:
        """Store the calibration of a collection as `collections/<name>/calibration.json`."""
        sample = (
            SampledSegment(record.segment.video_id, record.segment.texts, record.vectors)
            for record in self.records.sample(collection, MAX_SAMPLE)
            if record.segment is not None
        )
        body = calibrated(sample).model_dump_json(indent=2).encode() + b"\n"
        self.objects.put(naming.calibration_key(collection), body)

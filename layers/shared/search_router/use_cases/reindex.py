"""Rebuild a collection's index from its records; no text is embedded again."""

from collections.abc import Callable
from dataclasses import dataclass

from search_router.domain.search.index import Collection
from search_router.domain.streams import batched
from search_router.ports import SegmentIndex, SegmentRecords
from search_router.use_cases.calibrate import Calibrate
from search_router.use_cases.index_segments import put_wholes, settle

BATCH_RECORDS = 500  # the vectors of one PutVectors


@dataclass(frozen=True, slots=True)
class Reindex:
    """Rebuilds indexes, one per call; searches and uploads may go on meanwhile."""

    records: SegmentRecords
    index: SegmentIndex
    calibrate: Calibrate

    def __call__(self, collection: Collection, progress: Callable[[int], None]) -> int:
        """Put every segment into the lists and calibrate; return the number of segments.

        `progress` is called with the number of records so far. A record that is written meanwhile
        is read and put again, so each list ends with the last write of every segment.
        """
        self.index.create(collection)
        read = segments = 0
        for batch in batched(self.records.all(collection.name), BATCH_RECORDS):
            put_wholes(collection, self.index, batch)
            applied = {record.segment_id: record.order for record in batch}
            settle(collection, self.records, self.index, applied)
            read += len(batch)
            segments += sum(record.segment is not None for record in batch)
            progress(read)
        self.calibrate(collection.name)
        return segments

"""Read one split of a segment file and write its part: one line per row with its outcome."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

from search_router.domain.errors import NotFoundError
from search_router.domain.search.index import Collection
from search_router.domain.search.segment_records import Outcome
from search_router.domain.search.segment_uploads import (
    RowOutcome,
    SegmentCounts,
    SegmentMarker,
    rejection_reasons,
)
from search_router.domain.search.segments import SEGMENT_ROWS, SegmentRow, read_segment
from search_router.domain.splits.ledger import unpacked
from search_router.domain.splits.rows import RejectedRow, row_data, shown
from search_router.ports import ObjectInfo
from search_router.use_cases.split_parts import STATS, SplitParts, StoredPart


class SegmentParts(SplitParts[SegmentMarker]):
    """Reads one split of a segment file and writes its part.

    Whether the embedding model rejects a row is known only to the attempt that asks it. So the
    rejected rows are written after the part and made from it.
    """

    def rows(self, collection: Collection) -> list[SegmentRow | RejectedRow]:
        """Read the split's rows; raises NotFoundError if the upload was deleted."""
        modalities, dimension = collection.modalities, collection.dimension
        read = (read_segment(line, modalities, dimension) for line in self.lines())
        return [row for row in read if row is not None]

    def write(self, outcomes: Sequence[RowOutcome], embeddings: int) -> SegmentMarker:
        """Write the part and its rejected rows; a part that is stored already wins."""
        body = b"".join(row.line() for row in outcomes)
        identity, rows = self._identity()
        counts = Counter(row.outcome for row in outcomes)
        ours = SegmentMarker(
            upload_id=self._message.upload,
            split=self._message.split,
            rows=rows,
            identity=identity,
            size=len(body),
            stats=SegmentCounts(
                rows_in=len(outcomes),
                **{outcome.value: counts[outcome] for outcome in Outcome},
                embeddings=embeddings,
                interrupted=self._interrupted,
            ),
        )
        written = self.write_once(ours, body)
        self.put_rejections(self.rejections())
        return written

    def check(self, stored: StoredPart[SegmentMarker]) -> None:
        """Compare a stored part's rows with the split's, and write its rejected rows again."""
        super().check(stored)
        try:
            self.rewrite_rejections(stored)
        except NotFoundError:
            return  # the upload was deleted

    def rejections(self) -> Iterator[RejectedRow]:
        """Return the rejected rows of the stored part."""
        reasons = rejection_reasons(self._objects.get(self._key))
        if not reasons:
            return  # the split need not be read again
        for offset, data in self._data():
            if offset in reasons:
                text = None if data is None else shown(data)
                yield RejectedRow(offset, reasons[offset], text)

    def given_up(self, rejected: int) -> SegmentMarker:
        """Return the marker of an empty part whose rows are all rejected."""
        return SegmentMarker(
            upload_id=self._message.upload,
            split=self._message.split,
            rows=0,
            identity="",
            size=0,
            stats=SegmentCounts(rows_in=rejected, rejected=rejected, interrupted=self._interrupted),
        )

    def _marker(self, found: ObjectInfo) -> SegmentMarker:
        return SegmentMarker(
            upload_id=self._message.upload,
            split=self._message.split,
            rows=int(found.metadata["rows"]),
            identity=found.metadata["identity"],
            size=found.size,
            stats=unpacked(SegmentCounts, found.metadata[STATS]),
        )

    def _identity(self) -> tuple[str, int]:
        digest, rows = hashlib.sha256(), 0
        for offset, data in self._data():
            content = hashlib.sha256(data or b"").hexdigest()
            digest.update(f"{offset} {content}\n".encode())
            rows += 1
        return digest.hexdigest(), rows

    def _data(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield offset and bytes of every row; None for one that is too long."""
        for line in self.lines():
            data = row_data(line, SEGMENT_ROWS)
            if data is not None:
                yield line.offset, data if isinstance(data, bytes) else None

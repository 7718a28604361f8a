"""The record of a segment: the last write of its id, with all that the index needs.

Writes are ordered by upload, then by place in the file. An order is a string that sorts so:
the seconds of the upload, S3's sequencer, the upload's id, and the row's byte offset.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from search_router.domain.search.index import MODALITIES_ATTRIBUTE, IndexEntry, Vector
from search_router.domain.search.segments import Segment

_SEQUENCER = re.compile(r"[0-9A-F]{1,32}")
_SEQUENCER_DIGITS = 32


class Outcome(StrEnum):
    """What became of one row. The last write of an id keeps its own in the record."""

    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """The last write of a segment id; `segment` is None after a deletion.

    `hashes` and `vectors` are by modality: of its content, and what the index holds.
    """

    segment_id: str
    order: str
    outcome: Outcome
    segment: Segment | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    vectors: Mapping[str, Vector] = field(default_factory=dict)

    def entry(self, modality: str) -> IndexEntry | None:
        """Return the entry of one modality's list, if the segment has that modality."""
        if self.segment is None or modality not in self.vectors:
            return None
        segment = self.segment
        return IndexEntry(
            segment_id=self.segment_id,
            vector=self.vectors[modality],
            text=segment.texts.get(modality, ""),
            video_id=segment.video_id,
            start=segment.start,
            end=segment.end,
            attributes={**segment.attributes, MODALITIES_ATTRIBUTE: sorted(self.vectors)},
        )


class RecordWrite(NamedTuple):
    """A record to write if the stored one still has the order `seen`, or is still missing."""

    record: SegmentRecord
    seen: str | None


def upload_order(uploaded_at: datetime, sequencer: str, upload: str) -> str:
    """Return the order of an upload. Without a sequencer, equal seconds are ordered by id.

    S3 orders the sequencers of a key as hex numbers of the same length, padded on the right.
    """
    digits = sequencer.upper() if _SEQUENCER.fullmatch(sequencer.upper()) else ""
    seconds = uploaded_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
    return f"{seconds}.{digits.ljust(_SEQUENCER_DIGITS, '0')}.{upload}"


def row_order(order: str, byte_offset: int) -> str:
    """Return the order of one row of an upload."""
    return f"{order}.{byte_offset:015d}"


class WrittenBy(NamedTuple):
    """The upload and the row, by its byte offset, that wrote a record."""

    upload: str
    byte_offset: int


def written_by(order: str) -> WrittenBy:
    """Return the upload and the offset that a row's order names."""
    _, _, upload, byte_offset = order.split(".")
    return WrittenBy(upload, int(byte_offset))


def content_hashes(segment: Segment, embedding_model: str) -> dict[str, str]:
    """Return the hash of each modality's text and vector; equal ones need no new embedding."""
    return {
        modality: _hash(
            embedding_model.encode(),
            segment.texts.get(modality, "").encode(),
            segment.vectors[modality].tobytes() if modality in segment.vectors else b"",
        )
        for modality in sorted({*segment.texts, *segment.vectors})
    }


def text_hash(text: str) -> str:
    """Return the hash of a text."""
    return _hash(text.encode())


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.hexdigest()[:32]

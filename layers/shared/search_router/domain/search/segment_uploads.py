"""An upload of segments: its plan, its splits' messages, its parts and its state."""

import json
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, NamedTuple

from pydantic import BeforeValidator, PlainSerializer

from search_router.domain.search.segment_records import Outcome
from search_router.domain.search.segments import SEGMENT_ROWS
from search_router.domain.splits.formats import RowLayout
from search_router.domain.splits.ledger import (
    SplitCounts,
    SplitMarker,
    UploadHead,
    UploadState,
    packed,
    unpacked,
)
from search_router.domain.splits.plan import SplitPlan, UploadSplit

MAX_UPLOAD_BYTES = 20 * 1024**3
ROWS_PER_SPLIT = 4_000  # with four texts each, a quarter of an hour of embedding at 20 a second


class SegmentPlan(SplitPlan):
    """How one upload of segments is cut into splits, and when it counts."""

    upload_id: str
    collection: str
    order: str


class SegmentSplit(UploadSplit):
    """The SQS message for one split of an upload of segments; no text."""

    upload_id: str
    collection: str
    order: str

    @property
    def upload(self) -> str:
        """The id of the upload."""
        return self.upload_id

    @property
    def row_layout(self) -> RowLayout:
        """How to find the split's rows."""
        return SEGMENT_ROWS


class SegmentState(UploadState):
    """The state of an upload of segments; PLANNED until every split is in the queue."""

    PLANNED = "PLANNED"
    INDEXING = "INDEXING"
    INDEXED = "INDEXED"
    FAILED = "FAILED"


class SegmentUpload(UploadHead):
    """The ledger's head of an upload of segments."""

    id_name: ClassVar[str] = "upload_id"
    planned: ClassVar[UploadState] = SegmentState.PLANNED
    in_work: ClassVar[UploadState] = SegmentState.INDEXING
    done: ClassVar[UploadState] = SegmentState.INDEXED
    failed: ClassVar[UploadState] = SegmentState.FAILED

    upload_id: str
    state: SegmentState
    collection: str = ""

    @property
    def upload(self) -> str:
        """The id of the upload."""
        return self.upload_id

    @property
    def outlook(self) -> str:
        """The plan in one sentence."""
        rows, splits = self.planned_rows, f"{self.splits:,}"
        return f"{rows} segments in {splits} splits for collection {self.collection}"


class SegmentCounts(SplitCounts):
    """The rows of one part by outcome, and the embeddings that were made for them.

    `interrupted` counts the deliveries of the split that ended without a part.
    """

    indexed: int = 0
    unchanged: int = 0
    deleted: int = 0
    superseded: int = 0
    embeddings: int = 0

    @property
    def add_up(self) -> bool:
        """Whether every row has one outcome."""
        return self.rows_in == sum(self.by_outcome.values())

    @property
    def by_outcome(self) -> dict[str, int]:
        """The number of rows of each outcome."""
        return {outcome.value: getattr(self, outcome.value) for outcome in Outcome}

    def __add__(self, other: "SegmentCounts") -> "SegmentCounts":
        return SegmentCounts(**self.sums(other))


class SegmentMarker(SplitMarker):
    """The ledger's entry for one part; `identity` is a hash of the split's rows."""

    upload_id: str
    stats: Annotated[
        SegmentCounts,
        BeforeValidator(
            lambda value: unpacked(SegmentCounts, value) if isinstance(value, str) else value
        ),
        PlainSerializer(packed, when_used="json"),
    ]

    @property
    def upload(self) -> str:
        """The id of the upload."""
        return self.upload_id


class RowOutcome(NamedTuple):
    """One line of a part: what became of one row; `reason` is that of a rejection."""

    byte_offset: int
    outcome: Outcome
    segment_id: str = ""
    reason: str = ""

    def line(self) -> bytes:
        """Render as one JSON line."""
        known = {name: value for name, value in self._asdict().items() if value != ""}
        return json.dumps(known, ensure_ascii=False).encode() + b"\n"


def segment_splits(plan: SegmentPlan) -> Iterator[SegmentSplit]:
    """Yield the messages of a plan, in order; equal plans give equal messages."""
    for split, (start, end) in enumerate(plan.ranges):
        yield SegmentSplit(
            upload_id=plan.upload_id,
            collection=plan.collection,
            order=plan.order,
            split=split,
            start=start,
            end=end,
            bucket=plan.bucket,
            key=plan.key,
            version_id=plan.version_id,
            layout=plan.layout,
        )


def rejection_reasons(part: bytes) -> dict[int, str]:
    """Return the reasons of a part's rejected rows, by byte offset."""
    rows = map(json.loads, part.splitlines())
    return {row["byte_offset"]: row["reason"] for row in rows if row["outcome"] == Outcome.REJECTED}


def total_counts(parts: Iterable[SegmentCounts]) -> SegmentCounts:
    """Add up the counts of all parts."""
    return sum(parts, SegmentCounts())

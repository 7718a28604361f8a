"""Finish an upload whose splits are all in the ledger: check its parts and summarise them."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from search_router.domain import naming
from search_router.domain.errors import ConflictError
from search_router.domain.events import RouterEvent
from search_router.domain.splits.ledger import SplitCounts, SplitMarker, UploadHead
from search_router.ports import Clock, EventPublisher, ObjectStore, UploadLedger
from search_router.use_cases.outcomes import Ignored

HeadT = TypeVar("HeadT", bound=UploadHead)
MarkerT = TypeVar("MarkerT", bound=SplitMarker)
CountsT = TypeVar("CountsT", bound=SplitCounts)


@dataclass(frozen=True, slots=True)
class FinishUpload(ABC, Generic[HeadT, MarkerT, CountsT]):
    """Finishes uploads of one kind, one per call."""

    objects: ObjectStore
    ledger: UploadLedger[HeadT, MarkerT]
    events: EventPublisher
    clock: Clock

    def __call__(self, upload: str) -> CountsT | Ignored:
        """Write a complete upload's manifest and summary, publish its event and close it.

        The event is published before the upload is closed, so a crash between the two repeats it.
        Raises ConflictError, and records the upload as FAILED, when ledger and parts disagree.
        """
        head = self.ledger.get(upload)
        if head is None:
            return Ignored("the upload is not in the ledger")
        if not head.state.is_unfinished or not head.is_complete:
            return Ignored(f"the upload is {head.state} with {head.parts} of {head.splits} parts")
        markers = list(self.ledger.markers(upload))
        sizes = dict(self.objects.list(naming.upload_key(upload, "parts/")))
        try:
            _check(head, markers, sizes)
        except ConflictError as error:
            self.ledger.move(upload, head.failed, self.clock.now(), str(error))
            raise
        total = self._total(markers)
        self._put(upload, "manifest.json", _manifest(head, markers, sizes))
        self._put(upload, "summary.json", self._summary(head, total))
        self._before_closing(head)
        self.events.publish(self._finished(head))
        self.ledger.move(upload, head.done, self.clock.now())
        return total

    @abstractmethod
    def _total(self, markers: Sequence[MarkerT]) -> CountsT:
        """Add up the statistics of all parts."""

    @abstractmethod
    def _summary(self, head: HeadT, total: CountsT) -> dict[str, object]:
        """Return the content of summary.json."""

    @abstractmethod
    def _finished(self, head: HeadT) -> RouterEvent:
        """Return the event of a finished upload."""

    def _before_closing(self, head: HeadT) -> None:
        """Do what else a finished upload needs; repeating it is harmless."""

    def _put(self, upload: str, name: str, value: dict[str, object]) -> None:
        body = json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"
        self.objects.put(naming.upload_key(upload, name), body)


def _check(head: UploadHead, markers: Sequence[SplitMarker], sizes: dict[str, int]) -> None:
    upload = head.upload
    recorded = [marker.split for marker in markers]
    if recorded != list(range(head.splits)):
        raise ConflictError(f"{upload}: {len(recorded)} markers for {head.splits} splits")
    missing = [s for s in recorded if naming.part_key(upload, s) not in sizes]
    if missing or len(sizes) != head.splits:
        raise ConflictError(f"{upload}: {len(sizes)} parts for {head.splits} splits")
    for marker in markers:
        if not marker.stats.add_up:
            raise ConflictError(f"{upload}: the rows of split {marker.split} do not add up")
        size = sizes[naming.part_key(upload, marker.split)]
        if marker.size != size:
            raise ConflictError(
                f"{upload}: part {marker.split} has {size} bytes, {marker.size} were written"
            )


def _manifest(
    head: UploadHead, markers: Sequence[SplitMarker], sizes: dict[str, int]
) -> dict[str, object]:
    parts = [
        {
            "key": naming.part_key(head.upload, marker.split),
            "bytes": sizes[naming.part_key(head.upload, marker.split)],
            "rows": marker.rows,
            "rejected": marker.stats.rejected,
            "identity": marker.identity,
        }
        for marker in markers
    ]
    return {head.id_name: head.upload, "splits": head.splits, "parts": parts}

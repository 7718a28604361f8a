"""Split an upload: plan its splits and queue one message per split."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.splits.ledger import SplitMarker, UploadHead
from search_router.domain.splits.plan import SplitPlan, UploadSplit
from search_router.domain.uploads import ObjectRef, is_folder
from search_router.ports import Clock, ObjectStore, SplitQueue, UploadLedger, UploadStore
from search_router.use_cases.outcomes import Ignored

QUEUE_RETENTION = timedelta(days=11)  # of SplitQueue and SegmentQueue in template.yaml

PlanT = TypeVar("PlanT", bound=SplitPlan)
HeadT = TypeVar("HeadT", bound=UploadHead)
MarkerT = TypeVar("MarkerT", bound=SplitMarker)


@dataclass(frozen=True, slots=True)
class SplitUpload(ABC, Generic[PlanT, HeadT, MarkerT]):
    """Splits uploads of one kind, one per call."""

    uploads: UploadStore
    objects: ObjectStore
    ledger: UploadLedger[HeadT, MarkerT]
    queue: SplitQueue
    clock: Clock

    def __call__(self, source: ObjectRef, sequencer: str = "") -> HeadT | Ignored:
        """Record an upload and queue its splits, or record it as FAILED with the reason.

        The first plan written is used by every retry, so all of them send the same messages.
        `sequencer` is S3's, of the event.
        """
        if is_folder(source.key):
            return Ignored("a folder, not a file")
        upload = self._upload_id(source)
        head = self.ledger.get(upload)
        if head is not None and head.state is head.in_work and self._are_lost(head):
            return self._queue_again(head)
        if head is not None and head.state is not head.planned:
            return Ignored(f"the upload is {head.state} already")
        try:
            plan = self._stored(upload) or self._stored_once(
                upload, self._plan(upload, source, sequencer)
            )
        except (InvalidInputError, NotFoundError) as error:
            return self.ledger.create(self._failed(upload, source, str(error)))
        head = self.ledger.create(self._planned(plan))
        self.queue.send(self._messages(plan))
        self.ledger.move(upload, head.in_work, self.clock.now())
        return self.ledger.get(upload) or Ignored("the upload was removed from the ledger")

    def _are_lost(self, head: HeadT) -> bool:
        """Whether the queue has deleted every message that was sent when the last part ended."""
        return self.clock.now() - head.updated_at >= QUEUE_RETENTION

    def _queue_again(self, head: HeadT) -> HeadT:
        """Queue the splits without a part again; a split that is still queued has one part too."""
        plan = self._stored(head.upload)
        recorded = {marker.split for marker in self.ledger.markers(head.upload)}
        if plan is not None:
            self.queue.send(it for it in self._messages(plan) if it.split not in recorded)
        return head

    @abstractmethod
    def _upload_id(self, source: ObjectRef) -> str:
        """Return the id of an upload."""

    @abstractmethod
    def _plan(self, upload: str, source: ObjectRef, sequencer: str) -> PlanT:
        """Plan an upload; raises InvalidInputError or NotFoundError for one that cannot be read."""

    @abstractmethod
    def _read_plan(self, body: bytes) -> PlanT:
        """Parse a stored plan."""

    @abstractmethod
    def _planned(self, plan: PlanT) -> HeadT:
        """Return the head of a planned upload."""

    @abstractmethod
    def _failed(self, upload: str, source: ObjectRef, reason: str) -> HeadT:
        """Return the head of an upload that cannot be read."""

    @abstractmethod
    def _messages(self, plan: PlanT) -> Iterable[UploadSplit]:
        """Return the messages of a plan, in order; equal plans give equal messages."""

    def _fields(self, source: ObjectRef) -> dict[str, Any]:
        """Return the fields that every new head has."""
        now = self.clock.now()
        return {
            "source_bucket": source.bucket,
            "source_key": source.key,
            "source_version": source.version_id,
            "created_at": now,
            "updated_at": now,
        }

    def _stored_once(self, upload: str, plan: PlanT) -> PlanT:
        """Store a new plan; return another attempt's plan if that was stored first."""
        body = plan.model_dump_json(indent=2).encode("utf-8") + b"\n"
        if self.objects.put_once(naming.upload_key(upload, "plan.json"), body, metadata={}):
            return plan
        return self._stored(upload) or plan

    def _stored(self, upload: str) -> PlanT | None:
        try:
            return self._read_plan(self.objects.get(naming.upload_key(upload, "plan.json")))
        except NotFoundError:
            return None

"""The events that this system puts on the bus, in the past tense, with source `search-router`.

Anyone in the account can put an event, and any event may be lost, repeated or late. Handlers trust
only the id in an event and re-read everything else.
"""

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from search_router.domain.records import Record
from search_router.domain.uploads import ObjectRef

SOURCE = "search-router"

RunId = Annotated[str, Field(pattern=r"^run-[0-9a-f]{12,32}$")]
LogId = Annotated[str, Field(pattern=r"^log-[0-9a-f]{12,32}$")]
SegmentUploadId = Annotated[str, Field(pattern=r"^seg-[0-9a-f]{12,32}$")]


class RouterEvent(Record):
    """Base class of all event details."""

    detail_type: ClassVar[str]


class PromptsSharded(RouterEvent):
    """A run has a training set and a holdout."""

    detail_type = "PromptsSharded"
    run_id: RunId


class ModelDeployed(RouterEvent):
    """A run's model has an active deployment."""

    detail_type = "ModelDeployed"
    run_id: RunId


class ModelEvaluated(RouterEvent):
    """A run's model has scores on the holdout."""

    detail_type = "ModelEvaluated"
    run_id: RunId


class ModelPromoted(RouterEvent):
    """A run's model is the champion."""

    detail_type = "ModelPromoted"
    run_id: RunId
    champion_version: int


class ModelRejected(RouterEvent):
    """A run's model did not become the champion."""

    detail_type = "ModelRejected"
    run_id: RunId
    reason: str


class ApprovalNeeded(RouterEvent):
    """A run awaits an operator's decision; it waits without an end."""

    detail_type = "ApprovalNeeded"
    run_id: RunId
    reason: str
    approve_with: str
    reject_with: str
    expires: str = "never"


class RunFailed(RouterEvent):
    """A run ended without a model."""

    detail_type = "RunFailed"
    run_id: RunId
    reason: str


class QueryLogPartsComplete(RouterEvent):
    """Every split of a log is recorded in the ledger."""

    detail_type = "QueryLogPartsComplete"
    log_id: LogId


class SegmentPartsComplete(RouterEvent):
    """Every split of an upload of segments is recorded in the ledger."""

    detail_type = "SegmentPartsComplete"
    upload_id: SegmentUploadId


class SegmentsIndexed(RouterEvent):
    """An upload of segments can be searched; its manifest and summary are written."""

    detail_type = "SegmentsIndexed"
    upload_id: SegmentUploadId
    collection: str


class _Bucket(Record):
    name: str


class _Object(Record):
    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    key: str
    version_id: str | None = Field(alias="version-id", default=None)
    sequencer: str = ""


class UploadMissed(RouterEvent):
    """An upload was not processed; the detail has the shape of the lost S3 event."""

    detail_type = "UploadMissed"
    bucket: _Bucket
    object: _Object

    @classmethod
    def of(cls, source: ObjectRef) -> "UploadMissed":
        """Create the event for an object version."""
        return cls(
            bucket=_Bucket(name=source.bucket),
            object=_Object(key=source.key, version_id=source.version_id),
        )

    @property
    def source(self) -> ObjectRef:
        """The uploaded object version."""
        return ObjectRef(self.bucket.name, self.object.key, self.object.version_id)


class QueryLogRouted(RouterEvent):
    """A log's manifest and summary are written."""

    detail_type = "QueryLogRouted"
    log_id: LogId

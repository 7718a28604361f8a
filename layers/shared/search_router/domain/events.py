"""The events that this system puts on the bus, past tense, source `search-router`.

An event is a hint: anyone in the account can put one, any may be lost, doubled or late. A handler
uses only the id in it and re-reads everything else from its owner.
"""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from search_router.domain.uploads import ObjectRef

SOURCE = "search-router"

RunId = Annotated[str, Field(pattern=r"^run-[0-9a-f]{12}$")]
LogId = Annotated[str, Field(pattern=r"^log-[0-9a-f]{12}$")]


class RouterEvent(BaseModel):
    """Base of all details; fields that a later version adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    detail_type: ClassVar[str]


class PromptsSharded(RouterEvent):
    """A prompt file became a training set and a holdout."""

    detail_type = "PromptsSharded"
    run_id: RunId


class ModelDeployed(RouterEvent):
    """A run's model answers on its own deployment."""

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


class RunFailed(RouterEvent):
    """A run ended without a model."""

    detail_type = "RunFailed"
    run_id: RunId
    reason: str


class QueryLogPartsComplete(RouterEvent):
    """Every split of a log is in the ledger."""

    detail_type = "QueryLogPartsComplete"
    log_id: LogId


class _Bucket(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str


class _Object(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_by_name=True, serialize_by_alias=True
    )

    key: str
    version_id: str | None = Field(alias="version-id", default=None)


class UploadMissed(RouterEvent):
    """An upload that nothing became of; the detail has the shape of S3's, whose event got lost."""

    detail_type = "UploadMissed"
    bucket: _Bucket
    object: _Object

    @classmethod
    def of(cls, source: ObjectRef) -> "UploadMissed":
        """Name an object version."""
        return cls(
            bucket=_Bucket(name=source.bucket),
            object=_Object(key=source.key, version_id=source.version_id),
        )

    @property
    def source(self) -> ObjectRef:
        """The object version that waits."""
        return ObjectRef(self.bucket.name, self.object.key, self.object.version_id)


class QueryLogRouted(RouterEvent):
    """A log's manifest and summary are written."""

    detail_type = "QueryLogRouted"
    log_id: LogId

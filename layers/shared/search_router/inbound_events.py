"""The events that AWS sends to our functions; unused fields are ignored.

An event that fails validation is in the event DLQ after Lambda's two retries.
"""

from typing import Literal

from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from pydantic import BaseModel, ConfigDict, Field

from search_router.domain.events import LogId, RunId, SegmentUploadId, UploadMissed
from search_router.domain.uploads import ObjectRef


class _Event(EventBridgeModel):
    """An event whose validation errors quote none of it."""

    model_config = ConfigDict(hide_input_in_errors=True)


class UploadEvent(_Event):
    """S3's "Object Created", or the UploadMissed that track_runs publishes for a lost one.

    Keys are not URL-encoded. The rule matches our upload bucket only.
    """

    detail: UploadMissed

    @property
    def source_object(self) -> ObjectRef:
        """The created object version."""
        return self.detail.source

    @property
    def sequencer(self) -> str:
        """S3's sequencer of the write; empty if track_runs published the event."""
        return self.detail.object.sequencer


class S3TestEvent(BaseModel):
    """The message that S3 sends once when a bucket notification is set up."""

    model_config = ConfigDict(hide_input_in_errors=True)

    Service: Literal["Amazon S3"]
    Event: Literal["s3:TestEvent"]


class RunDetail(BaseModel):
    """The only field of a run event that handlers trust."""

    run_id: RunId


class RunEvent(_Event):
    """PromptsSharded, ModelDeployed or ModelEvaluated."""

    detail: RunDetail


class LogDetail(BaseModel):
    """The only field of a log event that handlers trust."""

    log_id: LogId


class LogEvent(_Event):
    """QueryLogPartsComplete."""

    detail: LogDetail


class SegmentsDetail(BaseModel):
    """The only field of a segment event that handlers trust."""

    upload_id: SegmentUploadId


class SegmentsEvent(_Event):
    """SegmentPartsComplete."""

    detail: SegmentsDetail


class JobDetail(BaseModel):
    """The only field of Bedrock's event that the handler trusts."""

    job_arn: str = Field(
        alias="jobArn", pattern=r"^arn:aws[a-z-]*:bedrock:.+:model-customization-job/"
    )


class JobEvent(_Event):
    """Bedrock's "Model Customization Job State Change"."""

    detail: JobDetail

"""What AWS hands our functions, as far as they look at it; anything else in an event is ignored.

An event of another shape fails validation and, after Lambda's two retries, lies in the event DLQ.
"""

from typing import Literal

from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from pydantic import BaseModel, Field

from search_router.domain.events import LogId, RunId, UploadMissed
from search_router.domain.uploads import ObjectRef


class UploadEvent(EventBridgeModel):
    """S3's "Object Created", or the UploadMissed with which track_runs makes up for a lost one.

    EventBridge delivers keys as they are, not URL-encoded. The rule pins the bucket.
    """

    detail: UploadMissed

    @property
    def source_object(self) -> ObjectRef:
        """The object version that was created."""
        return self.detail.source


class S3TestEvent(BaseModel):
    """What S3 sends once when a bucket notification is set up."""

    Service: Literal["Amazon S3"]
    Event: Literal["s3:TestEvent"]


class RunDetail(BaseModel):
    """The only thing an event about a run is believed for."""

    run_id: RunId


class RunEvent(EventBridgeModel):
    """PromptsSharded, ModelDeployed or ModelEvaluated."""

    detail: RunDetail


class LogDetail(BaseModel):
    """The only thing an event about a query log is believed for."""

    log_id: LogId


class LogEvent(EventBridgeModel):
    """QueryLogPartsComplete."""

    detail: LogDetail


class JobDetail(BaseModel):
    """The only thing Bedrock's event is believed for."""

    job_arn: str = Field(
        alias="jobArn", pattern=r"^arn:aws[a-z-]*:bedrock:.+:model-customization-job/"
    )


class JobEvent(EventBridgeModel):
    """Bedrock's "Model Customization Job State Change"."""

    detail: JobDetail

"""One distillation job: its state, and the four ways in which Bedrock tells about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from local_stack.bedrock_double.contract import Params, iso_time
from local_stack.bedrock_double.state_change_events import StateChangeEvent
from local_stack.bedrock_double.training_data import PromptRecord

# Shares of a job's time after which its first two phases are over.
VALIDATED_AFTER = 0.1
_PROCESSED_AFTER = 0.5


@dataclass(frozen=True, slots=True)
class End:
    """How and when a job ended."""

    status: str
    at: datetime
    failure_message: str = ""


@dataclass(slots=True)
class CustomizationJob:
    """One job; the fields with a default are its state."""

    request: Params
    arn: str
    model_arn: str
    base_model_arn: str
    created_at: datetime
    duration: timedelta
    forced_failure: str
    records: list[PromptRecord] | None = None  # None until validated
    stop_requested_at: datetime | None = None
    end: End | None = None
    announced: bool = False

    @property
    def name(self) -> str:
        """Name that the caller gave the job."""
        return str(self.request["jobName"])

    @property
    def model_name(self) -> str:
        """Name of the model that the job is to make."""
        return str(self.request["customModelName"])

    @property
    def status(self) -> str:
        """Bedrock's word for the job's state."""
        if self.end is not None:
            return self.end.status
        return "Stopping" if self.stop_requested_at else "InProgress"

    def after(self, share: float) -> datetime:
        """Return the instant at which a share of the job's time is over."""
        return self.created_at + share * self.duration

    def describe(self, now: datetime) -> Params:
        """Return the job as GetModelCustomizationJob tells it."""
        token = self.request.get("clientRequestToken")
        return {
            **self._facts(),
            "jobName": self.name,
            "jobArn": self.arn,
            "roleArn": self.request["roleArn"],
            "outputModelName": self.model_name,
            "status": self.status,
            "statusDetails": self._status_details(now),
            "creationTime": self.created_at,
            "lastModifiedTime": self._last_modified(),
            "hyperParameters": self.request.get("hyperParameters", {}),
            **({"clientRequestToken": token} if token else {}),
            **({"outputModelArn": self.model_arn} if self.status == "Completed" else {}),
            **self._ending(),
        }

    def summarise(self) -> Params:
        """Return the job as ListModelCustomizationJobs tells it."""
        return {
            "jobName": self.name,
            "jobArn": self.arn,
            "baseModelArn": self.base_model_arn,
            "customizationType": self.request["customizationType"],
            "customModelName": self.model_name,
            "status": self.status,
            "creationTime": self.created_at,
            "lastModifiedTime": self._last_modified(),
            **({"customModelArn": self.model_arn} if self.status == "Completed" else {}),
            **({"endTime": self.end.at} if self.end else {}),
        }

    def provenance(self) -> Params:
        """Return the job as GetCustomModel tells it of the model."""
        return {"jobName": self.name, "jobArn": self.arn, **self._facts()}

    def event(self, end: End) -> StateChangeEvent:
        """Return the event of the job's end, with the fields of AWS's published sample."""
        detail = {
            "version": "0.0",
            "jobName": self.name,
            "jobArn": self.arn,
            "outputModelName": self.model_name,
            "outputModelArn": self.model_arn,
            "roleArn": self.request["roleArn"],
            "jobStatus": end.status,
            "creationTime": iso_time(self.created_at),
            "lastModifiedTime": iso_time(end.at),
            "endTime": iso_time(end.at),
            "baseModelArn": self.base_model_arn,
            "hyperParameters": self.request.get("hyperParameters", {}),
            "trainingDataConfig": self.request["trainingDataConfig"],
            "outputDataConfig": self.request["outputDataConfig"],
            **({"failureMessage": end.failure_message} if end.failure_message else {}),
        }
        return StateChangeEvent(end.at, self.arn, detail)

    def _facts(self) -> Params:
        return {
            "baseModelArn": self.base_model_arn,
            "customizationType": self.request["customizationType"],
            "customizationConfig": self.request["customizationConfig"],
            "trainingDataConfig": self.request["trainingDataConfig"],
            "validationDataConfig": self.request.get("validationDataConfig", {"validators": []}),
            "outputDataConfig": self.request["outputDataConfig"],
        }

    def _ending(self) -> Params:
        if self.end is None:
            return {}
        message = self.end.failure_message
        return {"endTime": self.end.at, **({"failureMessage": message} if message else {})}

    def _last_modified(self) -> datetime:
        return self.end.at if self.end else self.stop_requested_at or self.created_at

    def _status_details(self, now: datetime) -> Params:
        reached = self.end.at if self.end else now
        return {
            name: {"status": self._phase_status(begin, end, reached)}
            for name, begin, end in self._phases()
        }

    def _phase_status(self, begin: datetime, end: datetime, reached: datetime) -> str:
        if reached > end or (reached == end and self.status != "Failed"):
            return "Completed"
        return self.status if reached > begin else "NotStarted"

    def _phases(self) -> Iterator[tuple[str, datetime, datetime]]:
        """Yield each phase's name in the API with its begin and end."""
        names = ("validationDetails", "dataProcessingDetails", "trainingDetails")
        ends = (self.after(VALIDATED_AFTER), self.after(_PROCESSED_AFTER), self.after(1.0))
        yield from zip(names, (self.created_at, *ends), ends, strict=False)

"""Model customization jobs: distillation from one S3 object.

A job validates its training object after a tenth of its time and trains at its end. `advance`
brings all jobs up to the clock; nothing runs in between.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from local_stack.bedrock_fake.aws import StateChangeEvent
from local_stack.bedrock_fake.contract import (
    Params,
    UnimplementedError,
    check_quota,
    conflict,
    invalid,
    iso_time,
    not_found,
)
from local_stack.bedrock_fake.custom_models import MODEL_QUOTA, CustomModel, CustomModels
from local_stack.bedrock_fake.foundation_models import FoundationModels
from local_stack.bedrock_fake.resources import (
    Account,
    ReadObject,
    RequestTokens,
    check_tags,
    is_listed,
    one_page,
)
from local_stack.bedrock_fake.student import TrainingRecord, distill

QUOTA = 10  # jobs that have not ended
MIN_RECORDS = 100
MAX_RECORDS = 15_000
MAX_LINE_BYTES = 16_000
# Shares of a job's time.
_VALIDATED_AFTER = 0.1
_PROCESSED_AFTER = 0.5
_STOPPING_LASTS = 0.1


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
    records: list[TrainingRecord] | None = None  # None until validated
    stop_requested_at: datetime | None = None
    end: End | None = None
    is_published: bool = False

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.request["jobName"])

    @property
    def model_name(self) -> str:
        """The name of the new model."""
        return str(self.request["customModelName"])

    @property
    def status(self) -> str:
        """Bedrock's status of the job."""
        if self.end is not None:
            return self.end.status
        return "Stopping" if self.stop_requested_at else "InProgress"

    def after(self, share: float) -> datetime:
        """Return the time at which a share of the job's duration is over."""
        return self.created_at + share * self.duration

    def describe(self, now: datetime) -> Params:
        """Return the reply of GetModelCustomizationJob."""
        token = self.request.get("clientRequestToken")
        message = self.end.failure_message if self.end else ""
        return {
            **self.provenance(),
            "roleArn": self.request["roleArn"],
            "outputModelName": self.model_name,
            "status": self.status,
            "statusDetails": self._status_details(now),
            "creationTime": self.created_at,
            "lastModifiedTime": self._last_modified(),
            "hyperParameters": self.request.get("hyperParameters", {}),
            **({"clientRequestToken": token} if token else {}),
            **({"outputModelArn": self.model_arn} if self.status == "Completed" else {}),
            **({"endTime": self.end.at} if self.end else {}),
            **({"failureMessage": message} if message else {}),
        }

    def summarize(self) -> Params:
        """Return the job's summary in ListModelCustomizationJobs."""
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
        """Return the fields that GetCustomModel returns too."""
        return {
            "jobName": self.name,
            "jobArn": self.arn,
            "baseModelArn": self.base_model_arn,
            "customizationType": self.request["customizationType"],
            "customizationConfig": self.request["customizationConfig"],
            "trainingDataConfig": self.request["trainingDataConfig"],
            "validationDataConfig": self.request.get("validationDataConfig", {"validators": []}),
            "outputDataConfig": self.request["outputDataConfig"],
        }

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
        names = ("validationDetails", "dataProcessingDetails", "trainingDetails")
        ends = (self.after(_VALIDATED_AFTER), self.after(_PROCESSED_AFTER), self.after(1.0))
        yield from zip(names, (self.created_at, *ends), ends, strict=False)


class CustomizationJobs:
    """The customization jobs of the account."""

    def __init__(
        self,
        account: Account,
        foundation_models: FoundationModels,
        models: CustomModels,
        read_object: ReadObject,
    ) -> None:
        self._account = account
        self._foundation_models = foundation_models
        self._models = models
        self._read_object = read_object
        self._jobs: dict[str, CustomizationJob] = {}  # by name, oldest first
        self._tokens = RequestTokens(mismatch_code="ConflictException")
        self._lock = threading.RLock()

    def create(self, params: Params) -> Params:
        """Answer CreateModelCustomizationJob."""
        with self._lock:
            reply = self._tokens.get(params)
            if reply is not None:
                return reply
            job = self._new_job(params)
            self._account.tags.attach(job.arn, params.get("jobTags", []))
            self._jobs[job.name] = job
            return self._tokens.put(params, {"jobArn": job.arn})

    def get(self, params: Params) -> Params:
        """Answer GetModelCustomizationJob for a job's ARN or name."""
        with self._lock:
            return self._find(params["jobIdentifier"]).describe(self._account.now())

    def list_jobs(self, params: Params) -> Params:
        """Answer ListModelCustomizationJobs."""
        with self._lock:
            found = [
                job.summarize()
                for job in self._jobs.values()
                if is_listed(params, job.name, job.created_at, statusEquals=job.status)
            ]
        return one_page(found, params, "modelCustomizationJobSummaries")

    def stop(self, params: Params) -> Params:
        """Answer StopModelCustomizationJob; the job is Stopping before it is Stopped."""
        with self._lock:
            job = self._find(params["jobIdentifier"])
            if job.status != "InProgress":
                raise conflict(f"The job cannot be stopped: its status is {job.status}.")
            job.stop_requested_at = self._account.now()
            return {}

    def advance(self) -> None:
        """Bring every job up to the clock."""
        with self._lock:
            for job in self._jobs.values():
                if job.end is None:
                    job.end = self._end_of(job, self._account.now())

    def take_events(self) -> list[StateChangeEvent]:
        """Return the events of jobs that ended since the last call."""
        with self._lock:
            events = []
            for job in self._jobs.values():
                if job.end is not None and not job.is_published:
                    job.is_published = True
                    events.append(job.event(job.end))
            return events

    def _new_job(self, params: Params) -> CustomizationJob:
        student = self._foundation_models.check_pair(
            _teacher_of(params), params["baseModelIdentifier"]
        )
        self._check_names(params)
        check_tags(params.get("customModelTags", []), params["customModelName"])
        self._check_quotas()
        settings, name = self._account.settings, params["jobName"]
        return CustomizationJob(
            request=params,
            arn=self._account.arn(f"model-customization-job/{student.model_id}", name),
            model_arn=self._account.arn(f"custom-model/{student.model_id}", name),
            base_model_arn=self._account.foundation_model_arn(student.model_id),
            created_at=self._account.now(),
            duration=timedelta(seconds=settings.job_seconds),
            forced_failure=settings.job_failure,
        )

    def _check_names(self, params: Params) -> None:
        if params["jobName"] in self._jobs:
            raise conflict("The provided job name is currently in use.")
        taken = {job.model_name for job in self._jobs.values() if job.end is None}
        taken |= {model.name for model in self._models.all()}
        if params["customModelName"] in taken:
            raise conflict("The provided model name is currently in use.")

    def _check_quotas(self) -> None:
        open_jobs = sum(job.end is None for job in self._jobs.values())
        check_quota(open_jobs, QUOTA, "scheduled customization jobs")
        check_quota(open_jobs + len(self._models.all()), MODEL_QUOTA, "custom models")

    def _find(self, identifier: str) -> CustomizationJob:
        for job in self._jobs.values():
            if identifier in (job.name, job.arn):
                return job
        raise not_found("The provided job identifier was not found.")

    def _end_of(self, job: CustomizationJob, now: datetime) -> End | None:
        """Return how the job has ended, or None if it has not."""
        if job.stop_requested_at:
            stopped_at = job.stop_requested_at + _STOPPING_LASTS * job.duration
            return End("Stopped", stopped_at) if now >= stopped_at else None
        validated_at, finished_at = job.after(_VALIDATED_AFTER), job.after(1.0)
        if job.records is None and now >= validated_at:
            try:
                job.records = read_training_set(self._read_training_object(job))
            except InvalidTrainingDataError as error:
                return End("Failed", validated_at, str(error))
        if now < finished_at:
            return None
        if job.forced_failure:
            return End("Failed", finished_at, job.forced_failure)
        records, job.records = job.records or [], []  # frees the records
        model = distill(records)
        custom = CustomModel(job.model_arn, job.model_name, finished_at, job.provenance(), model)
        self._models.add(custom, job.request.get("customModelTags", []))
        return End("Completed", finished_at)

    def _read_training_object(self, job: CustomizationJob) -> bytes:
        uri = job.request["trainingDataConfig"]["s3Uri"]
        try:
            return self._read_object(uri)
        except LookupError as error:
            raise InvalidTrainingDataError(f"The training data {uri} cannot be read.") from error


def _teacher_of(params: Params) -> str:
    if params.get("customizationType") != "DISTILLATION":
        raise UnimplementedError("customization types other than DISTILLATION")
    if "s3Uri" not in params["trainingDataConfig"]:
        raise UnimplementedError("training data from invocation logs")
    distillation = params.get("customizationConfig", {}).get("distillationConfig")
    if distillation is None:
        raise invalid("A distillation job needs customizationConfig.distillationConfig.")
    return str(distillation["teacherModelConfig"]["teacherModelIdentifier"])


# --- Training data --------------------------------------------------------------------------------
# Written from AWS's dataset validator and quotas, independently of the router's code.


class InvalidTrainingDataError(Exception):
    """The training object is unusable; the message becomes the job's failure message."""


class _InvalidRecordError(Exception):
    """A record does not match the schema."""


def read_training_set(body: bytes) -> list[TrainingRecord]:
    """Return the valid records of a JSONL object in order; invalid lines are dropped.

    Raises `InvalidTrainingDataError` outside of 100 to 15,000 records.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    records = [record for line in lines if (record := _read_line(line)) is not None]
    if len(lines) > MAX_RECORDS:
        raise InvalidTrainingDataError(
            f"The training dataset has {len(lines)} records, the maximum is {MAX_RECORDS}."
        )
    if len(records) < MIN_RECORDS:
        raise InvalidTrainingDataError(
            f"The training dataset has {len(records)} valid records of {len(lines)}, the minimum "
            f"is {MIN_RECORDS}."
        )
    return records


def _read_line(line: bytes) -> TrainingRecord | None:
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        return _read_record(json.loads(line))
    except (ValueError, RecursionError, _InvalidRecordError):
        return None


def _read_record(record: Any) -> TrainingRecord:
    _check_object(record, {"schemaVersion", "messages"}, optional=frozenset({"system"}))
    _expect(record["schemaVersion"] == "bedrock-conversation-2024")
    system = _only(record["system"]) if "system" in record else {"text": ""}
    _check_object(system, {"text"})
    messages = record["messages"]
    _expect(isinstance(messages, list) and len(messages) in (1, 2))
    texts = [
        _turn(message, role) for message, role in zip(messages, ("user", "assistant"), strict=False)
    ]
    return TrainingRecord(texts[0], _text(system["text"]), texts[1] if len(texts) > 1 else None)


def _turn(message: Any, role: str) -> str:
    _check_object(message, {"role", "content"})
    _expect(message["role"] == role)
    block = _only(message["content"])
    _check_object(block, {"text"}, optional=frozenset({"type"}))
    return _text(block["text"])


def _only(items: Any) -> Any:
    _expect(isinstance(items, list) and len(items) == 1)
    return items[0]


def _check_object(value: Any, required: set[str], optional: frozenset[str] = frozenset()) -> None:
    _expect(isinstance(value, dict) and required <= value.keys() <= required | optional)


def _text(value: Any) -> str:
    _expect(isinstance(value, str))
    return str(value)


def _expect(holds: bool) -> None:
    if not holds:
        raise _InvalidRecordError

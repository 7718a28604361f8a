"""Distillation jobs: created once per token, moving on the clock, ending in a model or a reason.

A job validates its training object after a tenth of its time, and trains at its end. Nothing runs
in between: `advance` brings every job up to the clock, when somebody looks or the double settles.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from local_stack.bedrock_double.api import Operation
from local_stack.bedrock_double.clock import Clock
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.custom_models import QUOTA as MODEL_QUOTA
from local_stack.bedrock_double.custom_models import CustomModel, CustomModels
from local_stack.bedrock_double.customization_job import VALIDATED_AFTER, CustomizationJob, End
from local_stack.bedrock_double.distilled_model import distil
from local_stack.bedrock_double.errors import BedrockError, NotPlayedError
from local_stack.bedrock_double.foundation_models import FoundationModels
from local_stack.bedrock_double.idempotency import TokenLedger
from local_stack.bedrock_double.identifiers import Arns
from local_stack.bedrock_double.listing import is_listed, one_page
from local_stack.bedrock_double.settings import LiveSettings
from local_stack.bedrock_double.state_change_events import StateChangeEvent
from local_stack.bedrock_double.tags import Tags, check_number
from local_stack.bedrock_double.teacher import Teacher
from local_stack.bedrock_double.training_data import TrainingRefusedError, read_training_set

# Takes an S3 URI, returns the object's bytes; `LookupError` when they cannot be had.
ReadObject = Callable[[str], bytes]

QUOTA = 10  # jobs that have not ended
_STOPPING_LASTS = 0.1  # share of a job's time


class CustomizationJobs:
    """The account's customization jobs."""

    def __init__(
        self,
        *,
        arns: Arns,
        clock: Clock,
        settings: LiveSettings,
        foundation_models: FoundationModels,
        models: CustomModels,
        tags: Tags,
        teacher: Teacher,
        read_object: ReadObject,
    ) -> None:
        self._arns = arns
        self._clock = clock
        self._settings = settings
        self._foundation_models = foundation_models
        self._models = models
        self._tags = tags
        self._teacher = teacher
        self._read_object = read_object
        self._jobs: dict[str, CustomizationJob] = {}  # by name, oldest first
        self._tokens = TokenLedger(mismatch_code="ConflictException")
        self._lock = threading.RLock()

    def operations(self) -> Mapping[str, Operation]:
        """Return what callers can ask of this room."""
        return {
            "CreateModelCustomizationJob": self.create,
            "GetModelCustomizationJob": self.get,
            "ListModelCustomizationJobs": self.list_jobs,
            "StopModelCustomizationJob": self.stop,
        }

    def create(self, params: Params) -> Params:
        """Answer CreateModelCustomizationJob for distillation from one S3 object."""
        with self._lock:
            answer = self._tokens.get_many(params)
            if answer is not None:
                return answer
            job = self._new_job(params)
            self._tags.attach(job.arn, params.get("jobTags", []))
            self._jobs[job.name] = job
            return self._tokens.put_many(params, {"jobArn": job.arn})

    def get(self, params: Params) -> Params:
        """Answer GetModelCustomizationJob for a job's ARN or name."""
        with self._lock:
            return self._find(params["jobIdentifier"]).describe(self._clock.now())

    def list_jobs(self, params: Params) -> Params:
        """Answer ListModelCustomizationJobs."""
        with self._lock:
            found = [
                job.summarise()
                for job in self._jobs.values()
                if is_listed(params, job.name, job.created_at, statusEquals=job.status)
            ]
        return one_page(found, params, "modelCustomizationJobSummaries")

    def stop(self, params: Params) -> Params:
        """Answer StopModelCustomizationJob: the job is Stopping for a moment, then Stopped."""
        with self._lock:
            job = self._find(params["jobIdentifier"])
            if job.status != "InProgress":
                raise BedrockError(
                    "ConflictException", f"The job cannot be stopped: its status is {job.status}."
                )
            job.stop_requested_at = self._clock.now()
            return {}

    def advance(self) -> None:
        """Bring every job up to the clock; a job that reaches its end here trains here."""
        with self._lock:
            for job in self._jobs.values():
                if job.end is None:
                    job.end = self._end_of(job, self._clock.now())

    def take_events(self) -> list[StateChangeEvent]:
        """Return the events of jobs that ended since the last call."""
        with self._lock:
            events = []
            for job in self._jobs.values():
                if job.end is not None and not job.announced:
                    job.announced = True
                    events.append(job.event(job.end))
            return events

    def _new_job(self, params: Params) -> CustomizationJob:
        student = self._foundation_models.check_pair(
            _teacher_of(params), params["baseModelIdentifier"]
        )
        self._refuse_taken_names(params)
        check_number(params.get("customModelTags", []), params["customModelName"])
        self._refuse_one_too_many()
        settings = self._settings.current
        return CustomizationJob(
            request=params,
            arn=self._arns.customization_job(student.model_id, params["jobName"]),
            model_arn=self._arns.custom_model(student.model_id, params["jobName"]),
            base_model_arn=self._arns.foundation_model(student.model_id),
            created_at=self._clock.now(),
            duration=timedelta(seconds=settings.job_seconds),
            forced_failure=settings.job_failure,
        )

    def _refuse_taken_names(self, params: Params) -> None:
        if params["jobName"] in self._jobs:
            raise BedrockError("ConflictException", "The provided job name is currently in use.")
        name = params["customModelName"]
        unfinished = {job.model_name for job in self._jobs.values() if job.end is None}
        if name in unfinished or self._models.is_named(name):
            raise BedrockError("ConflictException", "The provided model name is currently in use.")

    def _refuse_one_too_many(self) -> None:
        open_jobs = sum(job.end is None for job in self._jobs.values())
        if open_jobs >= QUOTA:
            raise BedrockError(
                "ServiceQuotaExceededException",
                f"The account has its maximum of {QUOTA} scheduled customization jobs.",
            )
        if self._models.number + open_jobs >= MODEL_QUOTA:
            raise BedrockError(
                "ServiceQuotaExceededException",
                f"The account has its maximum of {MODEL_QUOTA} custom models.",
            )

    def _find(self, identifier: str) -> CustomizationJob:
        for job in self._jobs.values():
            if identifier in (job.name, job.arn):
                return job
        raise BedrockError(
            "ResourceNotFoundException", "The provided job identifier was not found."
        )

    def _end_of(self, job: CustomizationJob, now: datetime) -> End | None:
        """Return how the job has ended by now, or None while it goes on."""
        if job.stop_requested_at:
            stopped_at = job.stop_requested_at + _STOPPING_LASTS * job.duration
            return End("Stopped", stopped_at) if now >= stopped_at else None
        validated_at, finished_at = job.after(VALIDATED_AFTER), job.after(1.0)
        if job.records is None and now >= validated_at:
            try:
                job.records = read_training_set(self._read_training_object(job))
            except TrainingRefusedError as refusal:
                return End("Failed", validated_at, str(refusal))
        if now < finished_at:
            return None
        if job.forced_failure:
            return End("Failed", finished_at, job.forced_failure)
        self._train(job, finished_at)
        return End("Completed", finished_at)

    def _read_training_object(self, job: CustomizationJob) -> bytes:
        uri = job.request["trainingDataConfig"]["s3Uri"]
        try:
            return self._read_object(uri)
        except LookupError as error:
            raise TrainingRefusedError(f"The training data {uri} cannot be read.") from error

    def _train(self, job: CustomizationJob, finished_at: datetime) -> None:
        records, job.records = job.records or [], []  # the model is all that is kept of them
        speaker = distil(records, self._teacher)
        model = CustomModel(job.model_arn, job.model_name, finished_at, job.provenance(), speaker)
        self._models.add(model, job.request.get("customModelTags", []))


def _teacher_of(params: Params) -> str:
    """Return the teacher's identifier of a distillation from one object, the only kind played."""
    if params.get("customizationType") != "DISTILLATION":
        raise NotPlayedError("customization types other than DISTILLATION")
    if "s3Uri" not in params["trainingDataConfig"]:
        raise NotPlayedError("training data from invocation logs")
    distillation = params.get("customizationConfig", {}).get("distillationConfig")
    if distillation is None:
        raise BedrockError(
            "ValidationException",
            "A distillation job needs customizationConfig.distillationConfig.",
        )
    return str(distillation["teacherModelConfig"]["teacherModelIdentifier"])

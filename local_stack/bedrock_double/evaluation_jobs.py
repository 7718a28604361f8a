"""Evaluation jobs: a judge reads what the caller's models said, and writes its scores to S3.

Bedrock sends no event about them: they are polled.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from local_stack.bedrock_double.api import Operation
from local_stack.bedrock_double.clock import Clock
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.customization_jobs import ReadObject
from local_stack.bedrock_double.errors import BedrockError
from local_stack.bedrock_double.evaluation_data import DatasetRefusedError, read_dataset
from local_stack.bedrock_double.evaluation_output import (
    definitions,
    job_folder,
    output_uri,
    results,
)
from local_stack.bedrock_double.evaluation_request import (
    EvaluationRequest,
    read_evaluation_request,
)
from local_stack.bedrock_double.foundation_models import FoundationModels
from local_stack.bedrock_double.idempotency import TokenLedger
from local_stack.bedrock_double.identifiers import Arns
from local_stack.bedrock_double.listing import is_listed, one_page
from local_stack.bedrock_double.settings import LiveSettings
from local_stack.bedrock_double.tags import MAX_TAGS, Tags

# Takes an S3 URI and the bytes to write there; `LookupError` when that is impossible.
WriteObject = Callable[[str, bytes], None]

QUOTA = 20  # automatic jobs that have not ended
_PAGE = 5  # the service model allows no longer list
_STOPPING_LASTS = 0.1  # share of a job's time


@dataclass(slots=True)
class EvaluationJob:
    """One job; the fields with a default are its state."""

    params: Params
    request: EvaluationRequest
    arn: str
    created_at: datetime
    duration: timedelta
    forced_failure: str
    status: str = "InProgress"
    modified_at: datetime | None = None
    failure: str = ""

    @property
    def name(self) -> str:
        """Name that the caller gave the job."""
        return str(self.params["jobName"])

    @property
    def is_open(self) -> bool:
        """Tell whether the job goes on."""
        return self.status in ("InProgress", "Stopping")

    def move(self, status: str, at: datetime, failure: str = "") -> None:
        """Put the job into another state."""
        self.status, self.modified_at, self.failure = status, at, failure

    def describe(self) -> Params:
        """Return the job as GetEvaluationJob tells it."""
        asked = ("jobDescription", "customerEncryptionKeyId", "applicationType")
        return {
            **{name: self.params[name] for name in asked if name in self.params},
            "jobName": self.name,
            "status": self.status,
            "jobArn": self.arn,
            "roleArn": self.params["roleArn"],
            "jobType": "Automated",
            "evaluationConfig": self.params["evaluationConfig"],
            "inferenceConfig": self.params["inferenceConfig"],
            "outputDataConfig": self.params["outputDataConfig"],
            "creationTime": self.created_at,
            "lastModifiedTime": self.modified_at or self.created_at,
            **({"failureMessages": [self.failure]} if self.failure else {}),
        }

    def summarise(self) -> Params:
        """Return the job as ListEvaluationJobs tells it."""
        source = {"precomputedInferenceSourceIdentifiers": [self.request.source]}
        return {
            "jobArn": self.arn,
            "jobName": self.name,
            "status": self.status,
            "creationTime": self.created_at,
            "jobType": "Automated",
            "evaluationTaskTypes": sorted({data.task_type for data in self.request.datasets}),
            "inferenceConfigSummary": {"modelConfigSummary": source},
            "applicationType": "ModelEvaluation",
        }


class EvaluationJobs:
    """The account's evaluation jobs."""

    def __init__(
        self,
        *,
        arns: Arns,
        clock: Clock,
        settings: LiveSettings,
        foundation_models: FoundationModels,
        tags: Tags,
        read_object: ReadObject,
        write_object: WriteObject,
    ) -> None:
        self._arns = arns
        self._clock = clock
        self._settings = settings
        self._foundation_models = foundation_models
        self._tags = tags
        self._read_object = read_object
        self._write_object = write_object
        self._jobs: dict[str, EvaluationJob] = {}  # by ARN, oldest first
        self._tokens = TokenLedger(mismatch_code="ConflictException")
        self._lock = threading.RLock()

    def operations(self) -> Mapping[str, Operation]:
        """Return what callers can ask of this room."""
        return {
            "CreateEvaluationJob": self.create,
            "GetEvaluationJob": self.get,
            "ListEvaluationJobs": self.list_jobs,
            "StopEvaluationJob": self.stop,
            "BatchDeleteEvaluationJob": self.delete,
        }

    def create(self, params: Params) -> Params:
        """Answer CreateEvaluationJob."""
        with self._lock:
            answer = self._tokens.get_many(params)
            if answer is not None:
                return answer
            request = read_evaluation_request(params)
            self._refuse(params, request)
            settings = self._settings.current
            job = EvaluationJob(
                params=params,
                request=request,
                arn=self._arns.evaluation_job(params["jobName"]),
                created_at=self._clock.now(),
                duration=timedelta(seconds=settings.evaluation_seconds),
                forced_failure=settings.evaluation_failure,
            )
            self._tags.attach(job.arn, params.get("jobTags", []))
            self._jobs[job.arn] = job
            return self._tokens.put_many(params, {"jobArn": job.arn})

    def get(self, params: Params) -> Params:
        """Answer GetEvaluationJob."""
        with self._lock:
            return self._find(params["jobIdentifier"]).describe()

    def list_jobs(self, params: Params) -> Params:
        """Answer ListEvaluationJobs, five to a page."""
        with self._lock:
            found = [
                job.summarise()
                for job in self._jobs.values()
                if is_listed(
                    params,
                    job.name,
                    job.created_at,
                    statusEquals=job.status,
                    applicationTypeEquals="ModelEvaluation",
                )
            ]
        size = min(params.get("maxResults", _PAGE), _PAGE)
        page = one_page(found, {**params, "maxResults": size}, "jobSummaries")
        return page if page["jobSummaries"] else {}

    def stop(self, params: Params) -> Params:
        """Answer StopEvaluationJob: the job is Stopping for a moment, then Stopped."""
        with self._lock:
            job = self._find(params["jobIdentifier"])
            if job.status != "InProgress":
                raise BedrockError(
                    "ConflictException", f"The job cannot be stopped: its status is {job.status}."
                )
            job.move("Stopping", self._clock.now())
            return {}

    def delete(self, params: Params) -> Params:
        """Answer BatchDeleteEvaluationJob; what goes on or is not there is told as an error."""
        errors, deleted = [], []
        with self._lock:
            for arn in params["jobIdentifiers"]:
                job = self._jobs.get(arn)
                if job is None or job.is_open:
                    code = "ConflictException" if job else "ResourceNotFoundException"
                    errors.append({"jobIdentifier": arn, "code": code})
                    continue
                del self._jobs[arn]
                self._tags.forget(arn)
                deleted.append({"jobIdentifier": arn, "jobStatus": "Deleting"})
        return {"errors": errors, "evaluationJobs": deleted}

    def advance(self) -> None:
        """Bring every job up to the clock; a job that reaches its end here judges here."""
        now = self._clock.now()
        with self._lock:
            for job in self._jobs.values():
                if job.status == "Stopping":
                    stopped_at = (job.modified_at or now) + _STOPPING_LASTS * job.duration
                    if now >= stopped_at:
                        job.move("Stopped", stopped_at)
                elif job.is_open and now >= job.created_at + job.duration:
                    self._end(job, job.created_at + job.duration)

    def _end(self, job: EvaluationJob, at: datetime) -> None:
        failure = job.forced_failure or self._judge(job)
        job.move("Failed" if failure else "Completed", at, failure)

    def _judge(self, job: EvaluationJob) -> str:
        """Write the job's results; return what made that impossible."""
        try:
            self._write_results(job)
        except DatasetRefusedError as refusal:
            return str(refusal)
        except LookupError as error:
            return f"The object {error} cannot be read or written."
        return ""

    def _write_results(self, job: EvaluationJob) -> None:
        folder = job_folder(job.params["outputDataConfig"]["s3Uri"], job.name, job.arn)
        for dataset in job.request.datasets:
            prompts = read_dataset(self._read_object(dataset.uri), job.request.source)
            body = results(prompts, dataset, self._settings.current)
            for uri, text in definitions(folder, dataset):
                self._write_object(uri, text)
            self._write_object(output_uri(folder, job.request, dataset), body)

    def _refuse(self, params: Params, request: EvaluationRequest) -> None:
        if any(job.name == params["jobName"] for job in self._jobs.values()):
            raise BedrockError("ConflictException", "The provided job name is currently in use.")
        if len(params.get("jobTags", [])) > MAX_TAGS:
            raise BedrockError("ValidationException", f"At most {MAX_TAGS} tags.")
        if sum(job.is_open for job in self._jobs.values()) >= QUOTA:
            raise BedrockError(
                "ServiceQuotaExceededException",
                f"The account has its maximum of {QUOTA} automatic evaluation jobs.",
            )
        for judge in {metric.judge for data in request.datasets for metric in data.metrics}:
            model = self._foundation_models.find(judge)
            if model is None or not model.judges or model.is_retired(self._clock.now()):
                raise BedrockError(
                    "ValidationException", f"The model {judge} is not supported as an evaluator."
                )

    def _find(self, arn: str) -> EvaluationJob:
        job = self._jobs.get(arn)
        if job is None:
            raise BedrockError(
                "ResourceNotFoundException", "The provided job identifier was not found."
            )
        return job

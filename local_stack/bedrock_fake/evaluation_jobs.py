"""Evaluation jobs: an LLM judge scores responses from a dataset and writes the results to S3.

Bedrock sends no event about these jobs, so clients poll them. Rules: Bedrock user guide,
`evaluation-judge`, `model-evaluation-custom-metrics-prompt-formats`, and the service quotas
(2026-10). The layout of the output follows AWS's model-as-a-judge notebook:
`<out>/<job-name>/<job-uuid>/models/<source>/taskTypes/<type>/datasets/<dataset>/
<uuid>_output.jsonl`.
"""

import json
import re
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from local_stack.bedrock_fake.contract import (
    BedrockError,
    Params,
    UnimplementedError,
    check_quota,
    conflict,
    invalid,
    not_found,
)
from local_stack.bedrock_fake.foundation_models import FoundationModels
from local_stack.bedrock_fake.judge import InvalidDatasetError, Metric, read_dataset, results
from local_stack.bedrock_fake.resources import (
    MAX_TAGS,
    Account,
    ReadObject,
    RequestTokens,
    WriteObject,
    is_listed,
    one_page,
)

QUOTA = 20  # automatic jobs that have not ended
METRICS_PER_DATASET = 3
_MAX_PAGE = 5  # of the service model
_STOPPING_LASTS = 0.1  # share of a job's duration
_BUILT_IN_SCALE = (0.0, 0.25, 0.5, 0.75, 1.0)
_MAX_DEFINITION_WORDS = 5
_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_VARIABLES = frozenset({"prompt", "prediction", "ground_truth"})


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of the job with its metrics."""

    name: str
    uri: str
    task_type: str
    metrics: tuple[Metric, ...]


@dataclass(slots=True)
class EvaluationJob:
    """One job; the fields with a default are its state. `source` names the responses' model."""

    params: Params
    source: str
    datasets: tuple[Dataset, ...]
    arn: str
    created_at: datetime
    duration: timedelta
    forced_failure: str
    status: str = "InProgress"
    modified_at: datetime | None = None
    failure: str = ""

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.params["jobName"])

    @property
    def is_open(self) -> bool:
        """Whether the job has not ended."""
        return self.status in ("InProgress", "Stopping")

    def move(self, status: str, at: datetime, failure: str = "") -> None:
        """Change the job's status."""
        self.status, self.modified_at, self.failure = status, at, failure

    def describe(self) -> Params:
        """Return the reply of GetEvaluationJob."""
        optional = ("jobDescription", "customerEncryptionKeyId", "applicationType")
        return {
            **{name: self.params[name] for name in optional if name in self.params},
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

    def summarize(self) -> Params:
        """Return the job's summary in ListEvaluationJobs."""
        source = {"precomputedInferenceSourceIdentifiers": [self.source]}
        return {
            "jobArn": self.arn,
            "jobName": self.name,
            "status": self.status,
            "creationTime": self.created_at,
            "jobType": "Automated",
            "evaluationTaskTypes": sorted({data.task_type for data in self.datasets}),
            "inferenceConfigSummary": {"modelConfigSummary": source},
            "applicationType": "ModelEvaluation",
        }


class EvaluationJobs:
    """The evaluation jobs of the account."""

    def __init__(
        self,
        account: Account,
        foundation_models: FoundationModels,
        read_object: ReadObject,
        write_object: WriteObject,
    ) -> None:
        self._account = account
        self._foundation_models = foundation_models
        self._read_object = read_object
        self._write_object = write_object
        self._jobs: dict[str, EvaluationJob] = {}  # by ARN, oldest first
        self._tokens = RequestTokens(mismatch_code="ConflictException")
        self._lock = threading.RLock()

    def create(self, params: Params) -> Params:
        """Answer CreateEvaluationJob."""
        with self._lock:
            reply = self._tokens.get(params)
            if reply is not None:
                return reply
            source, datasets = _read_request(params)
            self._check(params, datasets)
            settings = self._account.settings
            job = EvaluationJob(
                params=params,
                source=source,
                datasets=datasets,
                arn=self._account.arn("evaluation-job", params["jobName"]),
                created_at=self._account.now(),
                duration=timedelta(seconds=settings.evaluation_seconds),
                forced_failure=settings.evaluation_failure,
            )
            self._account.tags.attach(job.arn, params.get("jobTags", []))
            self._jobs[job.arn] = job
            return self._tokens.put(params, {"jobArn": job.arn})

    def get(self, params: Params) -> Params:
        """Answer GetEvaluationJob."""
        with self._lock:
            return self._find(params["jobIdentifier"]).describe()

    def list_jobs(self, params: Params) -> Params:
        """Answer ListEvaluationJobs with at most five jobs."""
        with self._lock:
            found = [
                job.summarize()
                for job in self._jobs.values()
                if is_listed(
                    params,
                    job.name,
                    job.created_at,
                    statusEquals=job.status,
                    applicationTypeEquals="ModelEvaluation",
                )
            ]
        size = min(params.get("maxResults", _MAX_PAGE), _MAX_PAGE)
        page = one_page(found, {**params, "maxResults": size}, "jobSummaries")
        return page if page["jobSummaries"] else {}

    def stop(self, params: Params) -> Params:
        """Answer StopEvaluationJob; the job is Stopping before it is Stopped."""
        with self._lock:
            job = self._find(params["jobIdentifier"])
            if job.status != "InProgress":
                raise conflict(f"The job cannot be stopped: its status is {job.status}.")
            job.move("Stopping", self._account.now())
            return {}

    def advance(self) -> None:
        """Bring every job up to the clock; a job that ends writes its results here."""
        now = self._account.now()
        with self._lock:
            for job in self._jobs.values():
                ends_at = job.created_at + job.duration
                if job.status == "Stopping":
                    stopped_at = (job.modified_at or now) + _STOPPING_LASTS * job.duration
                    if now >= stopped_at:
                        job.move("Stopped", stopped_at)
                elif job.is_open and now >= ends_at:
                    failure = job.forced_failure or self._write_results(job)
                    job.move("Failed" if failure else "Completed", ends_at, failure)

    def _write_results(self, job: EvaluationJob) -> str:
        """Write the job's results; return the failure message, or an empty one."""
        out = str(job.params["outputDataConfig"]["s3Uri"]).rstrip("/")
        folder = f"{out}/{job.name}/{uuid.uuid5(uuid.NAMESPACE_URL, job.arn)}"
        try:
            for dataset in job.datasets:
                prompts = read_dataset(self._read_object(dataset.uri), job.source)
                body = results(prompts, dataset.metrics, self._account.settings)
                for metric in dataset.metrics:
                    if metric.instructions:
                        text = {"metricName": metric.name, "instructions": metric.instructions}
                        uri = f"{folder}/custom_metrics/{metric.name}.json"
                        self._write_object(uri, json.dumps(text).encode())
                name = uuid.uuid5(uuid.NAMESPACE_URL, f"{folder}/{dataset.name}")
                self._write_object(
                    f"{folder}/models/{job.source}/taskTypes/{dataset.task_type}"
                    f"/datasets/{dataset.name}/{name}_output.jsonl",
                    body,
                )
        except InvalidDatasetError as error:
            return str(error)
        except LookupError as error:
            return f"The object {error} cannot be read or written."
        return ""

    def _check(self, params: Params, datasets: tuple[Dataset, ...]) -> None:
        if any(job.name == params["jobName"] for job in self._jobs.values()):
            raise conflict("The provided job name is currently in use.")
        if len(params.get("jobTags", [])) > MAX_TAGS:
            raise invalid(f"At most {MAX_TAGS} tags.")
        open_jobs = sum(job.is_open for job in self._jobs.values())
        check_quota(open_jobs, QUOTA, "automatic evaluation jobs")
        for judge in {metric.judge for data in datasets for metric in data.metrics}:
            if not self._foundation_models.can_judge(judge):
                raise invalid(f"The model {judge} is not supported as an evaluator.")

    def _find(self, arn: str) -> EvaluationJob:
        job = self._jobs.get(arn)
        if job is None:
            raise not_found("The provided job identifier was not found.")
        return job


# --- The request ----------------------------------------------------------------------------------
# Implemented: an LLM judge over precomputed responses.


def _read_request(params: Params) -> tuple[str, tuple[Dataset, ...]]:
    """Return source and datasets; raises `BedrockError` beyond the constraints of the shapes."""
    automated = params["evaluationConfig"].get("automated")
    if automated is None or params.get("applicationType") == "RagEvaluation":
        raise UnimplementedError("evaluation jobs other than automated ones of models")
    source = _read_source(params["inferenceConfig"])
    metrics = {metric.name: metric for metric in _read_metrics(automated)}
    config = automated.get("evaluatorModelConfig")
    judges = config["bedrockEvaluatorModels"] if config else []
    judge = str(judges[0]["modelIdentifier"]) if judges else None
    datasets = tuple(
        _read_dataset_config(config, metrics, judge) for config in automated["datasetMetricConfigs"]
    )
    unused = metrics.keys() - {metric.name for data in datasets for metric in data.metrics}
    if unused:
        raise invalid(f"The custom metrics {sorted(unused)} must also be listed in metricNames.")
    return source, datasets


def _read_source(inference: Params) -> str:
    models = inference.get("models")
    if models is None:
        raise UnimplementedError("RAG evaluation")
    if len(models) != 1:
        raise invalid("An automated evaluation job takes exactly one model.")
    source = models[0].get("precomputedInferenceSource")
    if source is None:
        raise UnimplementedError("evaluation jobs that invoke the model")
    return str(source["inferenceSourceIdentifier"])


def _read_metrics(automated: Params) -> Iterator[Metric]:
    custom = automated.get("customMetricConfig")
    if custom is None:
        return
    judge = custom["evaluatorModelConfig"]["bedrockEvaluatorModels"][0]["modelIdentifier"]
    for item in custom["customMetrics"]:
        definition = item["customMetricDefinition"]
        name, instructions = definition["name"], definition["instructions"]
        variables = set(_VARIABLE.findall(instructions))
        if not variables or variables - _VARIABLES:
            raise invalid(
                f"The instructions of the metric {name} must use the variables "
                "{{prompt}}, {{prediction}}, {{ground_truth}} and no others."
            )
        yield Metric(name, instructions, _read_scale(name, definition.get("ratingScale")), judge)


def _read_scale(name: str, scale: list[Params] | None) -> tuple[float, ...]:
    if scale is None:
        raise UnimplementedError("custom metrics without a ratingScale")
    kinds = {kind for item in scale for kind in item["value"]}
    if len(kinds) > 1:
        raise invalid(f"The ratingScale of {name} mixes float and string values.")
    if kinds != {"floatValue"}:
        raise UnimplementedError("rating scales of strings")
    definitions = [item["definition"] for item in scale]
    long = [text for text in definitions if len(text.split()) > _MAX_DEFINITION_WORDS]
    if long:
        raise invalid(
            f"The ratingScale of {name} has definitions of more than {_MAX_DEFINITION_WORDS} "
            f"words: {long}"
        )
    return tuple(sorted(float(item["value"]["floatValue"]) for item in scale))


def _read_dataset_config(config: Params, custom: dict[str, Metric], judge: str | None) -> Dataset:
    if config["taskType"] != "General":
        raise invalid("The task type of an evaluation job with a judge must be General.")
    if len(config["metricNames"]) > METRICS_PER_DATASET:
        raise BedrockError(
            "ServiceQuotaExceededException", f"At most {METRICS_PER_DATASET} metrics per dataset."
        )
    location = config["dataset"].get("datasetLocation")
    if location is None:
        raise UnimplementedError("built-in datasets")
    metrics = tuple(_metric(name, custom, judge) for name in config["metricNames"])
    return Dataset(config["dataset"]["name"], location["s3Uri"], config["taskType"], metrics)


def _metric(name: str, custom: dict[str, Metric], judge: str | None) -> Metric:
    if name in custom:
        return custom[name]
    if not name.startswith("Builtin."):
        raise invalid(f"The metric {name} is neither built in nor defined as a custom metric.")
    if judge is None:
        raise invalid(f"The built-in metric {name} needs an evaluatorModelConfig.")
    return Metric(name, "", _BUILT_IN_SCALE, judge)

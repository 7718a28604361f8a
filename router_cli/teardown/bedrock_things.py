"""What a stack has in Bedrock, which no stack deletion removes.

Ours is what our own state names, or what carries the tag of one of our runs: run ids are hashes of
bucket, key and version, so no other stack of the account has them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from search_router.domain.lifecycle.runs import Run
from search_router.domain.naming import NAME_PREFIX

_RUN_TAG = "Run"
_GONE = "ResourceNotFoundException"
_NOT_NOW = ("ConflictException", "ValidationException")


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that is still there; `billed` if it costs money, or soon will."""

    kind: str
    name: str
    billed: bool
    note: str = ""


class BedrockThings:
    """Deployments, custom models and open jobs of our runs."""

    def __init__(self, bedrock: Any, runs: Iterable[Run]) -> None:
        self._bedrock = bedrock
        runs = list(runs)
        self._run_ids = {run.run_id for run in runs}
        jobs = [run.training for run in runs if run.training]
        self._models = {job.model_arn for job in jobs if job.model_arn}
        self._deployments = {run.deployment.arn for run in runs if run.deployment}
        self._jobs = {job.job_name for job in jobs}

    def remaining(self) -> Iterator[Thing]:
        """Yield what is there now."""
        for summary in self._our_deployments():
            name, status = summary["customModelDeploymentName"], summary["status"]
            yield Thing("deployment", name, billed=True, note=status)
        for summary in self._our_models():
            yield Thing("custom model", summary["modelName"], billed=True)
        for summary in self._our_open_jobs():
            yield Thing("customization job", summary["jobName"], True, summary["status"])
        for summary in self._our_open_evaluations():
            yield Thing("evaluation job", summary["jobName"], True, summary["status"])

    def remove(self) -> None:
        """Stop open jobs, then delete deployments and models; what refuses stays, and is listed."""
        for job in self._our_open_jobs():
            self._try("stop_model_customization_job", jobIdentifier=job["jobArn"])
        for job in self._our_open_evaluations():
            self._try("stop_evaluation_job", jobIdentifier=job["jobArn"])
        for found in self._our_deployments():
            arn = found["customModelDeploymentArn"]
            self._try("delete_custom_model_deployment", customModelDeploymentIdentifier=arn)
        for model in self._our_models():
            self._try("delete_custom_model", modelIdentifier=model["modelArn"])

    def _try(self, operation: str, **parameters: str) -> None:
        try:
            getattr(self._bedrock, operation)(**parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] not in (_GONE, *_NOT_NOW):
                raise

    def _our_models(self) -> list[dict[str, Any]]:
        pages = self._bedrock.get_paginator("list_custom_models").paginate(isOwned=True)
        return [
            model
            for page in pages
            for model in page.get("modelSummaries", ())
            if model["modelArn"] in self._models
            or (model["modelName"].startswith(NAME_PREFIX) and self._is_tagged(model["modelArn"]))
        ]

    def _our_deployments(self) -> list[dict[str, Any]]:
        models = self._models | {model["modelArn"] for model in self._our_models()}
        pages = self._bedrock.get_paginator("list_custom_model_deployments").paginate()
        return [
            found
            for page in pages
            for found in page.get("modelDeploymentSummaries", ())
            if found["customModelDeploymentArn"] in self._deployments or found["modelArn"] in models
        ]

    def _our_open_jobs(self) -> list[dict[str, Any]]:
        return [
            job
            for status in ("InProgress", "Stopping")
            for page in self._bedrock.get_paginator("list_model_customization_jobs").paginate(
                statusEquals=status
            )
            for job in page.get("modelCustomizationJobSummaries", ())
            if job["jobName"] in self._jobs
        ]

    def _our_open_evaluations(self) -> list[dict[str, Any]]:
        return [
            job
            for status in ("InProgress", "Stopping")
            for page in self._bedrock.get_paginator("list_evaluation_jobs").paginate(
                statusEquals=status
            )
            for job in page.get("jobSummaries", ())
            if self._is_tagged(job["jobArn"])
        ]

    def _is_tagged(self, arn: str) -> bool:
        try:
            tags = self._bedrock.list_tags_for_resource(resourceARN=arn).get("tags", ())
        except ClientError as error:
            if error.response["Error"]["Code"] == _GONE:
                return False
            raise
        return any(tag["key"] == _RUN_TAG and tag["value"] in self._run_ids for tag in tags)

"""Bedrock's control plane: foundation models, distillation jobs, deployments, evaluation jobs.

A create call whose name is taken adopts the existing resource. The name of a job is its request
token too, so it is never paid for twice. A deployment has the SDK's random token, because its name
must be free again after it is deleted.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from search_router.adapters.aws_errors import aws_errors
from search_router.domain.errors import ConflictError, InvalidInputError, NotFoundError
from search_router.domain.lifecycle.distillation import (
    MAX_TEACHER_RESPONSE_TOKENS,
    DeploymentView,
    DistillationJob,
    JobView,
    ModelLifecycle,
)
from search_router.domain.lifecycle.judging import METRIC, RATINGS, JudgeRequest, JudgeView
from search_router.domain.naming import foundation_model_id

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock.type_defs import (
        CreateEvaluationJobRequestTypeDef,
        EvaluationPrecomputedInferenceSourceTypeDef,
        TagTypeDef,
    )


# Bedrock's API reference lists both codes for a name that never existed.
_NO_SUCH_NAME = (NotFoundError, InvalidInputError)


class BedrockFoundationModels:
    """The catalogue of foundation models."""

    def __init__(self, client: "BedrockClient") -> None:
        self._client = client

    def lifecycle(self, model_id: str) -> ModelLifecycle:
        """Read the lifecycle of a foundation model or of an inference profile's model."""
        plain_id = foundation_model_id(model_id)
        with aws_errors(f"read the model {plain_id}"):
            reply = self._client.get_foundation_model(modelIdentifier=plain_id)
        lifecycle = reply["modelDetails"].get("modelLifecycle")
        return ModelLifecycle(
            model_id=model_id,
            status=lifecycle["status"] if lifecycle else "ACTIVE",
            end_of_life=lifecycle.get("endOfLifeTime") if lifecycle else None,
        )


class BedrockDistillationJobs:
    """Distillation jobs."""

    def __init__(self, client: "BedrockClient") -> None:
        self._client = client

    def start_job(self, job: DistillationJob) -> str:
        """Start a distillation job, or adopt the one of the same name; return its ARN."""
        tags: list[TagTypeDef] = [{"key": key, "value": value} for key, value in job.tags]
        try:
            with aws_errors("start the distillation job"):
                reply = self._client.create_model_customization_job(
                    jobName=job.name,
                    customModelName=job.name,
                    clientRequestToken=job.name,
                    roleArn=job.role_arn,
                    baseModelIdentifier=job.student,
                    customizationType="DISTILLATION",
                    customizationConfig={
                        "distillationConfig": {
                            "teacherModelConfig": {
                                "teacherModelIdentifier": job.teacher,
                                "maxResponseLengthForInference": MAX_TEACHER_RESPONSE_TOKENS,
                            }
                        }
                    },
                    trainingDataConfig={"s3Uri": job.training_uri},
                    outputDataConfig={"s3Uri": job.output_uri},
                    jobTags=tags,
                    customModelTags=tags,
                )
        except (ConflictError, InvalidInputError):
            with suppress(*_NO_SUCH_NAME):
                if self._trains_on_our_data(job):
                    return self.job(job.name).arn
            raise
        return reply["jobArn"]

    def _trains_on_our_data(self, job: DistillationJob) -> bool:
        """Whether the job of that name has data of our bucket; runs of the same bytes share it."""
        with aws_errors("read the distillation job"):
            reply = self._client.get_model_customization_job(jobIdentifier=job.name)
        bucket = job.training_uri.removeprefix("s3://").partition("/")[0]
        return reply["trainingDataConfig"].get("s3Uri", "").startswith(f"s3://{bucket}/")

    def job(self, identifier: str) -> JobView:
        """Read a job by name or ARN; raises NotFoundError."""
        with aws_errors("read the distillation job"):
            reply = self._client.get_model_customization_job(jobIdentifier=identifier)
        return JobView(
            name=reply["jobName"],
            arn=reply["jobArn"],
            status=reply.get("status", ""),
            model_arn=reply.get("outputModelArn", ""),
            failure=reply.get("failureMessage", ""),
        )


class BedrockDeployments:
    """On-demand deployments of custom models."""

    def __init__(self, client: "BedrockClient", tags: tuple[tuple[str, str], ...] = ()) -> None:
        self._client = client
        self._tags = tags

    def deploy(self, deployment_name: str, model_arn: str) -> str:
        """Deploy a custom model on demand, or adopt the deployment of that name; return its ARN."""
        try:
            with aws_errors("deploy the model"):
                reply = self._client.create_custom_model_deployment(
                    modelDeploymentName=deployment_name,
                    modelArn=model_arn,
                    tags=[{"key": key, "value": value} for key, value in self._tags],
                )
        except (ConflictError, InvalidInputError):
            with suppress(*_NO_SUCH_NAME):  # a taken name has no error code of its own
                if self._model_of(deployment_name) == model_arn:
                    return self.deployment(deployment_name).arn
            raise
        return reply["customModelDeploymentArn"]

    def _model_of(self, deployment_name: str) -> str:
        with aws_errors("read the deployment"):
            reply = self._client.get_custom_model_deployment(
                customModelDeploymentIdentifier=deployment_name
            )
        return reply["modelArn"]

    def deployment(self, identifier: str) -> DeploymentView:
        """Read a deployment by name or ARN; raises NotFoundError."""
        with aws_errors("read the deployment"):
            reply = self._client.get_custom_model_deployment(
                customModelDeploymentIdentifier=identifier
            )
        return DeploymentView(
            arn=reply["customModelDeploymentArn"],
            status=reply["status"],
            failure=reply.get("failureMessage", ""),
        )

    def arns(self) -> Iterator[str]:
        """Yield the ARNs of all deployments of the account, ours or not."""
        pages = self._client.get_paginator("list_custom_model_deployments").paginate()
        with aws_errors("list the deployments"):
            for page in pages:
                for summary in page.get("modelDeploymentSummaries", []):
                    yield summary["customModelDeploymentArn"]

    def delete(self, deployment_arn: str) -> None:
        """Delete a deployment, not its model; a deployment that is gone is no error."""
        with suppress(NotFoundError), aws_errors("delete the deployment"):
            self._client.delete_custom_model_deployment(
                customModelDeploymentIdentifier=deployment_arn
            )


class BedrockEvaluationJobs:
    """Evaluation jobs, in which a judge grades responses that we provide."""

    def __init__(self, client: "BedrockClient") -> None:
        self._client = client

    def start(self, request: JudgeRequest) -> str:
        """Start a job, or adopt the one of the same name; return its ARN."""
        try:
            with aws_errors("start the evaluation job"):
                return self._client.create_evaluation_job(**_parameters(request))["jobArn"]
        except (ConflictError, InvalidInputError):
            if (found := self._find(request.job_name)) is None:
                raise
            return found

    def view(self, job_arn: str) -> JudgeView:
        """Read a job; raises NotFoundError."""
        with aws_errors("read the evaluation job"):
            reply = self._client.get_evaluation_job(jobIdentifier=job_arn)
        return JudgeView(reply["status"], " ".join(reply.get("failureMessages", [])))

    def _find(self, job_name: str) -> str | None:
        pages = self._client.get_paginator("list_evaluation_jobs").paginate(nameContains=job_name)
        with aws_errors("list the evaluation jobs"):
            for page in pages:
                for job in page.get("jobSummaries", []):
                    if job["jobName"] == job_name:
                        return job["jobArn"]
        return None


def _parameters(request: JudgeRequest) -> "CreateEvaluationJobRequestTypeDef":
    source: EvaluationPrecomputedInferenceSourceTypeDef = {
        "inferenceSourceIdentifier": request.source
    }
    return {
        "jobName": request.job_name,
        "clientRequestToken": request.job_name,
        "roleArn": request.role_arn,
        "applicationType": "ModelEvaluation",
        "jobTags": [{"key": key, "value": value} for key, value in request.tags],
        "evaluationConfig": {"automated": _automated(request)},
        "inferenceConfig": {"models": [{"precomputedInferenceSource": source}]},
        "outputDataConfig": {"s3Uri": request.output_uri},
    }


def _automated(request: JudgeRequest) -> Any:  # the stubs use one type for requests and replies
    metric = {
        "name": METRIC,
        "instructions": request.instructions,
        "ratingScale": [
            {"definition": words, "value": {"floatValue": value}} for value, words in RATINGS
        ],
    }
    dataset = {"name": "holdout", "datasetLocation": {"s3Uri": request.dataset_uri}}
    return {
        "datasetMetricConfigs": [
            {"taskType": "General", "dataset": dataset, "metricNames": [METRIC]}
        ],
        "customMetricConfig": {
            "customMetrics": [{"customMetricDefinition": metric}],
            "evaluatorModelConfig": {
                "bedrockEvaluatorModels": [{"modelIdentifier": request.judge}]
            },
        },
    }

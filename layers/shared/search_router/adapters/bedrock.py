"""Bedrock's control plane: distillation jobs, custom models and their on-demand deployments.

A repeated create call finds its name taken and adopts what has it. A job's request token is its
name too, so that it is never paid twice; a deployment's is the SDK's own, which only joins the
SDK's retries, because a name that was torn down must be free to be deployed again.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import translated
from search_router.domain.distillation import (
    MAX_TEACHER_RESPONSE_TOKENS,
    DeploymentView,
    DistillationJob,
    JobView,
    ModelLifecycle,
)
from search_router.domain.errors import ConflictError, InvalidInputError, NotFoundError
from search_router.domain.model_ids import foundation_model_id
from search_router.domain.naming import NAME_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock.type_defs import TagTypeDef


class BedrockModelCustomizer:
    """Starts and follows distillation jobs and deployments."""

    def __init__(self, client: "BedrockClient") -> None:
        self._client = client

    def lifecycle(self, model_id: str) -> ModelLifecycle:
        """Read a foundation model's lifecycle; profile ids are looked up by their model."""
        plain_id = foundation_model_id(model_id)
        with translated(f"look up the model {plain_id}"):
            reply = self._client.get_foundation_model(modelIdentifier=plain_id)
        lifecycle = reply["modelDetails"].get("modelLifecycle")
        return ModelLifecycle(
            model_id=model_id,
            status=lifecycle["status"] if lifecycle else "ACTIVE",
            end_of_life=lifecycle.get("endOfLifeTime") if lifecycle else None,
        )

    def start_job(self, job: DistillationJob) -> str:
        """Start a distillation job, or adopt the one of the same name; return its ARN."""
        tags: list[TagTypeDef] = [{"key": key, "value": value} for key, value in job.tags]
        try:
            with translated("start the distillation job"):
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
            with suppress(NotFoundError):
                return self.job(job.name).arn
            raise
        return reply["jobArn"]

    def job(self, identifier: str) -> JobView:
        """Read a job by name or ARN."""
        with translated("read the distillation job"):
            reply = self._client.get_model_customization_job(jobIdentifier=identifier)
        return JobView(
            name=reply["jobName"],
            arn=reply["jobArn"],
            status=reply.get("status", ""),
            model_arn=reply.get("outputModelArn", ""),
            failure=reply.get("failureMessage", ""),
        )

    def deploy(self, deployment_name: str, model_arn: str) -> str:
        """Deploy a custom model on demand, or adopt the deployment of that name; return its ARN."""
        try:
            with translated("deploy the model"):
                reply = self._client.create_custom_model_deployment(
                    modelDeploymentName=deployment_name,
                    modelArn=model_arn,
                    tags=[{"key": "UseCase", "value": NAME_PREFIX}],
                )
        except (ConflictError, InvalidInputError):
            with suppress(NotFoundError):  # a name that is taken has no error code of its own
                return self.deployment(deployment_name).arn
            raise
        return reply["customModelDeploymentArn"]

    def deployment(self, identifier: str) -> DeploymentView:
        """Read a deployment by name or ARN."""
        with translated("read the deployment"):
            reply = self._client.get_custom_model_deployment(
                customModelDeploymentIdentifier=identifier
            )
        return DeploymentView(
            arn=reply["customModelDeploymentArn"],
            status=reply["status"],
            failure=reply.get("failureMessage", ""),
        )

    def tear_down(self, deployment_arn: str) -> None:
        """Delete a deployment, never the model; one that is gone is fine."""
        try:
            with translated("delete the deployment"):
                self._client.delete_custom_model_deployment(
                    customModelDeploymentIdentifier=deployment_arn
                )
        except NotFoundError:
            return

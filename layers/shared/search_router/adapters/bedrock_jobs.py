"""Bedrock's distillation jobs.

A repeated create call finds its name taken and adopts what has it. A job's request token is its
name too, so that it is never paid twice.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.domain.errors import ConflictError, InvalidInputError, NotFoundError
from search_router.domain.lifecycle.distillation import (
    MAX_TEACHER_RESPONSE_TOKENS,
    DistillationJob,
    JobView,
)

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock.type_defs import TagTypeDef


class BedrockDistillationJobs:
    """Starts and follows distillation jobs."""

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
            with suppress(NotFoundError):
                return self.job(job.name).arn
            raise
        return reply["jobArn"]

    def job(self, identifier: str) -> JobView:
        """Read a job by name or ARN."""
        with aws_errors("read the distillation job"):
            reply = self._client.get_model_customization_job(jobIdentifier=identifier)
        return JobView(
            name=reply["jobName"],
            arn=reply["jobArn"],
            status=reply.get("status", ""),
            model_arn=reply.get("outputModelArn", ""),
            failure=reply.get("failureMessage", ""),
        )

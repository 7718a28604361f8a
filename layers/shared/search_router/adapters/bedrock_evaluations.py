"""Bedrock's evaluation jobs: a judge reads responses that we bring along.

A repeated create call carries the same request token, or finds its name taken and adopts the job.
"""

from typing import TYPE_CHECKING, Any

from search_router.adapters.aws_errors import aws_errors
from search_router.domain.errors import ConflictError, InvalidInputError
from search_router.domain.lifecycle.judging import METRIC, RATINGS, JudgeRequest, JudgeView
from search_router.domain.naming import NAME_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock.type_defs import (
        CreateEvaluationJobRequestTypeDef,
        EvaluationPrecomputedInferenceSourceTypeDef,
    )


class BedrockEvaluationJobs:
    """Starts and follows evaluation jobs."""

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
        with aws_errors("list the evaluation jobs"):
            reply = self._client.list_evaluation_jobs(nameContains=job_name)
        found = [job["jobArn"] for job in reply.get("jobSummaries", [])]
        return found[0] if found else None


def _parameters(request: JudgeRequest) -> "CreateEvaluationJobRequestTypeDef":
    source: EvaluationPrecomputedInferenceSourceTypeDef = {
        "inferenceSourceIdentifier": request.source
    }
    return {
        "jobName": request.job_name,
        "clientRequestToken": request.job_name,
        "roleArn": request.role_arn,
        "applicationType": "ModelEvaluation",
        "jobTags": [{"key": "UseCase", "value": NAME_PREFIX}],
        "evaluationConfig": {"automated": _automated(request)},
        "inferenceConfig": {"models": [{"precomputedInferenceSource": source}]},
        "outputDataConfig": {"s3Uri": request.output_uri},
    }


def _automated(request: JudgeRequest) -> Any:  # the stubs cannot tell requests from replies here
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

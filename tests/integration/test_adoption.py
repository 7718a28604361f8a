"""A name that someone else has taken in the account is not adopted."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from search_router.adapters.bedrock import BedrockDeployments, BedrockDistillationJobs
from search_router.domain.errors import ConflictError
from search_router.domain.lifecycle.distillation import DistillationJob

MODEL = (
    "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-micro-v1:0:128k/abcdefghijkl"
)
OTHER = MODEL.replace("abcdefghijkl", "zzzzzzzzzzzz")
DEPLOYMENT = "arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/abcdefghijkl"
JOB = "arn:aws:bedrock:us-east-1:123456789012:model-customization-job/x/abcdefghijkl"
WHEN = "2026-11-30T00:00:00Z"


def client(operation: str, reply: dict[str, Any], times: int, create: str) -> Any:
    """Return a client whose create call finds the name taken, and reads `reply` after it."""
    bedrock = boto3.client(
        "bedrock",
        "us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106
    )
    stubber = Stubber(bedrock)
    stubber.add_client_error(create, "ConflictException", http_status_code=400)
    for _ in range(times):
        stubber.add_response(operation, reply)
    stubber.activate()
    return bedrock


def deployment(model: str) -> dict[str, Any]:
    return {
        "customModelDeploymentArn": DEPLOYMENT,
        "modelDeploymentName": "ours",
        "modelArn": model,
        "createdAt": WHEN,
        "status": "Active",
        "lastUpdatedAt": WHEN,
    }


def test_a_deployment_of_our_model_is_adopted_and_of_another_is_not() -> None:
    create, read = "create_custom_model_deployment", "get_custom_model_deployment"
    ours = BedrockDeployments(client(read, deployment(MODEL), 2, create))
    theirs = BedrockDeployments(client(read, deployment(OTHER), 1, create))

    assert ours.deploy("ours", MODEL) == DEPLOYMENT
    with pytest.raises(ConflictError):
        theirs.deploy("ours", MODEL)


def job_reply(uri: str) -> dict[str, Any]:
    return {
        "jobArn": JOB,
        "jobName": "search-router-1",
        "outputModelName": "search-router-1",
        "roleArn": "arn:aws:iam::123456789012:role/role",
        "creationTime": WHEN,
        "baseModelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v1:0",
        "trainingDataConfig": {"s3Uri": uri},
        "validationDataConfig": {"validators": []},
        "outputDataConfig": {"s3Uri": "s3://data/runs/run-1/distillation"},
    }


def test_a_job_on_our_data_is_adopted_and_on_other_data_is_not() -> None:
    job = DistillationJob(
        name="search-router-1",
        teacher="amazon.nova-pro-v1:0",
        student="amazon.nova-micro-v1:0:128k",
        role_arn="arn:aws:iam::123456789012:role/role",
        training_uri="s3://data/runs/run-2/training.jsonl",
        output_uri="s3://data/runs/run-2/distillation",
        tags=(("Run", "run-2"),),
    )
    create, read = "create_model_customization_job", "get_model_customization_job"
    twin = job_reply("s3://data/runs/run-1/training.jsonl")
    ours = BedrockDistillationJobs(client(read, twin, 2, create))
    foreign = job_reply("s3://their-data/runs/run-1/training.jsonl")
    theirs = BedrockDistillationJobs(client(read, foreign, 1, create))

    assert ours.start_job(job) == JOB
    with pytest.raises(ConflictError):
        theirs.start_job(job)

"""Replies of Bedrock's control plane that the fake does not give, and the tags of judge jobs."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from router_cli.teardown import BedrockResources
from search_router.adapters.bedrock import (
    BedrockDeployments,
    BedrockDistillationJobs,
    BedrockEvaluationJobs,
)
from search_router.domain.errors import InvalidInputError
from search_router.domain.lifecycle.distillation import DistillationJob
from search_router.domain.lifecycle.judging import JudgeRequest
from search_router.domain.lifecycle.runs import RunState
from tests.integration.fake_bench import ROLE, Bench
from tests.records import a_run

RUN = "run-0123456789ab"
JOB = DistillationJob(
    name="search-router-1",
    teacher="amazon.nova-pro-v1:0",
    student="amazon.nova-micro-v1:0:128k",
    role_arn=ROLE,
    training_uri="s3://data/training.jsonl",
    output_uri="s3://data/output",
    tags=(("Run", RUN),),
)
REQUEST = JudgeRequest(
    job_name="search-router-judge-1",
    judge="us.anthropic.claude-haiku-4-5-20251001-v1:0",
    role_arn=ROLE,
    source="candidate",
    instructions="Grade it. {{prompt}} {{ground_truth}} {{prediction}}",
    dataset_uri="s3://data-bucket/runs/judge/dataset.jsonl",
    output_uri="s3://data-bucket/runs/judge/output",
    tags=(("Run", RUN),),
)


@pytest.fixture
def client() -> Any:
    return boto3.Session("test", "test", region_name="us-east-1").client("bedrock")


@pytest.fixture
def stubber(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "ValidationException"])
def test_a_job_that_never_existed_does_not_hide_why_it_cannot_start(
    client: Any, stubber: Stubber, code: str
) -> None:
    """GetModelCustomizationJob lists both codes; AWS does not say which a free name gets."""
    stubber.add_client_error(
        "create_model_customization_job", "ValidationException", "row 7 is too long", 400
    )
    stubber.add_client_error("get_model_customization_job", code, "no such job", 400)

    with pytest.raises(InvalidInputError, match="row 7 is too long"):
        BedrockDistillationJobs(client).start_job(JOB)


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "ValidationException"])
def test_a_deployment_that_never_existed_does_not_hide_why_it_cannot_start(
    client: Any, stubber: Stubber, code: str
) -> None:
    stubber.add_client_error(
        "create_custom_model_deployment", "ValidationException", "not customizable", 400
    )
    stubber.add_client_error("get_custom_model_deployment", code, "no such deployment", 400)

    with pytest.raises(InvalidInputError, match="not customizable"):
        BedrockDeployments(client).deploy("serving", "arn:aws:bedrock:us-east-1::custom-model/m")


def summary(name: str, number: int) -> dict[str, Any]:
    return {
        "jobArn": f"arn:aws:bedrock:us-east-1:123456789012:evaluation-job/{number:012d}",
        "jobName": name,
        "status": "InProgress",
        "creationTime": 0,
        "jobType": "Automated",
        "evaluationTaskTypes": ["Custom"],
    }


def test_a_judges_job_is_adopted_by_its_exact_name_from_any_page(
    client: Any, stubber: Stubber
) -> None:
    stubber.add_client_error("create_evaluation_job", "ConflictException", "name in use", 400)
    pages = ([summary(f"{REQUEST.job_name}0", 1)], [summary(REQUEST.job_name, 2)])
    stubber.add_response("list_evaluation_jobs", {"jobSummaries": pages[0], "nextToken": "more"})
    stubber.add_response("list_evaluation_jobs", {"jobSummaries": pages[1]})

    assert BedrockEvaluationJobs(client).start(REQUEST).endswith("/000000000002")


def test_cleanup_finds_and_stops_a_judges_job(bench: Bench) -> None:
    bench.objects[REQUEST.dataset_uri] = (
        b'{"prompt": "waves", "referenceResponse": "{}",'
        b' "modelResponses": [{"response": "{}", "modelIdentifier": "candidate"}]}\n'
    )
    BedrockEvaluationJobs(bench.bedrock).start(REQUEST)
    resources = BedrockResources(bench.bedrock, [a_run(RunState.PROMOTED, run_id=RUN)])

    assert [(it.kind, it.name) for it in resources.remaining()] == [
        ("evaluation job", REQUEST.job_name)
    ]
    resources.delete()
    statuses = {it["status"] for it in bench.bedrock.list_evaluation_jobs()["jobSummaries"]}
    assert statuses <= {"Stopping", "Stopped"}

"""What the published sample does wrong, one test each: the fake rejects it as Bedrock does.

The sample is the AWS blog post of 2026-04-17 on distilling a video-search router; where it only
reads a reply wrongly, the test holds that the fake's reply is the one that breaks it.
"""

import json
from typing import Any

import pytest
from botocore.exceptions import NoRegionError

from local_stack.bedrock_fake import FakeBedrock, FakeSettings
from tests.integration.fake_bench import (
    BASE,
    NO_RETRIES,
    SESSION,
    TRAINING_OBJECT,
    Bench,
    invalid,
    rejected,
    teacher,
    text_of,
)
from tests.integration.test_bedrock_fake_evaluation import JOB, METRIC, changed

# Printed in the post as one training record: the quotes inside the label are not escaped.
SAMPLE_RECORD = (
    b'{"schemaVersion": "bedrock-conversation-2024", "system": [{"text": "Return JSON"}], '
    b'"messages": [{"role": "user", "content": [{"text": "Olivia talking to her mom"}]}, '
    b'{"role": "assistant", "content": [{"text": " {"visual": 0.2, "audio": 0.1}"}]}]}'
)


def test_1_the_teacher_is_retired(bench: Bench) -> None:
    with invalid("end of life"):
        bench.create_job(customizationConfig=teacher("us.amazon.nova-premier-v1:0"))


def test_2_the_reply_of_a_deployment_has_another_key(bench: Bench) -> None:
    reply: Any = bench.bedrock.create_custom_model_deployment(
        modelDeploymentName="router", modelArn=bench.create_model()
    )

    with pytest.raises(KeyError):
        reply["modelDeploymentArn"]
    assert reply["customModelDeploymentArn"]


def test_3_a_deployment_becomes_active_not_in_service(bench: Bench) -> None:
    arn = bench.deploy()

    reply = bench.bedrock.get_custom_model_deployment(customModelDeploymentIdentifier=arn)

    assert reply["status"] == "Active"
    with invalid("enum value set"):
        bench.bedrock.list_custom_model_deployments(statusEquals="InService")  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["Training", "Complete"])
def test_4_jobs_have_no_such_status(bench: Bench, status: Any) -> None:
    bench.create_job()
    assert bench.job("run-1")["status"] == "InProgress"

    with invalid("enum value set"):
        bench.bedrock.list_model_customization_jobs(statusEquals=status)


def test_5_a_distilled_models_arn_cannot_be_asked(bench: Bench) -> None:
    model = bench.create_model()

    with invalid("regular expression pattern"):
        bench.ask(model)


def test_6_an_answers_content_is_a_list(bench: Bench) -> None:
    reply = bench.ask(bench.deploy())

    with pytest.raises(TypeError):
        reply["output"]["message"]["content"]["text"]


def test_7_without_its_system_prompt_the_student_answers_in_prose(bench: Bench) -> None:
    deployment = bench.deploy()

    assert text_of(bench.ask(deployment)).startswith("{")
    assert not text_of(bench.ask(deployment, system=[])).startswith("{")


def test_8_the_printed_record_is_no_json(bench: Bench) -> None:
    bench.objects[TRAINING_OBJECT] = b"\n".join([SAMPLE_RECORD] * 100)
    bench.create_job()
    bench.clock.advance(60)

    job = bench.job("run-1")

    assert job["status"] == "Failed"
    assert "0 valid records of 100" in job["failureMessage"]


def test_9a_the_rating_scale_has_another_name(bench: Bench) -> None:
    scale = [{"definition": "Excellent", "value": {"floatValue": 5}}]
    job = changed(f"{METRIC}/rating_scale", scale)  # boto3 would not even send it

    reply = bench.fake.answer("POST", "/evaluation-jobs", json.dumps(job).encode())

    assert (reply.status, reply.error_type) == (400, "ValidationException")
    assert b"Unknown parameter" in reply.body
    assert b"rating_scale" in reply.body


def test_9b_its_definitions_are_too_long(bench: Bench) -> None:
    long = "All weights are within five hundredths of the reference and well reasoned"
    scale = [{"definition": long, "value": {"floatValue": 5}}]

    with invalid("more than 5 words"):
        bench.bedrock.create_evaluation_job(**changed(f"{METRIC}/ratingScale", scale))


def test_11a_a_fixed_model_name_collides_on_the_second_run(bench: Bench) -> None:
    bench.create_job("run-1", customModelName="video-router")

    with rejected("ConflictException", 400, "model name is currently in use"):
        bench.create_job("run-2", customModelName="video-router")


def test_11b_a_deployment_named_by_its_date_collides_on_the_second_run(bench: Bench) -> None:
    model = bench.create_model()
    bench.create_deployment(model, "router-2026-11-20")

    with invalid("name is currently in use"):
        bench.create_deployment(model, "router-2026-11-20")


def test_11c_a_random_token_buys_a_second_job_where_the_name_is_free(bench: Bench) -> None:
    bench.create_job("run-1", clientRequestToken="random-1")

    with rejected("ConflictException", 400, "job name is currently in use"):
        bench.create_job("run-1", clientRequestToken="random-2")


def test_11d_a_client_needs_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3  # noqa: PLC0415 - a session of its own, without the tests' region

    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(NoRegionError):
        boto3.Session().client("bedrock")


def test_11e_nova_is_distilled_in_one_region_only() -> None:
    with FakeBedrock(FakeSettings(region="us-west-2")) as fake:
        client = SESSION.client("bedrock", endpoint_url=fake.url, config=NO_RETRIES)
        with invalid("us-east-1 only"):
            client.create_model_customization_job(
                jobName="run-1",
                customModelName="router",
                roleArn="arn:aws:iam::000000000000:role/DistillationRole",
                baseModelIdentifier=f"{BASE}:128k",
                customizationType="DISTILLATION",
                customizationConfig={
                    "distillationConfig": {
                        "teacherModelConfig": {"teacherModelIdentifier": "amazon.nova-pro-v1:0"}
                    }
                },
                trainingDataConfig={"s3Uri": TRAINING_OBJECT},
                outputDataConfig={"s3Uri": "s3://data-bucket/output"},
            )
        client.close()


@pytest.mark.parametrize("kind", ["deployment", "model"])
def test_12_an_evaluation_job_cannot_ask_what_was_distilled(bench: Bench, kind: str) -> None:
    deployment = bench.deploy()
    model = bench.bedrock.list_custom_models()["modelSummaries"][0]["modelArn"]
    identifier = deployment if kind == "deployment" else model
    candidate = {"models": [{"bedrockModel": {"modelIdentifier": identifier}}]}

    with invalid("regular expression pattern"):
        bench.bedrock.create_evaluation_job(**{**JOB, "inferenceConfig": candidate})

"""Real boto3 clients against the Bedrock fake: its behaviour, errors and events."""

import http.client
import json
import select
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local_stack.bedrock_fake import (
    StateChangeEvent,
    VirtualClock,
)
from local_stack.bedrock_fake.aws import EventBridgePublisher, S3Objects
from local_stack.bedrock_fake.customization_jobs import MIN_RECORDS
from local_stack.bedrock_fake.server import HttpReply, LoopbackServer
from local_stack.loopback import LoopbackClients
from tests.integration.fake_bench import (
    BASE,
    NO_RETRIES,
    SESSION,
    STUDENT,
    TEACHER,
    TRAINING_OBJECT,
    Bench,
    invalid,
    rejected,
    teacher,
    text_of,
    training_object,
)
from tests.waiting import PATIENCE_SECONDS

# --- the chain -----------------------------------------------------------------------------------


def test_a_dataset_becomes_a_model_that_answers(bench: Bench) -> None:
    # GIVEN a job on a labelled dataset
    job_arn = bench.create_job()
    assert bench.job(job_arn)["status"] == "InProgress"
    assert "outputModelArn" not in bench.job(job_arn)

    # WHEN its time is over and its model is deployed
    bench.clock.advance(60)
    job = bench.job("run-1")
    assert (job["jobArn"], job["status"]) == (job_arn, "Completed")
    deployment = bench.create_deployment(job["outputModelArn"])
    bench.clock.advance(30)

    # THEN Converse answers as it was labelled, with usage and latency
    reply = bench.ask(deployment)
    assert json.loads(text_of(reply)) == {"visual": 0.8, "audio": 0.2}
    assert reply["stopReason"] == "end_turn"
    assert reply["usage"] == {"inputTokens": 27, "outputTokens": 8, "totalTokens": 35}
    assert reply["metrics"]["latencyMs"] == 1


def test_identifiers_have_bedrocks_shape_and_repeat_between_runs(bench: Bench) -> None:
    deployment = bench.deploy()
    prefix = "arn:aws:bedrock:us-east-1:000000000000:"

    assert bench.job("run-1")["jobArn"] == (
        prefix + "model-customization-job/amazon.nova-micro-v1:0:128k/c1c0d7e27bce"
    )
    assert deployment.startswith(prefix + "custom-model-deployment/")
    assert bench.job("run-1")["baseModelArn"].endswith("::foundation-model/" + STUDENT)


# --- customization jobs --------------------------------------------------------------------------


def test_the_same_token_buys_one_job(bench: Bench) -> None:
    first = bench.create_job()

    assert bench.create_job() == first
    assert len(bench.bedrock.list_model_customization_jobs()["modelCustomizationJobSummaries"]) == 1


def test_a_token_used_for_something_else_is_a_conflict(bench: Bench) -> None:
    bench.create_job()

    with rejected("ConflictException", 400, "different parameters"):
        bench.create_job("run-2", clientRequestToken="token-run-1")


def test_names_of_jobs_and_models_are_unique(bench: Bench) -> None:
    bench.create_job()

    with rejected("ConflictException", 400, "job name is currently in use"):
        bench.create_job(clientRequestToken="another", customModelName="other")
    with rejected("ConflictException", 400, "model name is currently in use"):
        bench.create_job("run-2", customModelName="router-run-1")
    bench.clock.advance(60)
    with rejected("ConflictException", 400, "model name is currently in use"):
        bench.create_job("run-2", customModelName="router-run-1")


def test_the_model_name_of_a_failed_job_is_free_again(bench: Bench) -> None:
    bench.objects[TRAINING_OBJECT] = training_object(MIN_RECORDS - 1)
    bench.create_job()
    bench.clock.advance(60)

    assert bench.create_job("run-1-attempt-2", customModelName="router-run-1")


@pytest.mark.parametrize(
    "changes",
    [
        {"jobName": "run_1"},
        {"customModelName": "router--1"},
        {"clientRequestToken": "token_1"},
        {"roleArn": "DistillationRole"},
        {"trainingDataConfig": {"s3Uri": "s3://data-bucket/dt=2026-11-20/training.jsonl"}},
        {"trainingDataConfig": {"s3Uri": "s3://data-bucket/2026-11-20T12:00/training.jsonl"}},
        {"outputDataConfig": {"s3Uri": "s3://data-bucket//output"}},
        {"outputDataConfig": {}},
        {"customizationType": "DISTILATION"},
        {"customizationConfig": {}},
        {"customizationConfig": {"distillationConfig": {}}},
        {"jobTags": [{"key": "owner%", "value": "x"}]},
        {"customizationConfig": teacher("amazon.nova-premier-v1:0")},
        {"customizationConfig": teacher("us.amazon.nova-premier-v1:0")},
        {"customizationConfig": teacher("anthropic.claude-sonnet-4-5-20250929-v1:0")},
        {"customizationConfig": teacher(BASE)},
        {"baseModelIdentifier": BASE},
        {"baseModelIdentifier": "amazon.nova-pro-v1:0:300k"},
    ],
)
def test_a_job_that_bedrock_rejects_is_rejected(bench: Bench, changes: dict[str, Any]) -> None:
    with invalid():
        bench.create_job(**changes)


@pytest.mark.parametrize(
    "identifier",
    [
        "us.amazon.nova-pro-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0",
        "arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.amazon.nova-pro-v1:0",
    ],
)
def test_the_teacher_may_be_named_by_profile_or_arn(bench: Bench, identifier: str) -> None:
    assert bench.create_job(customizationConfig=teacher(identifier))


def test_other_customizations_are_not_implemented(bench: Bench) -> None:
    with rejected("UnimplementedException", 501):
        bench.create_job(customizationType="FINE_TUNING")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (training_object(99), "99 valid records of 99, the minimum is 100"),
        (training_object(99) + b"\n{}\nnot json", "99 valid records of 101"),
        (None, "cannot be read"),
    ],
)
def test_unusable_training_data_fails_the_job_with_the_reason(
    bench: Bench, body: bytes | None, reason: str
) -> None:
    if body is None:
        bench.objects.clear()
    else:
        bench.objects[TRAINING_OBJECT] = body
    arn = bench.create_job()

    bench.clock.advance(6)

    job = bench.job(arn)
    assert (job["status"], job["endTime"]) == ("Failed", bench.clock.now())
    assert reason in job["failureMessage"]
    assert _phases(job) == ["Failed", "NotStarted", "NotStarted"]
    with rejected("ResourceNotFoundException", 404):
        bench.bedrock.get_custom_model(modelIdentifier="router-run-1")


def test_a_job_can_be_made_to_fail(bench: Bench) -> None:
    bench.fake.change(job_failure="Internal training error.")
    bench.create_job()

    bench.clock.advance(60)
    bench.fake.process_due()

    assert bench.job("run-1")["failureMessage"] == "Internal training error."
    assert bench.events[0].detail["failureMessage"] == "Internal training error."


def _phases(job: dict[str, Any]) -> list[str]:
    names = ("validationDetails", "dataProcessingDetails", "trainingDetails")
    return [job["statusDetails"][name]["status"] for name in names]


def test_status_details_follow_the_clock(bench: Bench) -> None:
    bench.create_job()
    seen = []
    for _ in range(3):
        bench.clock.advance(20)
        seen.append(_phases(bench.job("run-1")))

    assert seen == [
        ["Completed", "InProgress", "NotStarted"],
        ["Completed", "Completed", "InProgress"],
        ["Completed", "Completed", "Completed"],
    ]


def test_a_stopped_job_makes_no_model(bench: Bench) -> None:
    bench.create_job()
    bench.clock.advance(20)

    bench.bedrock.stop_model_customization_job(jobIdentifier="run-1")

    assert bench.job("run-1")["status"] == "Stopping"
    bench.clock.advance(600)
    assert bench.job("run-1")["status"] == "Stopped"
    assert _phases(bench.job("run-1")) == ["Completed", "Stopped", "NotStarted"]
    with rejected("ConflictException", 400, "its status is Stopped"):
        bench.bedrock.stop_model_customization_job(jobIdentifier="run-1")


def test_an_unknown_job_is_not_found(bench: Bench) -> None:
    for call in (
        bench.bedrock.get_model_customization_job,
        bench.bedrock.stop_model_customization_job,
    ):
        with rejected("ResourceNotFoundException", 404):
            call(jobIdentifier="unknown")


def test_jobs_are_listed_in_pages_newest_first(bench: Bench) -> None:
    for number in range(5):
        bench.create_job(f"run-{number}")
        bench.clock.advance(10)
    paginator = bench.bedrock.get_paginator("list_model_customization_jobs")

    def names(**filters: Any) -> list[str]:
        pages = paginator.paginate(PaginationConfig={"PageSize": 2}, **filters)
        return [job["jobName"] for page in pages for job in page["modelCustomizationJobSummaries"]]

    assert names() == ["run-4", "run-3", "run-2", "run-1", "run-0"]
    assert names(sortOrder="Ascending", nameContains="run-") == names()[::-1]
    assert names(nameContains="run-3") == ["run-3"]
    assert names(creationTimeAfter=bench.job("run-3")["creationTime"]) == ["run-4", "run-3"]
    bench.clock.advance(10)
    assert names(statusEquals="Completed") == ["run-0"]
    with invalid("next token"):
        bench.bedrock.list_model_customization_jobs(nextToken="page-2")


# --- events --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["Completed", "Failed", "Stopped"])
def test_each_end_of_a_job_is_published_once(bench: Bench, end: str) -> None:
    # GIVEN a job about to end so
    if end == "Failed":
        bench.objects.clear()
    arn = bench.create_job()
    if end == "Stopped":
        bench.bedrock.stop_model_customization_job(jobIdentifier=arn)
    bench.fake.process_due()
    assert not bench.events

    # WHEN it has ended and the fake settles twice
    bench.clock.advance(60)
    bench.fake.process_due()
    bench.fake.process_due()

    # THEN one event has the fields of Get
    [event] = bench.events
    job = bench.job(arn)
    assert event.job_arn == arn
    assert event.time == job["endTime"]
    assert event.detail["jobStatus"] == job["status"] == end
    for name in ("jobArn", "jobName", "roleArn", "outputModelName", "baseModelArn"):
        assert event.detail[name] == job[name]
    assert event.detail.get("failureMessage") == job.get("failureMessage")
    assert json.dumps(event.detail)


TAKEN = HttpReply(200, b'{"FailedEntryCount": 0, "Entries": []}')


@dataclass
class Neighbours:
    """An S3 with one object and an EventBridge with a fixed reply, on one address."""

    url: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    bus_reply: HttpReply = TAKEN

    def answer(self, method: str, target: str, body: bytes) -> HttpReply:
        if method == "POST":
            self.entries += json.loads(body)["Entries"]
            return self.bus_reply
        if target == "/data-bucket/runs/run-1/training.jsonl":
            return HttpReply(200, training_object())
        return HttpReply(404, b"<Error><Code>NoSuchKey</Code></Error>")

    @property
    def clients(self) -> LoopbackClients:
        return LoopbackClients(self.url)


@pytest.fixture
def neighbours() -> Iterator[Neighbours]:
    neighbours = Neighbours("")
    server = LoopbackServer(neighbours.answer, port=0)
    neighbours.url = server.url
    server.start()
    yield neighbours
    server.stop()


def test_training_objects_are_read_from_the_s3_of_the_settings(neighbours: Neighbours) -> None:
    reader = S3Objects(neighbours.clients).read

    assert reader(TRAINING_OBJECT) == training_object()
    with pytest.raises(LookupError):
        reader(TRAINING_OBJECT + ".gz")


def test_events_reach_the_bus_of_the_settings(neighbours: Neighbours) -> None:
    publisher = EventBridgePublisher(neighbours.clients)
    now = VirtualClock().now()

    publisher(StateChangeEvent(now, "arn:aws:bedrock:job", {"jobStatus": "Completed"}))

    assert neighbours.entries == [
        {
            "Source": "aws.bedrock",
            "DetailType": "Model Customization Job State Change",
            "Resources": ["arn:aws:bedrock:job"],
            "Time": now.timestamp(),
            "Detail": '{"jobStatus": "Completed"}',
        }
    ]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (HttpReply(400, b"{}", "InternalFailure"), "event lost"),
        (HttpReply(200, b'{"FailedEntryCount": 1, "Entries": []}'), "event rejected"),
    ],
)
def test_an_event_the_bus_does_not_take_is_lost_and_logged(
    neighbours: Neighbours, caplog: pytest.LogCaptureFixture, reply: HttpReply, message: str
) -> None:
    neighbours.bus_reply = reply
    publisher = EventBridgePublisher(neighbours.clients)

    publisher(StateChangeEvent(VirtualClock().now(), "arn:aws:bedrock:job", {}))

    assert [record.message for record in caplog.records] == [message]


# --- custom models and deployments ---------------------------------------------------------------


def test_a_custom_model_has_the_fields_of_its_job(bench: Bench) -> None:
    arn = bench.create_model()

    by_arn = bench.bedrock.get_custom_model(modelIdentifier=arn)
    by_name = bench.bedrock.get_custom_model(modelIdentifier="router-run-1")

    assert (by_arn["modelArn"], by_arn["modelName"]) == (arn, "router-run-1")
    assert by_arn["jobArn"] == bench.job("run-1")["jobArn"]
    assert by_arn["trainingDataConfig"] == {"s3Uri": TRAINING_OBJECT}
    assert by_name["modelArn"] == arn


def test_a_deployment_becomes_active_and_can_be_deleted(bench: Bench) -> None:
    arn = bench.create_deployment(bench.create_model(), description="the champion")

    def deployment(identifier: str) -> dict[str, Any]:
        found = bench.bedrock.get_custom_model_deployment(
            customModelDeploymentIdentifier=identifier
        )
        return dict(found)

    assert deployment(arn)["status"] == "Creating"
    with rejected("ModelNotReadyException", 429):
        bench.ask(arn)
    with rejected("ConflictException", 400):
        bench.bedrock.delete_custom_model_deployment(customModelDeploymentIdentifier=arn)
    bench.clock.advance(30)
    found = deployment("router")
    assert (found["customModelDeploymentArn"], found["status"]) == (arn, "Active")
    assert found["description"] == "the champion"

    bench.bedrock.delete_custom_model_deployment(customModelDeploymentIdentifier="router")

    with rejected("ResourceNotFoundException", 404):
        deployment(arn)
    with rejected("ResourceNotFoundException", 404):
        bench.ask(arn)
    assert bench.create_deployment(bench.job("run-1")["outputModelArn"]) != arn


def test_the_same_token_makes_one_deployment(bench: Bench) -> None:
    model = bench.create_model()
    first = bench.create_deployment(model, clientRequestToken="once")

    assert bench.create_deployment(model, clientRequestToken="once") == first
    with invalid("different parameters"):
        bench.create_deployment(model, "other", clientRequestToken="once")
    with invalid("name is currently in use"):
        bench.create_deployment(model)


def test_the_eleventh_deployment_exceeds_the_quota(bench: Bench) -> None:
    model = bench.create_model()
    for number in range(10):
        bench.create_deployment(model, f"router-{number}")
        bench.clock.advance(30)

    with rejected("ServiceQuotaExceededException", 400, "maximum of 10 custom"):
        bench.create_deployment(model, "router-10")


def test_the_third_deployment_in_progress_exceeds_the_quota(bench: Bench) -> None:
    model = bench.create_model()
    for number in range(2):
        bench.create_deployment(model, f"router-{number}")

    with rejected("ServiceQuotaExceededException", 400, "maximum of 2 deployments in progress"):
        bench.create_deployment(model, "router-2")

    bench.clock.advance(30)
    assert bench.create_deployment(model, "router-2")


def test_a_deployment_can_be_made_to_fail(bench: Bench) -> None:
    model = bench.create_model()
    bench.fake.change(deployment_failure="Internal error.")
    arn = bench.create_deployment(model)
    bench.clock.advance(30)

    reply = bench.bedrock.get_custom_model_deployment(customModelDeploymentIdentifier=arn)

    assert (reply["status"], reply["failureMessage"]) == ("Failed", "Internal error.")
    with invalid("not active"):
        bench.ask(arn)
    bench.bedrock.delete_custom_model_deployment(customModelDeploymentIdentifier=arn)


def test_models_are_listed_and_deleted_once_nothing_needs_them(bench: Bench) -> None:
    deployment = bench.deploy()
    models = bench.bedrock.list_custom_models(isOwned=True)["modelSummaries"]
    assert [model["modelName"] for model in models] == ["router-run-1"]

    with rejected("ConflictException", 400, "has a custom model deployment"):
        bench.bedrock.delete_custom_model(modelIdentifier=models[0]["modelArn"])
    bench.bedrock.delete_custom_model_deployment(customModelDeploymentIdentifier=deployment)
    bench.bedrock.delete_custom_model(modelIdentifier=models[0]["modelArn"])

    assert bench.bedrock.list_custom_models()["modelSummaries"] == []
    with rejected("ResourceNotFoundException", 404):
        bench.bedrock.delete_custom_model(modelIdentifier="router-run-1")


def test_the_eleventh_open_job_exceeds_the_quota(bench: Bench) -> None:
    for number in range(10):
        bench.create_job(f"run-{number}")

    with rejected("ServiceQuotaExceededException", 400, "maximum of 10 scheduled"):
        bench.create_job("run-10")

    bench.clock.advance(60)
    assert bench.create_job("run-10")


def test_tags_are_listed(bench: Bench) -> None:
    tags = [{"key": "stack", "value": "search-router"}]
    job = bench.create_job(jobTags=tags, customModelTags=tags)
    bench.clock.advance(60)
    model = bench.job(job)["outputModelArn"]
    deployment = bench.create_deployment(model, tags=tags)

    for arn in (job, model, deployment):
        assert bench.bedrock.list_tags_for_resource(resourceARN=arn)["tags"] == tags
    with rejected("TooManyTagsException", 400):
        many: Any = [{"key": f"k{number}", "value": ""} for number in range(51)]
        bench.create_job("run-2", customModelTags=many)
    with rejected("ResourceNotFoundException", 404):
        bench.bedrock.list_tags_for_resource(resourceARN=model[:-1] + "x")


def test_deployments_are_listed_with_their_filters(bench: Bench) -> None:
    old = bench.create_deployment(bench.create_model("run-1"), "old")
    new = bench.create_deployment(bench.create_model("run-2"), "new")

    def arns(**filters: Any) -> list[str]:
        pages = bench.bedrock.get_paginator("list_custom_model_deployments").paginate(
            PaginationConfig={"PageSize": 1}, **filters
        )
        found = [entry for page in pages for entry in page["modelDeploymentSummaries"]]
        return [entry["customModelDeploymentArn"] for entry in found]

    assert arns() == [new, old]
    assert arns(statusEquals="Active") == [old]
    assert arns(nameContains="ne") == [new]
    assert arns(modelArnEquals=bench.job("run-1")["outputModelArn"]) == [old]


@pytest.mark.parametrize(
    "request_",
    [
        {"modelDeploymentName": "a.b", "modelArn": "MODEL"},
        {"modelDeploymentName": "a", "modelArn": "router-run-1"},
        {"modelDeploymentName": "a"},
    ],
)
def test_a_deployment_that_bedrock_does_not_accept_is_rejected(
    bench: Bench, request_: dict[str, Any]
) -> None:
    model = bench.create_model()
    with invalid():
        bench.bedrock.create_custom_model_deployment(
            **{k: v.replace("MODEL", model) for k, v in request_.items()}
        )


def test_an_unknown_model_cannot_be_deployed(bench: Bench) -> None:
    arn = (
        "arn:aws:bedrock:us-east-1:000000000000:custom-model/amazon.nova-micro-v1:0:128k/"
        + "0" * 12
    )

    with rejected("ResourceNotFoundException", 404):
        bench.create_deployment(arn)


# --- foundation models ---------------------------------------------------------------------------


def test_the_lifecycle_of_the_models_is_that_of_the_date(bench: Bench) -> None:
    def lifecycle(model: str) -> Any:
        reply = bench.bedrock.get_foundation_model(modelIdentifier=model)
        return reply["modelDetails"]["modelLifecycle"]

    assert lifecycle(TEACHER)["status"] == lifecycle(BASE)["status"] == "ACTIVE"
    assert lifecycle(STUDENT)["status"] == "ACTIVE"
    premier = lifecycle("amazon.nova-premier-v1:0")
    assert premier["status"] == "LEGACY"
    assert premier["endOfLifeTime"].date().isoformat() <= "2026-09-14" < str(bench.clock.now())
    with rejected("ResourceNotFoundException", 404):
        lifecycle("amazon.nova-ultra-v1:0")
    with rejected("ResourceNotFoundException", 404):
        lifecycle("us.amazon.nova-pro-v1:0")


# --- converse ------------------------------------------------------------------------------------


def test_converse_rejects_the_mistakes_of_the_published_sample(bench: Bench) -> None:
    deployment = bench.deploy()

    with invalid("modelId.*regular expression"):
        bench.ask(bench.job("run-1")["outputModelArn"])
    with rejected("ResourceNotFoundException", 404, "end of its life"):
        bench.ask("us.amazon.nova-premier-v1:0")
    with invalid("on-demand throughput"):
        bench.ask(STUDENT)
    with invalid("model identifier is invalid"):
        bench.ask("amazon.nova-ultra-v1:0")
    # The sample forgets the system prompt: the model then does not answer with JSON.
    assert "{" not in text_of(bench.ask(deployment, system=[]))


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": []},
        {"messages": [{"role": "assistant", "content": [{"text": "a"}]}]},
        {"messages": [{"role": "user", "content": [{"text": " "}]}]},
        {"messages": [{"role": "user", "content": []}]},
        {"messages": [{"role": "user", "content": [{"text": "a"}]}] * 2},
        {"messages": [{"role": "system", "content": [{"text": "a"}]}]},
        {"messages": [{"role": "user", "content": [{}]}]},
        {"inferenceConfig": {"maxTokens": 0}},
        {"inferenceConfig": {"temperature": 1.5}},
        {"requestMetadata": {"query": "what?"}},
        {"outputConfig": {"textFormat": {"type": "json_schema"}}},
    ],
)
def test_converse_rejects_what_bedrock_rejects(bench: Bench, changes: dict[str, Any]) -> None:
    with invalid():
        bench.ask(BASE, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"inferenceConfig": {"stopSequences": ["}"]}},
        {"additionalModelRequestFields": {"inferenceConfig": {"topK": 1}}},
        {"system": [{"cachePoint": {"type": "default"}}]},
    ],
)
def test_converse_rejects_what_is_not_implemented(bench: Bench, changes: dict[str, Any]) -> None:
    with rejected("UnimplementedException", 501):
        bench.ask(BASE, **changes)


def test_an_unknown_deployment_is_not_found(bench: Bench) -> None:
    arn = "arn:aws:bedrock:us-east-1:000000000000:custom-model-deployment/" + "0" * 12

    with rejected("ResourceNotFoundException", 404):
        bench.ask(arn)


def test_an_answer_longer_than_max_tokens_is_cut(bench: Bench) -> None:
    reply = bench.ask(bench.deploy(), inferenceConfig={"maxTokens": 3})

    assert (reply["stopReason"], reply["usage"]["outputTokens"]) == ("max_tokens", 3)
    assert text_of(reply) == '{"visual": 0'


def test_the_teacher_and_the_base_student_answer_too(bench: Bench) -> None:
    weights = json.loads(text_of(bench.ask(TEACHER)))
    profile = json.loads(text_of(bench.ask("us.amazon.nova-pro-v1:0")))

    assert weights.keys() == {"visual", "audio"}
    assert profile == weights
    assert text_of(bench.ask(BASE))


def test_requests_beyond_the_quota_are_throttled_until_time_passes(bench: Bench) -> None:
    deployment = bench.deploy()
    bench.fake.change(requests_per_minute=60)
    bench.ask(deployment)

    with rejected("ThrottlingException", 429):
        bench.ask(deployment)

    bench.clock.advance(1)
    bench.ask(deployment)
    assert bench.fake.calls["Converse 429"] == 1
    assert bench.fake.calls["Converse 200"] == 2


def test_malformed_answers_can_be_turned_on(bench: Bench) -> None:
    deployment = bench.deploy()
    bench.fake.change(malformed_rate=1.0)

    reply = bench.ask(deployment)

    assert reply["stopReason"] == "max_tokens" or not text_of(reply).endswith("}")


def test_other_operations_are_not_implemented(bench: Bench) -> None:
    with rejected("UnimplementedException", 501, "does not implement ListGuardrails"):
        bench.bedrock.list_guardrails()
    with rejected("UnimplementedException", 501, "does not implement CountTokens"):
        bench.runtime.count_tokens(modelId=BASE, input={"converse": {}})


# --- the process of the local stack --------------------------------------------------------------


def test_many_threads_are_answered_at_once(bench: Bench) -> None:
    deployment = bench.deploy()
    answers: list[str] = []

    def ask() -> None:
        answers.extend(text_of(bench.ask(deployment)) for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == ['{"visual": 0.8, "audio": 0.2}'] * 30


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "local_stack.bedrock_fake", "--port", "0", "--job-seconds=1"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        process.kill()


def _read_url(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], 10)
    assert readable, "the fake printed nothing"
    return str(json.loads(process.stdout.readline())["url"])


def _fetch(url: str, fields: dict[str, Any] | None = None) -> Any:
    body = None if fields is None else json.dumps(fields).encode()
    with urllib.request.urlopen(url, body, timeout=PATIENCE_SECONDS) as reply:  # noqa: S310 - loopback
        return json.load(reply)


def test_the_process_serves_takes_settings_and_ends_with_its_stdin(
    process: subprocess.Popen[bytes],
) -> None:
    url = _read_url(process)
    bedrock = SESSION.client("bedrock", endpoint_url=url, config=NO_RETRIES)

    bedrock.get_foundation_model(modelIdentifier=TEACHER)
    bedrock.close()

    assert _fetch(url + "/_fake/settings", {"mean_latency_ms": 5})["mean_latency_ms"] == 5
    assert _fetch(url + "/_fake/health") == {
        "status": "ok",
        "calls": {"GetFoundationModel 200": 1},
    }
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    "changes", [{"aws_endpoint": "http://127.0.0.1:1"}, {"malformed_rate": 2}, ["job_seconds"]]
)
def test_a_setting_that_cannot_be_changed_is_refused_over_http(bench: Bench, changes: Any) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        _fetch(bench.fake.url + "/_fake/settings", changes)
    caught.value.close()


@pytest.mark.parametrize(
    ("headers", "has_token"),
    [
        ({}, False),
        ({"Origin": "https://evil.example"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Host": "evil.example"}, True),
    ],
)
def test_web_pages_and_other_users_are_refused(
    bench: Bench, headers: dict[str, str], has_token: bool
) -> None:
    address = urlsplit(bench.fake.url)
    for path in ("/_fake/settings", "/_fake/health"):
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
        connection.request("POST", (address.path if has_token else "") + path, "{}", headers)
        assert connection.getresponse().status == 403
        connection.close()

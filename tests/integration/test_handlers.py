"""Every function on what it was not sent for: bad files, stale and forged events, outages."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from pydantic import ValidationError

from functions.route_api.app import UNAVAILABLE
from search_router.dependencies import dependencies
from search_router.domain import naming
from search_router.domain.errors import UnavailableError
from search_router.domain.lifecycle.runs import RunState
from search_router.domain.logs.query_logs import LogState, QueryLog
from tests.aws_calls import Fault, aws_calls
from tests.conftest import FakeLambdaContext
from tests.fakes import START
from tests.integration.logs import Logs, captured_logs
from tests.integration.material import labelled, lines, query, rows, weights
from tests.integration.stack import Stack, invoke
from tests.integration.world import ACCOUNT, CACHE, REGION, UPLOADS
from tests.records import a_deployment, a_run, an_evaluation, dataset_of, gzipped, job_of

PROMPTS = labelled(300)
LOG = lines([{"query": query(n % 10)} for n in range(30)])
UPLOAD_FUNCTIONS = ("shard_prompts", "split_query_log")
RUN_FUNCTIONS = ("start_distillation", "evaluate_model", "promote_model")


@pytest.fixture
def logged() -> Iterator[Logs]:
    """Return a reader of the log lines written since it was last called."""
    with captured_logs() as read:
        yield read


# --- uploads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", UPLOAD_FUNCTIONS)
def test_s3s_test_event_is_ignored(stack: Stack, function: str) -> None:
    with stack.changing_nothing():
        stack.invoke(function, stack.load_event("s3_test_event"))


@pytest.mark.parametrize(
    ("function", "key"),
    [
        ("shard_prompts", "prompts/"),
        ("shard_prompts", "prompts/monday/"),
        ("shard_prompts", "prompts/monday/labels.jsonl"),
        ("split_query_log", "query-logs/"),
        ("split_query_log", "query-logs/monday/"),
    ],
)
def test_folders_and_what_lies_in_them_are_ignored(
    stack: Stack, function: str, key: str, logged: Logs
) -> None:
    source = stack.world.upload(key, b"")

    with stack.changing_nothing():
        stack.invoke(function, stack.upload_event(function, source))

    assert logged()[-1]["message"] == "event ignored"


@pytest.mark.parametrize(
    ("key", "body", "reason"),
    [
        ("prompts/a.csv", PROMPTS, "not a prompt file: prompts/a.csv. Upload .jsonl"),
        ("prompts/a.jsonl", b"", "the file has no rows"),
        ("prompts/a.jsonl", b"\n \n\n", "the file has no rows"),
        ("prompts/a.jsonl", b"query\n{}\n[]\n", "none of the 3 rows is valid"),
        ("prompts/a.jsonl", b"\x1f\x8b" + PROMPTS, "the gzip data is damaged"),
        ("prompts/a.jsonl.gz", gzipped(PROMPTS)[:-50], "the gzip data is truncated"),
        ("prompts/a.jsonl.gz", gzipped(b""), "the file has no rows"),
        ("prompts/a b+c%2B ü.jsonl", labelled(50), "Bedrock needs at least 100"),
    ],
)
def test_an_unusable_prompt_file_is_a_failed_run_with_its_reason(
    stack: Stack, key: str, body: bytes, reason: str
) -> None:
    run = stack.run_of(stack.upload(key, body))

    assert run.state is RunState.FAILED
    assert reason in run.reason
    assert stack.published() == [("RunFailed", {"run_id": run.run_id, "reason": run.reason})]
    assert (run.source.key, run.source.bucket) == (key, UPLOADS)


def test_rejected_lines_of_an_unusable_file_can_be_looked_up(stack: Stack) -> None:
    run = stack.run_of(stack.upload("prompts/a.jsonl", b"query\n{}\n[]\n"))

    objects = stack.world.data_objects()
    rejected = rows(objects[naming.run_key(run.run_id, "rejected.jsonl")])
    assert [(row["line_number"], row["text"]) for row in rejected] == [
        (1, "query"),
        (2, "{}"),
        (3, "[]"),
    ]
    assert (run.counts.rows_in, run.counts.rejected) == (3, 3)


def test_a_packed_prompt_file_is_read_like_a_plain_one(stack: Stack) -> None:
    plain = stack.run_of(stack.upload("prompts/a.jsonl", PROMPTS))
    packed = stack.run_of(stack.upload("prompts/a.jsonl.gz", gzipped(PROMPTS)))

    assert packed.state is plain.state is RunState.SHARDED
    assert dataset_of(packed).training_sha256 == dataset_of(plain).training_sha256


@pytest.mark.parametrize(
    ("key", "body", "reason"),
    [
        ("query-logs/a.parquet", LOG, "not a query log"),
        ("query-logs/monday/a.jsonl", LOG, "a file inside a folder"),
        ("query-logs/a.jsonl", b"", "the file is empty"),
        ("query-logs/a.txt", b" \n\n", "the file is empty"),
        ("query-logs/a.jsonl", b'{"text": "hello"}\n[]\nnot json\n', "no row has a query field"),
    ],
)
def test_an_unusable_query_log_is_a_failed_log_with_its_reason(
    stack: Stack, key: str, body: bytes, reason: str
) -> None:
    stack.serve()

    log = stack.log_of(stack.upload(key, body))

    assert log.state is LogState.FAILED
    assert reason in log.reason
    assert stack.world.messages() == []


def test_a_query_log_before_any_champion_fails_with_what_to_do(stack: Stack) -> None:
    log = stack.log_of(stack.upload("query-logs/a.jsonl", LOG))

    assert log.state is LogState.FAILED
    assert "Promote one, then upload the log again." in log.reason


@pytest.mark.parametrize(
    ("function", "key", "body"),
    [
        ("shard_prompts", "prompts/a.jsonl", PROMPTS),
        ("split_query_log", "query-logs/a.jsonl", LOG),
    ],
)
def test_a_version_deleted_before_its_event_is_a_recorded_failure(
    stack: Stack, function: str, key: str, body: bytes
) -> None:
    stack.serve()
    source = stack.world.upload(key, body)
    stack.world.upload(key, body)  # the current version is none of this event's business
    stack.world.erase(source)

    stack.invoke(function, stack.upload_event(function, source))

    if function == "shard_prompts":
        assert stack.run_of(source).state is RunState.FAILED
    else:
        assert stack.log_of(source).state is LogState.FAILED
    assert stack.world.messages() == []


def test_an_overwritten_file_is_read_as_it_was(stack: Stack) -> None:
    # GIVEN a file that was replaced before the event of its first version arrived
    first = stack.world.upload("prompts/a.jsonl", PROMPTS)
    second = stack.world.upload("prompts/a.jsonl", labelled(200))
    # WHEN the events arrive in the wrong order
    for source in (second, first):
        stack.invoke("shard_prompts", stack.upload_event("shard_prompts", source))
    # THEN each run is about its own bytes
    assert stack.run_of(first).counts.rows_in == 300
    assert stack.run_of(second).counts.rows_in == 200


def test_a_log_overwritten_while_it_is_routed_is_routed_as_it_was(stack: Stack) -> None:
    stack.serve()
    source = stack.upload("query-logs/a.jsonl", LOG)
    stack.world.upload("query-logs/a.jsonl", b"something else\n" * 100)

    stack.route_queued()
    stack.deliver_events()

    log = stack.log_of(source)
    part = rows(stack.world.data_objects()[naming.part_key(log.log_id, 0)])
    assert log.state is LogState.ROUTED
    assert [row["query"] for row in part] == [query(n % 10) for n in range(30)]


def test_a_log_deleted_while_it_is_routed_fails(stack: Stack) -> None:
    stack.serve()
    source = stack.upload("query-logs/a.jsonl", LOG)
    stack.world.erase(source)

    assert stack.route_queued() == 0  # no retry brings it back

    assert stack.log_of(source).state is LogState.FAILED
    assert "NoSuchVersion" in stack.log_of(source).reason


@pytest.mark.parametrize(
    ("function", "key", "heading"),
    [("shard_prompts", "prompts/a.jsonl", 1), ("split_query_log", "query-logs/a.jsonl", 3)],
)
def test_an_outage_of_s3_is_raised_for_lambdas_retry(
    stack: Stack, function: str, key: str, heading: int
) -> None:
    stack.serve()
    event = stack.upload_event(function, stack.world.upload(key, PROMPTS))

    with aws_calls(heading, Fault.CONNECTION_ERROR) as calls, pytest.raises(UnavailableError):
        stack.invoke(function, event)

    assert calls.made[-1].operation == "HeadObject"
    assert stack.published() == []
    assert list(dependencies().ledger.all()) == []
    assert [run.source.key for run in dependencies().runs.all() if run.source.key == key] == []


# --- events about runs, jobs and logs ------------------------------------------------------------


@pytest.mark.parametrize("function", RUN_FUNCTIONS)
def test_an_unknown_run_is_ignored(stack: Stack, function: str, logged: Logs) -> None:
    with stack.changing_nothing():
        stack.invoke(function, stack.event(function, run_id="run-00000000dead"))

    assert logged()[-1]["reason"] == "unknown run"


@pytest.mark.parametrize("function", RUN_FUNCTIONS)
def test_an_event_for_a_run_in_another_state_changes_nothing(stack: Stack, function: str) -> None:
    """Anybody in the account can put such an event, and any may come twice or late."""
    expected = RunState.SHARDED if function == "start_distillation" else RunState.EVALUATING
    others = [state for state in RunState if state is not expected]
    assert len(others) == 8
    runs = [
        a_run(state, run_id=f"run-{number:012x}", evaluation=an_evaluation())
        for number, state in enumerate(others)
    ]
    for run in runs:
        dependencies().runs.create(run)

    with stack.changing_nothing(trying=True):
        for run in runs:
            stack.invoke(function, stack.event(function, run_id=run.run_id))


def test_a_run_that_is_not_measured_yet_is_not_promoted(stack: Stack) -> None:
    run = dependencies().runs.create(a_run(RunState.EVALUATING))

    with stack.changing_nothing():
        stack.invoke("promote_model", stack.event("promote_model", run_id=run.run_id))


def test_scores_in_a_forged_event_are_worth_nothing(stack: Stack) -> None:
    """A detail may claim what it likes: state, scores and champion are read from their owners."""
    run = dependencies().runs.create(
        a_run(
            RunState.EVALUATING,
            evaluation=an_evaluation(candidate_mae=0.9),
            deployment=a_deployment(stack.deployed()),
        )
    )
    claims = {"state": "PROMOTED", "evaluation": an_evaluation(0.0).model_dump(), "version": 7}

    stack.invoke("promote_model", stack.event("promote_model", run_id=run.run_id, **claims))

    stored = dependencies().runs.get(run.run_id)
    assert stored is not None
    assert stored.state is RunState.REJECTED
    assert dependencies().champions.current() is None


def _job_arn(name: str) -> str:
    model = "amazon.nova-micro-v1:0:128k"
    return f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-customization-job/{model}/{name}"


def test_a_job_that_bedrock_does_not_know_is_ignored(stack: Stack, logged: Logs) -> None:
    with stack.changing_nothing():
        stack.invoke("deploy_model", stack.event("deploy_model", jobArn=_job_arn("00000000dead")))

    assert logged()[-1]["reason"] == "Bedrock has no such job"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("somebody-elses-job", "not our job"),
        ("search-router-0000000000000000-1", "no run waits for the job"),
    ],
)
def test_a_job_that_is_not_ours_is_not_deployed(
    stack: Stack, name: str, reason: str, logged: Logs
) -> None:
    # GIVEN a completed job in the same account that no run of ours has asked for
    source = stack.upload("prompts/a.jsonl", PROMPTS)
    training = naming.run_key(stack.run_of(source).run_id, "training.jsonl")
    client = boto3.client("bedrock", REGION)
    arn = client.create_model_customization_job(
        jobName=name,
        customModelName=name,
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/theirs",
        baseModelIdentifier="amazon.nova-micro-v1:0:128k",
        customizationType="DISTILLATION",
        customizationConfig={
            "distillationConfig": {
                "teacherModelConfig": {"teacherModelIdentifier": "amazon.nova-pro-v1:0"}
            }
        },
        trainingDataConfig={"s3Uri": f"s3://data/{training}"},
        outputDataConfig={"s3Uri": "s3://data/theirs"},
    )["jobArn"]
    client.close()
    # WHEN Bedrock's event about it arrives
    with stack.changing_nothing():
        stack.end_jobs()
        stack.invoke("deploy_model", stack.event("deploy_model", jobArn=arn))
    # THEN nothing is deployed
    assert logged()[-1]["reason"] == reason


def test_a_forged_completed_event_deploys_nothing(stack: Stack) -> None:
    """The event says Completed; Bedrock says InProgress and is believed."""
    source = stack.upload("prompts/a.jsonl", PROMPTS)
    stack.deliver_events()
    arn = job_of(stack.run_of(source)).job_arn

    with stack.changing_nothing():
        stack.invoke("deploy_model", stack.event("deploy_model", jobArn=arn, jobStatus="Completed"))


def test_a_log_that_is_not_complete_is_not_closed(stack: Stack) -> None:
    planned = QueryLog(
        log_id="log-0123456789ab",
        state=LogState.PLANNED,
        source_bucket=UPLOADS,
        source_key="query-logs/a.jsonl",
        source_version="v1",
        splits=2,
        created_at=START,
        updated_at=START,
    )
    others = [(LogState.PLANNED, 0), (LogState.ROUTING, 1), (LogState.ROUTED, 2)]
    others.append((LogState.FAILED, 2))
    for number, (state, parts) in enumerate(others):
        changes = {"log_id": f"log-{number:012x}", "state": state, "parts": parts}
        dependencies().ledger.create(planned.model_copy(update=changes))

    with stack.changing_nothing():
        for number in range(len(others) + 1):  # the last one is unknown
            event = stack.event("finish_query_log", log_id=f"log-{number:012x}")
            stack.invoke("finish_query_log", event)


def _without(*path: str) -> Callable[[dict[str, Any]], Any]:
    def change(event: dict[str, Any]) -> Any:
        inner = event
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]
        return event

    return change


def _with(value: object, *path: str) -> Callable[[dict[str, Any]], Any]:
    def change(event: dict[str, Any]) -> Any:
        inner = event
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        return event

    return change


BAD_IDS = ("", "run-", "run-0123456789AB", "run-0123456789ab/../x", "run-0123456789ab\n", 7, None)
MALFORMED: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    *((function, _without("detail")) for function in (*RUN_FUNCTIONS, *UPLOAD_FUNCTIONS)),
    *((function, _without("detail", "run_id")) for function in RUN_FUNCTIONS),
    *((function, _with(bad, "detail", "run_id")) for function in RUN_FUNCTIONS for bad in BAD_IDS),
    *((function, _with("text", "detail")) for function in (*RUN_FUNCTIONS, "finish_query_log")),
    ("finish_query_log", _with("run-0123456789ab", "detail", "log_id")),
    ("finish_query_log", _without("detail", "log_id")),
    ("deploy_model", _without("detail", "jobArn")),
    ("deploy_model", _with("arn:aws:s3:::a-bucket", "detail", "jobArn")),
    ("deploy_model", _with(["arn"], "detail", "jobArn")),
    *((function, _without("detail", "object", "key")) for function in UPLOAD_FUNCTIONS),
    *((function, _without("detail", "bucket")) for function in UPLOAD_FUNCTIONS),
    *((function, _with(7, "detail", "object", "key")) for function in UPLOAD_FUNCTIONS),
    ("track_runs", _without("detail-type")),
    *((function, lambda _event: {}) for function in (*RUN_FUNCTIONS, *UPLOAD_FUNCTIONS)),
    *((function, lambda _event: {"Records": []}) for function in UPLOAD_FUNCTIONS),
]


@pytest.mark.parametrize(("function", "change"), MALFORMED)
def test_a_malformed_event_is_refused_before_any_call(
    load_event: Callable[[str], dict[str, Any]],
    lambda_context: FakeLambdaContext,
    function: str,
    change: Callable[[dict[str, Any]], Any],
) -> None:
    event = change(load_event(function))

    with aws_calls() as calls, pytest.raises(ValidationError):
        invoke(function, event, lambda_context)

    assert calls.made == []


# --- the queue -----------------------------------------------------------------------------------


@pytest.fixture
def in_hand(stack: Stack) -> dict[str, Any]:
    """Return the one message of a small log whose champion serves."""
    stack.serve()
    stack.upload("query-logs/a.jsonl", LOG)
    (message,) = stack.world.messages()
    return message


def _received(message: dict[str, Any], times: int) -> dict[str, Any]:
    return {**message, "Attributes": {"ApproximateReceiveCount": str(times)}}


def test_a_finished_split_reports_no_failure(stack: Stack, in_hand: dict[str, Any]) -> None:
    reply = stack.invoke("route_queries", stack.queue_event(in_hand))

    assert reply == {"batchItemFailures": []}
    assert stack.calls_of("ChangeMessageVisibility") == []


@pytest.mark.parametrize(("receives", "seconds"), [(1, 30), (3, 120), (6, 900), (49, 900)])
def test_a_throttled_split_is_reported_and_comes_back_soon(
    stack: Stack, in_hand: dict[str, Any], receives: int, seconds: int, logged: Logs
) -> None:
    # GIVEN a Bedrock that throttles everything
    stack.bedrock.fake.change(requests_per_minute=1e-9)
    stack.ask("this takes the one request that the quota holds")
    logged()
    # WHEN a split is routed
    reply = stack.invoke("route_queries", stack.queue_event(_received(in_hand, receives)))
    # THEN it is reported, and visible again long before ninety minutes are over
    assert reply == {"batchItemFailures": [{"itemIdentifier": in_hand["MessageId"]}]}
    (postponed,) = stack.calls_of("ChangeMessageVisibility")
    assert postponed["VisibilityTimeout"] == seconds
    assert postponed["ReceiptHandle"] == in_hand["ReceiptHandle"]
    (line,) = logged()
    assert (line["message"], line["kind"]) == ("split failed", "ThrottledError")


def test_an_outage_leaves_no_part_and_loses_no_answer(
    stack: Stack, in_hand: dict[str, Any]
) -> None:
    # GIVEN a Bedrock that answers one query and then no more
    stack.bedrock.fake.change(requests_per_minute=1e-9)
    before = stack.world.data_objects()
    reply = stack.invoke("route_queries", stack.queue_event(in_hand))
    assert len(reply["batchItemFailures"]) == 1
    assert set(stack.world.data_objects()) == set(before)
    known = len(stack.world.items(CACHE))
    assert known == 1
    # WHEN it is back
    stack.bedrock.fake.change(requests_per_minute=0)
    asked = len(stack.calls_of("Converse"))
    assert stack.invoke("route_queries", stack.queue_event(in_hand)) == {"batchItemFailures": []}
    # THEN only what was not known is asked, and what was known counts as the call that it was
    assert len(stack.calls_of("Converse")) - asked == 10 - known
    assert next(dependencies().ledger.all()).is_complete
    (marker,) = dependencies().ledger.markers(json.loads(in_hand["Body"])["log_id"])
    assert (marker.stats.model_calls, marker.stats.distinct) == (10, 10)


def test_a_split_that_cannot_be_postponed_is_reported_all_the_same(
    stack: Stack, in_hand: dict[str, Any]
) -> None:
    stack.bedrock.fake.change(requests_per_minute=1e-9)
    stack.ask("this takes the one request that the quota holds")
    lapsed = {**in_hand, "ReceiptHandle": "lapsed"}

    reply = stack.invoke("route_queries", stack.queue_event(lapsed))

    assert reply == {"batchItemFailures": [{"itemIdentifier": in_hand["MessageId"]}]}


def test_malformed_messages_are_reported(
    stack: Stack, in_hand: dict[str, Any], logged: Logs
) -> None:
    bodies = ["", "not json", "{}", "[]", '{"log_id": "log-0123456789ab"}', '{"split": 0}', "null"]
    messages = [{**in_hand, "MessageId": str(n), "Body": body} for n, body in enumerate(bodies)]
    logged()
    with stack.changing_nothing():
        reply = stack.invoke("route_queries", stack.queue_event(*messages))

    assert reply == {"batchItemFailures": [{"itemIdentifier": str(n)} for n in range(7)]}
    lines = logged()
    assert [(line["message"], line["kind"]) for line in lines] == [
        ("split failed", "MalformedMessageError")
    ] * 7
    assert "not json" not in str(lines)
    # THEN each comes back at once: fifty receives later, within minutes, it is a dead letter
    calls = stack.calls_of("ChangeMessageVisibility")
    assert [call["VisibilityTimeout"] for call in calls] == [1] * 7


def test_one_bad_message_does_not_spoil_its_batch(stack: Stack, in_hand: dict[str, Any]) -> None:
    bad = {**in_hand, "MessageId": "bad", "Body": "not json"}

    reply = stack.invoke("route_queries", stack.queue_event(bad, in_hand))

    assert reply == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert next(dependencies().ledger.all()).parts == 1


def test_a_permanent_failure_is_reported_and_logged(
    stack: Stack, in_hand: dict[str, Any], logged: Logs
) -> None:
    # GIVEN a champion whose deployment somebody deleted
    dependencies().deployments.delete(stack.champion().serving.model_id)
    logged()
    # WHEN a split is routed
    reply = stack.invoke("route_queries", stack.queue_event(in_hand))
    # THEN it fails, comes back for when that is mended, and the log says why
    assert reply == {"batchItemFailures": [{"itemIdentifier": in_hand["MessageId"]}]}
    assert len(stack.calls_of("ChangeMessageVisibility")) == 1
    (line,) = logged()
    assert (line["level"], line["message"]) == ("ERROR", "split failed")
    assert line["kind"] == "ModelUnusableError"
    assert "ResourceNotFoundException" in line["error"]


@pytest.mark.parametrize("state", [None, LogState.FAILED])
def test_a_message_of_a_log_that_is_gone_is_done(
    stack: Stack, in_hand: dict[str, Any], state: LogState | None
) -> None:
    body = json.loads(in_hand["Body"])
    if state is None:
        body["log_id"] = "log-00000000dead"
    else:
        (log,) = dependencies().ledger.all()
        dependencies().ledger.move(log.log_id, state, START)

    with stack.changing_nothing():
        reply = stack.invoke(
            "route_queries", stack.queue_event({**in_hand, "Body": json.dumps(body)})
        )

    assert reply == {"batchItemFailures": []}


def test_a_message_of_an_unknown_champion_is_a_failure(
    stack: Stack, in_hand: dict[str, Any]
) -> None:
    body = json.loads(in_hand["Body"]) | {"champion_version": 99}

    with stack.changing_nothing():
        reply = stack.invoke(
            "route_queries", stack.queue_event({**in_hand, "Body": json.dumps(body)})
        )

    assert len(reply["batchItemFailures"]) == 1


def test_a_split_near_its_deadline_asks_nothing_and_comes_back(
    stack: Stack, in_hand: dict[str, Any]
) -> None:
    stack.context = type(stack.context)(remaining_milliseconds=15_000)

    reply = stack.invoke("route_queries", stack.queue_event(in_hand))

    assert len(reply["batchItemFailures"]) == 1
    assert stack.calls_of("Converse") == []
    assert len(stack.calls_of("ChangeMessageVisibility")) == 1


# --- the API -------------------------------------------------------------------------------------


def test_a_query_is_answered_by_the_champion(stack: Stack) -> None:
    champion = stack.serve()

    reply = stack.ask(f"  {query(2)} ")

    assert reply["status"] == 200
    assert reply["body"] == {
        "weights": weights(2),
        "dominant": "transcription",
        "tier": "distilled",
        "status": "ok",
        "champion_version": champion.version,
        "latency_ms": 1,
    }
    assert stack.ask(query(2))["body"]["tier"] == "cache"


def test_a_body_may_come_encoded(stack: Stack) -> None:
    stack.serve()
    body = "eyJxdWVyeSI6ICJ3aWRlIHNob3Qgb2YgdGhlIGhhcmJvdXIgMCJ9"

    reply = stack.request(stack.http_event(body, isBase64Encoded=True))

    assert (reply["status"], reply["body"]["weights"]) == (200, weights(0))


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        "not json",
        "[]",
        "null",
        '"a query"',
        "{}",
        '{"query": null}',
        '{"query": 7}',
        '{"query": ""}',
        '{"query": " \\t\\n\\u00a0\\u2028"}',
        json.dumps({"query": "x" * 1_001}),
        '{"query": "a", "model": "amazon.nova-premier-v1:0"}',
        '{"query": "a", "champion_version": 1}',
        '{"query": "\\ud800"}',
    ],
)
def test_a_bad_request_is_refused_before_any_call(
    load_event: Callable[[str], dict[str, Any]],
    lambda_context: FakeLambdaContext,
    body: str | None,
) -> None:
    with aws_calls() as calls:
        reply = invoke("route_api", load_event("route_api") | {"body": body}, lambda_context)

    assert reply["statusCode"] == 400
    assert json.loads(reply["body"])["code"] == "bad_request"
    assert calls.made == []


def test_a_body_over_the_limit_is_refused_before_it_is_read(stack: Stack) -> None:
    reply = stack.request(stack.http_event(json.dumps({"query": "a" * 17_000})))

    message = "request body has more than 16384 bytes"
    assert reply == {"status": 413, "body": {"code": "too_large", "message": message}}


def test_a_body_that_is_no_text_is_refused(stack: Stack) -> None:
    reply = stack.request(stack.http_event("/////w==", isBase64Encoded=True))

    message = "request body is not valid JSON: not UTF-8 at byte 0"
    assert reply == {"status": 400, "body": {"code": "bad_request", "message": message}}


def test_any_text_of_a_thousand_characters_is_a_query(stack: Stack) -> None:
    stack.serve()
    for text in ("x" * 1_000, "🎬" * 1_000, '"; DROP TABLE', "{}", "\u0000", "\u202e txet"):
        reply = stack.ask(text)

        assert reply["status"] == 200
        assert sum(reply["body"]["weights"].values()) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/route"), ("DELETE", "/route"), ("POST", "/"), ("POST", "/route/x"), ("GET", "/")],
)
def test_other_paths_and_methods_do_not_exist(
    load_event: Callable[[str], dict[str, Any]],
    lambda_context: FakeLambdaContext,
    method: str,
    path: str,
) -> None:
    event = load_event("route_api") | {"rawPath": path}
    event["requestContext"]["http"] |= {"path": path, "method": method}
    with aws_calls() as calls:
        reply = invoke("route_api", event, lambda_context)

    assert reply["statusCode"] == 404
    assert calls.made == []


def test_without_a_champion_the_api_is_unavailable(stack: Stack, logged: Logs) -> None:
    reply = stack.ask("a query")

    assert reply == {"status": 503, "body": {"code": "unavailable", "message": UNAVAILABLE}}
    assert logged()[-1]["error"] == "no model serves yet"


def test_without_the_state_table_the_api_is_unavailable(stack: Stack, logged: Logs) -> None:
    stack.serve()
    with aws_calls(0, Fault.CONNECTION_ERROR):
        reply = stack.ask("a query")

    assert reply == {"status": 503, "body": {"code": "unavailable", "message": UNAVAILABLE}}
    assert logged()[-1]["kind"] == "UnavailableError"


def test_without_the_state_table_the_champion_of_the_last_request_serves(stack: Stack) -> None:
    champion = stack.serve()
    stack.ask(query(1))
    for fault in (Fault.CONNECTION_ERROR, Fault.THROTTLED, Fault.ACCESS_DENIED):
        with aws_calls(0, fault) as calls:
            reply = stack.ask(query(2))

        assert calls.fired == 1
        assert (reply["status"], reply["body"]["champion_version"]) == (200, champion.version)


def test_without_its_deployment_the_champion_is_answered_for_by_its_prior(
    stack: Stack, logged: Logs
) -> None:
    champion = stack.serve()
    dependencies().deployments.delete(champion.serving.model_id)
    logged()

    reply = stack.ask("a query of mine")

    assert reply["status"] == 200
    assert tuple(reply["body"]["weights"].values()) == champion.serving.prior
    assert (reply["body"]["tier"], reply["body"]["status"]) == ("fallback", "fallback")
    (line,) = logged()
    assert line["problem"] == "the model cannot be asked: NotFoundError"
    assert "a query of mine" not in json.dumps(line)


def test_a_model_that_may_not_be_asked_is_answered_for_by_the_prior(stack: Stack) -> None:
    champion = stack.serve()
    with aws_calls() as rehearsal:
        stack.ask(query(1))
    place = [call.operation for call in rehearsal.made].index("Converse")

    with aws_calls(place, Fault.ACCESS_DENIED) as calls:
        reply = stack.ask(query(2))

    assert calls.fired == 1
    assert reply["status"] == 200
    assert tuple(reply["body"]["weights"].values()) == champion.serving.prior


def test_a_throttled_model_is_answered_for_by_the_prior(stack: Stack) -> None:
    # GIVEN a Bedrock that throttles everything
    champion = stack.serve()
    stack.bedrock.fake.change(requests_per_minute=1e-9)
    stack.ask("this takes the one request that the quota holds")
    # WHEN somebody asks
    started = stack.bedrock.clock.monotonic()
    reply = stack.ask(query(2))
    # THEN the answer is the champion's prior, marked as such, and in time
    assert reply["status"] == 200
    assert tuple(reply["body"]["weights"].values()) == champion.serving.prior
    assert (reply["body"]["tier"], reply["body"]["status"]) == ("fallback", "fallback")
    assert stack.bedrock.clock.monotonic() - started < 8
    # AND it is not kept
    stack.bedrock.fake.change(requests_per_minute=0)
    assert stack.ask(query(2))["body"]["tier"] == "distilled"


def test_a_model_that_answers_badly_is_answered_for_by_the_prior(stack: Stack) -> None:
    champion = stack.serve()
    stack.bedrock.fake.change(malformed_rate=1.0)

    reply = stack.ask(query(2))

    assert tuple(reply["body"]["weights"].values()) == champion.serving.prior
    assert reply["body"]["tier"] == "fallback"
    assert stack.world.items(CACHE) == []


@pytest.mark.parametrize("operation", ["BatchGetItem", "BatchWriteItem"])
def test_an_answer_does_without_the_cache(stack: Stack, operation: str) -> None:
    stack.serve()
    with aws_calls() as rehearsal:
        stack.ask(query(1))
    place = [call.operation for call in rehearsal.made].index(operation)

    with aws_calls(place, Fault.THROTTLED) as calls:
        reply = stack.ask(query(2))

    assert calls.fired == 1
    assert (reply["status"], reply["body"]["weights"]) == (200, weights(2))

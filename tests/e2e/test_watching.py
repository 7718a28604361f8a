"""Who watches: lost uploads are found and repaired, outcomes and alarms reach their topics."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local_stack.connection import StackConnection
from local_stack.launcher import LocalStack
from local_stack.state_file import STACK_NAME
from tests.waiting import eventually


@pytest.fixture(scope="module")
def stack() -> Iterator[StackConnection]:
    with LocalStack() as stack:
        yield stack.connection


@pytest.fixture(scope="module")
def inbox(stack: StackConnection) -> str:
    """The URL of a queue that is subscribed to both topics."""
    sqs = stack.client("sqs")
    url: str = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    let_in = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": attributes["QueueArn"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [let_in]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    for topic in ("AlarmTopicArn", "NewsTopicArn"):
        stack.client("sns").subscribe(
            TopicArn=stack.outputs[topic], Protocol="sqs", Endpoint=attributes["QueueArn"]
        )
    return url


def told(stack: StackConnection, inbox: str) -> str | None:
    messages = stack.client("sqs").receive_message(QueueUrl=inbox, WaitTimeSeconds=1)
    for message in messages.get("Messages", []):
        stack.client("sqs").delete_message(QueueUrl=inbox, ReceiptHandle=message["ReceiptHandle"])
        body: str = json.loads(message["Body"])["Message"]
        return body
    return None


def put_event(
    stack: StackConnection, detail_type: str, detail: dict[str, Any], by: str = STACK_NAME
) -> None:
    entry = {
        "Source": "search-router",
        "Resources": [by],
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
    }
    stack.client("events").put_events(Entries=[entry])


def emf_lines(stack: StackConnection, output: str) -> list[dict[str, Any]]:
    lines = stack.function_logs(stack.outputs[output])
    return [json.loads(line) for line in lines if '"CloudWatchMetrics"' in line]


def test_an_outcome_reaches_the_topic(stack: StackConnection, inbox: str) -> None:
    run, log = "run-0123456789ab", "log-0123456789ab"
    put_event(stack, "RunFailed", {"run_id": "run-ba9876543210", "reason": "theirs"}, by="another")
    put_event(stack, "RunFailed", {"run_id": run, "reason": "too few rows"})
    put_event(stack, "QueryLogRouted", {"log_id": log})

    assert {eventually(lambda: told(stack, inbox)).strip('"') for _ in range(2)} == {
        f"{STACK_NAME}: RunFailed, run {run}. Reason and scores: search-router runs {run}",
        f"{STACK_NAME}: query log {log} is routed. Rows: search-router results {log}",
    }


def test_every_alarm_rings_at_the_topic(stack: StackConnection, inbox: str) -> None:
    cloudwatch = stack.client("cloudwatch")
    names = [
        alarm["AlarmName"]
        for page in cloudwatch.get_paginator("describe_alarms").paginate()
        for alarm in page["MetricAlarms"]
    ]

    for name in names:
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a drill")

    heard: set[str] = set()
    while len(heard) < len(names):
        heard.add(json.loads(eventually(lambda: told(stack, inbox)))["AlarmName"])
    assert heard == set(names)
    assert len(names) > 30


def test_a_lost_upload_is_taken_in_by_the_event_that_makes_up_for_it(
    stack: StackConnection,
) -> None:
    # GIVEN an upload of which S3 told nobody
    s3, bucket = stack.client("s3"), stack.outputs["UploadBucketName"]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    put = s3.put_object(Bucket=bucket, Key="prompts/lost.jsonl", Body=b"{}\n")

    # WHEN track_runs says that it is missed (in fifteen minutes, which a test does not wait for)
    detail = {
        "bucket": {"name": bucket},
        "object": {"key": "prompts/lost.jsonl", "version-id": put["VersionId"]},
    }
    put_event(stack, "UploadMissed", detail)

    # THEN it becomes a run, and the intake is measured, in the only invocation that there was
    def rows() -> list[float]:
        lines = emf_lines(stack, "ShardPromptsFunctionName")
        return [row for line in lines for row in line.get("PromptRowsIn", ())]

    assert eventually(rows) == [1.0]
    logged = stack.function_logs(stack.outputs["ShardPromptsFunctionName"])
    records = [json.loads(line) for line in logged if line.startswith("{")]
    requests = {line["function_request_id"] for line in records if "function_request_id" in line}
    assert len(requests) == 1


def test_a_tick_lists_the_uploads_under_its_own_role(stack: StackConnection) -> None:
    function = stack.outputs["TrackRunsFunctionName"]
    event = {"version": "0", "id": "0", "detail-type": "Scheduled Event", "source": "aws.events",
             "account": "0", "time": "2026-12-01T00:00:00Z", "region": "us-east-1",
             "resources": [], "detail": {}}  # fmt: skip
    reply = stack.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    assert "FunctionError" not in reply

    counted = [
        line for line in emf_lines(stack, "TrackRunsFunctionName") if "UploadsMissed" in line
    ]
    assert counted[-1]["TrackingErrors"] == [0.0]
    assert counted[-1]["service"] == STACK_NAME

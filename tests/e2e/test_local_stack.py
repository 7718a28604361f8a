"""The local stack keeps what template.yaml relies on: triggers, retries, roles, isolation."""

import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session

from local_stack.connection import StackConnection
from local_stack.launcher import LocalStack
from local_stack.ticking import ticking_track_runs
from tests.e2e.conftest import AMBIENT
from tests.waiting import eventually


@pytest.fixture
def stack(sample_stack: LocalStack) -> StackConnection:
    return sample_stack.connection


def seen(stack: StackConnection, key: str) -> list[Any]:
    """Return what handlers recorded under a key."""
    reply = stack.client("dynamodb").get_item(
        TableName=stack.outputs["RecordsTableName"], Key={"pk": {"S": key}}
    )
    return [json.loads(item["S"]) for item in reply.get("Item", {}).get("seen", {}).get("L", [])]


def receive(stack: StackConnection, output: str) -> list[dict[str, Any]]:
    reply = stack.client("sqs").receive_message(
        QueueUrl=stack.outputs[output], MaxNumberOfMessages=10, WaitTimeSeconds=1
    )
    messages: list[dict[str, Any]] = reply.get("Messages", [])
    return messages


def probe(stack: StackConnection) -> dict[str, Any]:
    reply = stack.client("lambda").invoke(
        FunctionName=stack.outputs["TrackRunsFunctionName"], Payload=b"{}"
    )
    answer: dict[str, Any] = json.load(reply["Payload"])
    return answer


def test_an_upload_starts_a_handler_that_reads_a_range_of_the_very_version(
    stack: StackConnection,
) -> None:
    s3 = stack.client("s3")
    key = "in/odd name+%.txt"

    put = s3.put_object(Bucket=stack.outputs["UploadBucketName"], Key=key, Body=b"0123456789")
    s3.put_object(Bucket=stack.outputs["UploadBucketName"], Key="other/x", Body=b"ignored")

    (detail,) = eventually(lambda: seen(stack, key))
    assert detail["version-id"] == put["VersionId"]
    assert (detail["key"], detail["size"], detail["part"]) == (key, 10, "123")
    assert seen(stack, "other/x") == []


def test_a_range_of_a_version_is_as_short_as_asked(stack: StackConnection) -> None:
    s3, bucket = stack.client("s3"), stack.outputs["UploadBucketName"]
    version = s3.put_object(Bucket=bucket, Key="range", Body=b"0123456789")["VersionId"]
    s3.put_object(Bucket=bucket, Key="range", Body=b"overwritten")

    reply = s3.get_object(Bucket=bucket, Key="range", VersionId=version, Range="bytes=8-99")
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert reply["ContentRange"] == "bytes 8-9/10"
    assert reply["Body"].read() == b"89"
    with pytest.raises(s3.exceptions.ClientError, match="InvalidRange"):
        s3.get_object(Bucket=bucket, Key="range", VersionId=version, Range="bytes=10-")


def test_a_vector_bucket_is_in_the_fake_under_its_arn(stack: StackConnection) -> None:
    vectors = stack.client("s3vectors")

    (bucket,) = vectors.list_vector_buckets()["vectorBuckets"]

    assert bucket["vectorBucketArn"] == stack.outputs["VectorBucketArn"]
    assert bucket["vectorBucketName"].startswith("search-router-vectorbucket-")


def test_a_failing_handler_is_retried_and_then_reaches_on_failure(stack: StackConnection) -> None:
    entry = {"DetailType": "Job", "Detail": '{"name": "doomed"}'}
    events = stack.client("events")

    reply = events.put_events(Entries=[{"Source": "aws.bedrock", **entry}])

    assert reply["FailedEntryCount"] == 0
    (failure,) = eventually(lambda: receive(stack, "FailureQueueUrl"))
    assert json.loads(failure["Body"])["requestPayload"]["detail"] == {"name": "doomed"}
    assert seen(stack, "doomed") == ["attempt"] * 2  # MaximumRetryAttempts is 1
    logs = stack.function_logs(stack.outputs["FailAlwaysFunctionName"])
    assert sum("about to fail doomed" in line for line in logs) == 2


def test_sources_of_other_aws_services_stay_rejected(stack: StackConnection) -> None:
    entry = {"Source": "aws.s3", "DetailType": "Object Created", "Detail": "{}"}
    reply = stack.client("events").put_events(Entries=[entry])

    assert reply["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


def test_only_the_failed_message_of_a_batch_comes_back_and_dies(stack: StackConnection) -> None:
    stack.client("sqs").send_message_batch(
        QueueUrl=stack.outputs["BatchQueueUrl"],
        Entries=[{"Id": name, "MessageBody": name} for name in ("good", "bad", "fine")],
    )

    (dead,) = eventually(lambda: receive(stack, "BatchDeadLetterQueueUrl"))
    assert dead["Body"] == "bad"
    assert seen(stack, "bad") == ["1", "2"]  # maxReceiveCount is 2
    # Each of these may have come in a batch of its own.
    assert eventually(lambda: seen(stack, "good")) == ["1"]
    assert eventually(lambda: seen(stack, "fine")) == ["1"]


def test_a_handler_may_do_only_what_its_role_allows(stack: StackConnection) -> None:
    answer = probe(stack)

    assert answer["forbidden_put"] == "AccessDeniedException"
    assert answer["foreign_event"] == "AccessDeniedException"  # by the condition events:source
    assert answer["own_event"] == ""
    assert answer["own_messages"] == ""  # a batch call needs sqs:SendMessage and no more


def test_a_handler_sees_the_layer_and_nothing_of_this_machine(stack: StackConnection) -> None:
    answer = probe(stack)

    environment = answer["environment"]
    assert environment["AWS_ENDPOINT_URL"] == stack.endpoint
    assert environment["AWS_ENDPOINT_URL_BEDROCK"] == stack.bedrock_endpoint
    assert environment["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == stack.bedrock_endpoint
    assert environment["AWS_ENDPOINT_URL_S3VECTORS"] == stack.vectors_endpoint
    assert environment["REQUESTS_PER_MINUTE"] == "60000"
    assert environment["IS_PROFILE"] == "yes"
    assert environment["POWERTOOLS_TRACE_DISABLED"] == "true"
    assert environment["HOME"] == str(stack.folder)
    assert not set(AMBIENT.values()) & set(environment.values())
    assert "/layer-" in answer["boto3"]
    assert not answer["sees_emulator"]


@pytest.mark.parametrize("qualifier", ["$LATEST", "live"])
def test_reserved_concurrency_holds_for_aliases_too(stack: StackConnection, qualifier: str) -> None:
    lambda_ = stack.client("lambda")

    with pytest.raises(lambda_.exceptions.TooManyRequestsException):
        lambda_.invoke(FunctionName=stack.outputs["StoppedFunctionName"], Qualifier=qualifier)


def test_function_urls_want_a_signature(stack: StackConnection) -> None:
    request = AWSRequest("POST", stack.url_of(stack.outputs["ProbeUrl"]) + "route", data=b"{}")
    http = URLLib3Session(proxies={})

    unsigned = http.send(request.prepare())
    keys = stack.caller["AWS_ACCESS_KEY_ID"], stack.caller["AWS_SECRET_ACCESS_KEY"]
    SigV4Auth(Credentials(*keys), "lambda", "us-east-1").add_auth(request)
    signed = http.send(request.prepare())
    http.close()

    assert unsigned.status_code == 403
    assert signed.status_code == 200
    assert "forbidden_put" in json.loads(signed.content)


def test_a_schedule_fires_with_its_own_target(stack: StackConnection) -> None:
    lambda_ = stack.client("lambda")
    function = lambda_.get_function(FunctionName=stack.outputs["TrackRunsFunctionName"])
    arn = function["Configuration"]["FunctionArn"]
    rule = stack.client("events").list_rule_names_by_target(TargetArn=arn)["RuleNames"]
    described = stack.client("events").describe_rule(Name=rule[0])
    assert described["ScheduleExpression"] == "rate(1 minute)"

    ticks = len(seen(stack, "tick"))
    stack.client("scheduler").create_schedule(
        Name="now",
        ScheduleExpression="at(2020-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": arn,
            "RoleArn": "arn:aws:iam::000000000000:role/any",
            "Input": json.dumps({"detail-type": "Scheduled Event"}),
        },
    )

    eventually(lambda: len(seen(stack, "tick")) > ticks)


def test_track_runs_can_be_ticked_faster_than_its_schedule(stack: StackConnection) -> None:
    ticks, threads = len(seen(stack, "tick")), set(threading.enumerate())

    with ticking_track_runs(stack, seconds=0.05):
        assert set(threading.enumerate()) - threads
        eventually(lambda: len(seen(stack, "tick")) >= ticks + 3)

    eventually(lambda: set(threading.enumerate()) <= threads, "it goes on ticking")


def test_what_is_not_emulated_is_reported(sample_stack: LocalStack) -> None:
    found = {item.what: item.how for item in sample_stack.not_emulated}

    assert "0.1" in found["Serverless::Function EventInvokeConfig"]
    assert "S3::Bucket LifecycleConfiguration" in found


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"Origin": "https://evil.example"}, "/"),
        ({"Sec-Fetch-Site": "cross-site"}, "/_ministack/health"),
        ({"Host": "evil.example"}, "/"),
        ({"Authorization": "AWS4-HMAC-SHA256 Credential=test/20261130/us-east-1/iam/x"}, "/"),
        ({}, "/_ministack/reset"),
        ({}, "/_ministack/sqs/messages"),
        ({}, "/"),
    ],
)
def test_what_a_web_page_or_another_user_may_send_is_refused(
    stack: StackConnection, headers: dict[str, str], path: str
) -> None:
    for endpoint in (stack.endpoint, stack.bedrock_endpoint):
        address = urlsplit(endpoint)
        host = {"Host": f"{address.hostname}:{address.port}"}
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
        connection.request("POST", path, headers=host | headers)
        assert connection.getresponse().status == 403
        connection.close()

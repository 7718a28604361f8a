"""The verbs on in-memory ports: a stack without AWS, and a log routed on it."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from router_cli.__main__ import main
from router_cli.stack import Stack
from tests.fakes import InMemoryCollections, InMemoryIndex, InMemoryLedger, InMemoryRecords
from tests.records import a_champion, jsonl
from tests.unit.router_cli.fake_sqs import FakeSqs
from tests.unit.use_cases.world import World

OUTPUTS = {
    "UploadBucketName": "uploads",
    "DataBucketName": "data",
    "RouteQueriesFunctionName": "route-queries",
    "FinishQueryLogFunctionName": "finish-query-log",
    "SplitQueueUrl": "https://sqs/splits",
    "SplitDeadLetterQueueUrl": "https://sqs/splits-dead",
    "IndexSegmentsFunctionName": "index-segments",
    "SegmentQueueUrl": "https://sqs/segments",
    "SegmentDeadLetterQueueUrl": "https://sqs/segments-dead",
    "EventDeadLetterQueueUrl": "https://sqs/events-dead",
    "NewsTopicArn": "arn:aws:sns:us-east-1:123456789012:outcomes",
}
VERBS_WITH_STACKS = ("results", "compare", "export", "redrive", "segments", "upload", "runs")
ROWS = [
    {
        "ts": f"2026-12-01T00:{n % 60:02d}",
        "User Id": n,
        "query": f"query {n % 50}",
        "pad": "x" * 500,
    }
    for n in range(300)
]


@dataclass(slots=True)
class FakeLambda:
    """Lambda that records its invocations."""

    invoked: list[tuple[str, Any]] = field(default_factory=list)

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, int]:  # noqa: N803
        assert InvocationType == "Event"
        self.invoked.append((FunctionName, json.loads(Payload)))
        return {"StatusCode": 202}


@dataclass(slots=True)
class FakeTopic:
    """SNS that records its messages."""

    published: list[tuple[str, Any]] = field(default_factory=list)

    def publish(self, TopicArn: str, Message: str) -> None:  # noqa: N803
        self.published.append((TopicArn, json.loads(Message)))


@dataclass(slots=True)
class FakeRuntime:
    """Bedrock Converse: one answer for each (model id, query), or an error after some calls."""

    answering: Callable[[str, str], str] = lambda _model, _query: "{}"
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    refused_after: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def converse(
        self,
        modelId: str,  # noqa: N803
        system: list[dict[str, str]],
        messages: list[dict[str, Any]],
        inferenceConfig: dict[str, Any],  # noqa: N803
    ) -> dict[str, Any]:
        query = messages[0]["content"][0]["text"]
        assert inferenceConfig["maxTokens"] > 0
        with self._lock:
            if self.refused_after is not None and len(self.asked) >= self.refused_after:
                raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "Converse")
            self.asked.append((modelId, system[0]["text"], query))
        return {
            "output": {"message": {"content": [{"text": self.answering(modelId, query)}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 60, "outputTokens": 30},
        }


@dataclass(slots=True)
class FakeS3:
    """S3 that records uploads and deletions; `store` returns the version of an upload."""

    store: Callable[[str, bytes], str] = lambda _key, _body: "v1"
    uploaded: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def upload_file(self, file: str, bucket: str, key: str, ExtraArgs: Any) -> None:  # noqa: N803
        assert (bucket, ExtraArgs["ChecksumAlgorithm"]) == ("uploads", "SHA256")
        self.uploaded[key] = self.store(key, Path(file).read_bytes())

    def head_object(self, Bucket: str, Key: str) -> dict[str, str]:  # noqa: N803
        assert Bucket == "uploads"
        return {"VersionId": self.uploaded[Key]}

    def delete_object(self, Bucket: str, Key: str) -> None:  # noqa: N803
        assert Bucket == "data"
        self.deleted.append(Key)


@dataclass(slots=True)
class FakeBedrock:
    """Bedrock's control plane: every model exists but those that are listed as missing."""

    missing: set[str] = field(default_factory=set)
    deployment_status: str = "Active"

    def get_foundation_model(self, modelIdentifier: str) -> dict[str, Any]:  # noqa: N803
        self._require(modelIdentifier, "ValidationException")
        return {"modelDetails": {"modelLifecycle": {"status": "ACTIVE"}}}

    def get_custom_model_deployment(
        self,
        customModelDeploymentIdentifier: str,  # noqa: N803
    ) -> dict[str, str]:
        arn = customModelDeploymentIdentifier
        self._require(arn, "ResourceNotFoundException")
        return {"customModelDeploymentArn": arn, "status": self.deployment_status}

    def _require(self, model: str, code: str) -> None:
        if model in self.missing:
            message = "The provided model identifier is invalid."
            raise ClientError({"Error": {"Code": code, "Message": message}}, "GetFoundationModel")


@dataclass(slots=True)
class Clients:
    """The in-memory AWS clients of the command."""

    lambda_: FakeLambda = field(default_factory=FakeLambda)
    sqs: FakeSqs = field(default_factory=FakeSqs)
    sns: FakeTopic = field(default_factory=FakeTopic)
    runtime: FakeRuntime = field(default_factory=FakeRuntime)
    s3: FakeS3 = field(default_factory=FakeS3)
    bedrock: FakeBedrock = field(default_factory=FakeBedrock)

    def of(self, service: str) -> Any:
        return {
            "lambda": self.lambda_,
            "sqs": self.sqs,
            "sns": self.sns,
            "bedrock-runtime": self.runtime,
            "s3": self.s3,
            "bedrock": self.bedrock,
        }[service]


@pytest.fixture
def clients() -> Clients:
    return Clients()


@pytest.fixture
def world() -> World:
    world = World()
    world.champions.install(a_champion())
    return world


@pytest.fixture
def stack(world: World, clients: Clients, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The stack that `--local` opens: the world's ports instead of adapters."""
    stack = Stack(OUTPUTS, clients.of, "", lambda: None, "us-east-1")
    # What a frozen dataclass keeps in its cached properties.
    vars(stack).update(
        objects=world.objects,
        ledger=world.ledger,
        champions=world.champions,
        runs=world.runs,
        segment_uploads=InMemoryLedger(),
        collections=InMemoryCollections(),
        segments=InMemoryRecords(),
        segment_index=InMemoryIndex(),
    )
    for verb in VERBS_WITH_STACKS:
        monkeypatch.setattr(f"router_cli.{verb}.open_stack", lambda _: stack)
    return stack


@pytest.fixture
def routed(world: World, stack: Stack) -> str:
    """A routed log of two parts; the value is its id."""
    return route_log(world, jsonl(ROWS) + b"broken\n")


def route_log(world: World, body: bytes, key: str = "query-logs/searches.jsonl") -> str:
    """Upload, split, route and finish a log."""
    sent = len(world.queue.sent)
    log = world.split_log(body, key)
    for message in world.queue.sent[sent:]:
        world.route(message)
    world.finish(log.log_id)
    return log.log_id


@pytest.fixture
def answer(stack: Stack, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a verb on the stack with `--json` and return the one object that it prints."""

    def run(*arguments: str, code: int = 0) -> Any:
        assert main([*arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run

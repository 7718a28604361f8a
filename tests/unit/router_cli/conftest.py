"""The verbs on in-memory ports: a stack without AWS, and a log routed on it."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from router_cli.__main__ import main
from router_cli.stack import Stack
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
    "EventDeadLetterQueueUrl": "https://sqs/events-dead",
    "NewsTopicArn": "arn:aws:sns:us-east-1:123456789012:outcomes",
}
VERBS_WITH_STACKS = ("results", "compare", "export", "redrive")
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
class Clients:
    """The in-memory AWS clients of the command."""

    lambda_: FakeLambda = field(default_factory=FakeLambda)
    sqs: FakeSqs = field(default_factory=FakeSqs)
    sns: FakeTopic = field(default_factory=FakeTopic)
    runtime: FakeRuntime = field(default_factory=FakeRuntime)

    def of(self, service: str) -> Any:
        return {
            "lambda": self.lambda_,
            "sqs": self.sqs,
            "sns": self.sns,
            "bedrock-runtime": self.runtime,
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
        objects=world.objects, ledger=world.ledger, champions=world.champions, runs=world.runs
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

"""What users search for is read by nobody: it is in prompts, answers and results, nowhere else.

Every query, label and rejected line carries a token. It must reach the model and the results, and
must not be in a log line, a metric, an error that Lambda would print, an event, a message, a key,
an item or the parameters of any other call.
"""

import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from search_router.dependencies import dependencies
from search_router.domain import naming
from search_router.domain.lifecycle.runs import RunState
from search_router.domain.logs.query_logs import LogState
from tests.aws_calls import Fault, aws_calls
from tests.integration.logs import log_stream
from tests.integration.material import lines, query, weights
from tests.integration.stack import NewStack, Stack
from tests.integration.world import CACHE, STATE
from tests.records import conversation

QUERY, REASON, PROMPT, COLUMN = "kwaquerytoken", "kwareason", "kwaprompt", "kwacolumn"
TEXTS = (QUERY, REASON, COLUMN)
EVERYTHING = (*TEXTS, PROMPT)

SYSTEM = f"Return JSON with visual, audio, transcription, metadata weights. {PROMPT}"
BAD_LINES = (
    f'{{"query": "{QUERY}", "reference": {{"visual": 2}}}}\n'
    f'{{"query": "{QUERY}", "query": "{QUERY}"}}\n'
    f"{QUERY} is not json\n"
    f'{{"{QUERY}": 1}}\n'
).encode()


def secret(number: int) -> str:
    return f"{query(number)} {QUERY}"


def _record(number: int) -> dict[str, Any]:
    answer = json.dumps({**weights(number), "reasoning": REASON})
    return conversation(secret(number), answer, system=[{"text": SYSTEM}])


PROMPTS = lines([_record(n) for n in range(300)]) + BAD_LINES
LOG = (
    lines([{"query": secret(n % 10), "user": COLUMN} for n in range(40)])
    + f'{{"query": "", "user": "{COLUMN}"}}\n{QUERY} is not json\n'.encode()
)


@dataclass
class Sinks:
    """Everything that an operator, or somebody with access to logs, would see."""

    capfd: pytest.CaptureFixture[str]
    caplog: pytest.LogCaptureFixture
    log: Callable[[], str]
    printed: list[str] = field(default_factory=list)

    def attempt(self, act: Callable[[], object]) -> None:
        """Do something; Lambda's runtime prints what is raised: its type and message."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.printed.append(f"{type(error).__name__}: {error}")

    def text(self) -> str:
        """Return all that was seen until now."""
        self.printed += self.capfd.readouterr()
        return "\n".join((*self.printed, self.log(), self.caplog.text))


@pytest.fixture
def sinks(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Sinks]:
    with log_stream() as stream:
        yield Sinks(capfd, caplog, stream.getvalue)


def found(text: str, tokens: tuple[str, ...] = EVERYTHING) -> list[str]:
    """Return where the text holds a token, a little around each place."""
    places = [(text.find(token), token) for token in tokens]
    return [text[max(0, at - 200) : at + 50] for at, _ in places if at >= 0]


# --- where it goes -------------------------------------------------------------------------------

# Who may be told what: bodies of objects, the user's turn, and for the system prompt the records
# of the run and the champion that it belongs to, and the system turn.
TEXT_MAY_GO = {"PutObject": "Body", "Converse": "messages"}
PROMPT_MAY_GO = TEXT_MAY_GO | {
    "PutItem": "Item",
    "TransactWriteItems": "TransactItems",
    "Converse": "system",
}


def _told(stack: Stack, may_go: dict[str, str], tokens: tuple[str, ...]) -> list[str]:
    """Return the calls that told a token to somebody who may not know it."""
    told = []
    for call in stack.calls.made:
        rest = {k: v for k, v in call.parameters.items() if k != may_go.get(call.operation)}
        if call.operation == "Converse" and may_go is PROMPT_MAY_GO:
            rest.pop("messages")
        if found(repr(rest), tokens):
            told.append(str(call))
    return told


def test_the_whole_story_tells_nobody(stack: Stack, sinks: Sinks) -> None:
    # GIVEN prompts that become a champion, a log that it routes, and somebody who asks
    run = stack.train("prompts/labels.jsonl", PROMPTS)
    log = stack.route_log("query-logs/monday.jsonl", LOG)
    reply = stack.ask(secret(11))
    assert (run.state, log.state) == (RunState.PROMOTED, LogState.ROUTED)
    assert (reply["body"]["tier"], reply["body"]["weights"]) == ("distilled", weights(11))
    # THEN text is where it belongs
    objects = stack.world.data_objects()
    part = objects[naming.part_key(log.log_id, 0)].decode()
    training = objects[naming.run_key(run.run_id, "training.jsonl")].decode()
    assert (part.count(QUERY), part.count(COLUMN)) == (40, 40)
    assert (training.count(QUERY), training.count(REASON)) == (run.counts.training, 0)
    rejected = objects[naming.rejected_part_key(log.log_id, 0)].decode()
    assert (rejected.count(QUERY), rejected.count(COLUMN)) == (1, 1)
    # AND nowhere else
    seen = sinks.text()
    assert '"message":"query log routed"' in seen
    assert '"CloudWatchMetrics"' in seen
    assert found(seen) == []
    assert found(repr(sorted(objects))) == []
    assert found(repr(stack.published())) == []
    assert found(repr(stack.world.items(STATE)), TEXTS) == []
    assert found(repr(stack.world.items(CACHE))) == []
    assert _told(stack, TEXT_MAY_GO, TEXTS) == []
    assert _told(stack, PROMPT_MAY_GO, (PROMPT,)) == []


def _unpacked(key: str, body: bytes) -> bytes:
    """Look into a local model's artifact too: behind magic and checksum its payload is packed."""
    return zlib.decompress(body[40:]) if key.startswith("models/local/") else body


def test_each_object_holds_only_its_own_kind_of_text(stack: Stack) -> None:
    """Plans, manifests and summaries are for people who may not read the queries."""
    stack.train("prompts/labels.jsonl", PROMPTS)
    stack.route_log("query-logs/monday.jsonl", LOG)

    with_text = {
        re.sub("[0-9a-f]{64}", "<hash>", key.split("/", 2)[2])
        for key, body in stack.world.data_objects().items()
        if found(_unpacked(key, body).decode("utf-8", "replace"), TEXTS)
    }

    assert with_text == {
        "training.jsonl",
        "shards/shard-00000.jsonl",
        "holdout.jsonl",
        "rejected.jsonl",
        "evaluation/candidate/answers-00000.json",
        "evaluation/base/answers-00000.json",
        "evaluation/answers/<hash>.json",
        "evaluation/side-by-side.json",
        "parts/part-00000.jsonl",
        "rejected/part-00000.jsonl",
    }


# --- when things go wrong ------------------------------------------------------------------------


def test_bad_files_and_requests_are_refused_without_a_quotation(stack: Stack, sinks: Sinks) -> None:
    stack.serve()
    uploads = [
        ("prompts/a.jsonl", BAD_LINES),
        ("prompts/b.jsonl.gz", BAD_LINES),
        ("prompts/c.jsonl", PROMPTS.replace(PROMPT.encode(), b"another", 1)),
        ("prompts/d.jsonl", f"{QUERY}\ud83d".encode("utf-8", "surrogatepass") * 10_000),
        ("query-logs/a.jsonl", f'{{"{QUERY}": "{QUERY}"}}\n'.encode()),
        ("query-logs/b.jsonl", f"{QUERY}\n".encode() * 10),
    ]
    for key, body in uploads:
        sinks.attempt(partial(stack.upload, key, body))
    requests = [
        json.dumps({"query": f"{QUERY} " * 100}),
        json.dumps({"query": "", "hint": QUERY}),
        json.dumps({"query": [QUERY]}),
        json.dumps({QUERY: 1}),
        f'{{"query": "{QUERY}',
        f'{{"query": "{QUERY}\\ud800"}}',
    ]
    for request in requests:
        sinks.attempt(partial(stack.request, stack.http_event(request)))
    message = {"MessageId": "m", "ReceiptHandle": "r", "Attributes": {}}
    for text in (QUERY, json.dumps({"log_id": QUERY}), json.dumps([QUERY])):
        stack.invoke("route_queries", stack.queue_event({**message, "Body": text}))

    assert [run.state for run in dependencies().runs.all()].count(RunState.FAILED) == 4
    assert {log.state for log in dependencies().ledger.all()} == {LogState.FAILED}
    assert found(sinks.text()) == []
    assert found(repr(stack.published())) == []
    assert found(repr(stack.world.items(STATE)), TEXTS) == []


@contextmanager
def quoting(operation: str, code: str, status: int) -> Iterator[list[str]]:
    """Let one operation of AWS fail with a message that quotes all it was given."""
    original = BaseClient._make_api_call  # type: ignore[attr-defined]  # not in the stubs
    refused: list[str] = []

    def make_api_call(client: Any, name: str, parameters: Any) -> Any:
        if name != operation:
            return original(client, name, parameters)
        refused.append(name)
        message = f"Value '{parameters}' failed to satisfy constraint"
        reply: Any = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        raise ClientError(reply, name)

    with mock.patch.object(BaseClient, "_make_api_call", make_api_call):
        yield refused


def test_a_bedrock_that_quotes_is_not_repeated(stack: Stack, sinks: Sinks) -> None:
    # GIVEN a run to evaluate, a log to route and somebody who asks
    source = stack.upload("prompts/labels.jsonl", PROMPTS)
    stack.deliver_events()
    stack.end_jobs()
    stack.tick()
    with quoting("Converse", "ValidationException", 400) as refused:
        # WHEN Bedrock finds every single query invalid, and says so by quoting it
        sinks.attempt(stack.deliver_events)
        stack.serve()
        sinks.attempt(partial(stack.route_log, "query-logs/monday.jsonl", LOG))
        reply = stack.ask(secret(1))
    # THEN the model counts as unusable, and no quotation is left anywhere
    assert len(refused) > 3
    assert stack.run_of(source).state is RunState.EVALUATING
    assert reply["body"]["tier"] == "fallback"
    assert found(sinks.text()) == []
    assert found(repr(stack.world.items(STATE)), TEXTS) == []
    assert found(repr(stack.published())) == []


def test_answers_that_echo_the_query_are_not_repeated(stack: Stack, sinks: Sinks) -> None:
    """A model may answer with what it was asked; that is worth the prior, not a log line."""
    champion = stack.serve()
    echo = {
        "output": {"message": {"role": "assistant", "content": [{"text": f'{{"{QUERY}": 1}}'}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
        "metrics": {"latencyMs": 1},
    }
    original = BaseClient._make_api_call  # type: ignore[attr-defined]  # not in the stubs

    def make_api_call(client: Any, name: str, parameters: Any) -> Any:
        return echo if name == "Converse" else original(client, name, parameters)

    with mock.patch.object(BaseClient, "_make_api_call", make_api_call):
        stack.route_log("query-logs/monday.jsonl", LOG)
        reply = stack.ask(secret(1))

    assert tuple(reply["body"]["weights"].values()) == champion.serving.prior
    assert found(sinks.text()) == []
    assert found(repr(stack.world.items(CACHE))) == []


def _asking(stack: Stack) -> Callable[[], object]:
    stack.serve()
    return lambda: stack.ask(secret(1))


def _routing(stack: Stack) -> Callable[[], object]:
    stack.serve()
    stack.upload("query-logs/monday.jsonl", LOG[:200])
    (message,) = stack.world.messages()
    return lambda: stack.invoke("route_queries", stack.queue_event(message))


def _sharding(stack: Stack) -> Callable[[], object]:
    source = stack.world.upload("prompts/labels.jsonl", PROMPTS)
    return lambda: stack.invoke("shard_prompts", stack.upload_event("shard_prompts", source))


@pytest.mark.parametrize("prepare", [_asking, _routing, _sharding])
def test_whatever_call_fails_nothing_is_quoted(
    new_stack: NewStack, sinks: Sinks, prepare: Callable[[Stack], Callable[[], object]]
) -> None:
    with new_stack() as stack, aws_calls() as undisturbed:
        act = prepare(stack)
        undisturbed.made.clear()
        act()
    fired = 0
    for place in range(len(undisturbed.made)):
        with new_stack() as stack:
            act = prepare(stack)
            with aws_calls(place, Fault.ACCESS_DENIED) as calls:
                sinks.attempt(act)
            fired += calls.fired
    assert fired == len(undisturbed.made)
    assert found(sinks.text()) == []

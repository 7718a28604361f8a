"""Every AWS call that a routed log and a search request need, broken in every way, changes nothing.

An undisturbed run tells the calls. Then each of them meets each fault, the function is invoked
again as AWS would, and what is left behind is compared with what the undisturbed run left.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from moto.backends import get_backend

from search_router.dependencies import dependencies
from search_router.domain import naming
from search_router.domain.errors import SearchRouterError
from search_router.domain.uploads import ObjectRef
from tests.aws_calls import Crash, Fault, aws_calls
from tests.integration.material import lines, query, weights
from tests.integration.stack import Stack
from tests.integration.world import ACCOUNT, CACHE, DATA, REGION, STATE
from tests.records import gzipped
from tests.sweeps import EVERY

LOG = gzipped(
    lines([{"query": query(n % 3), "n": n} for n in range(6)]) + b'broken\n{"query": " "}\n'
)
ATTEMPTS = 4
TIMES = re.compile(rb'"(?:latency_ms|bytes|interrupted)": (?:[0-9]+|[{][^}]*[}])')

Disturb = tuple[str, int, Fault]


class Story:
    """One log from its upload to its end; one call of one function may be broken."""

    def __init__(self, stack: Stack, source: ObjectRef, disturb: Disturb | None = None) -> None:
        self._stack = stack
        self._source = source
        self._log_id = naming.log_id(*source)
        self._disturb = disturb
        self.calls: dict[str, int] = {}
        self.fired = 0

    def run(self) -> dict[str, bytes | str]:
        """Take the log through its functions and return what is left of it."""
        stack = self._stack
        stack.calls.made.clear()
        self._forget()
        planned = stack.upload_event("split_query_log", self._source)
        self._until_done("split_query_log", lambda _: planned)
        for message in stack.world.messages():
            self._until_done("route_queries", partial(self._received, message))
            stack.world.sqs.delete_message(
                QueueUrl=stack.world.queue_url, ReceiptHandle=message["ReceiptHandle"]
            )
        complete = ("QueryLogPartsComplete", {"log_id": self._log_id})
        assert complete in stack.published()
        finished = stack.event("finish_query_log", log_id=self._log_id)
        self._until_done("finish_query_log", lambda _: finished)
        assert ("QueryLogRouted", {"log_id": self._log_id}) in stack.published()
        return self._left()

    def _forget(self) -> None:
        """Let the log never have been, by reaching into moto: it happens hundreds of times."""
        tables = get_backend("dynamodb")[ACCOUNT][REGION].tables
        tables[CACHE].items.clear()
        state = tables[STATE].items
        for pk in [pk for pk in state if "LOG" in pk.value or "TRIES" in pk.value]:
            del state[pk]
        get_backend("s3")[ACCOUNT]["aws"].buckets[DATA].keys.clear()

    def _received(self, message: dict[str, Any], times: int) -> dict[str, Any]:
        attributes = {**message["Attributes"], "ApproximateReceiveCount": str(times)}
        return self._stack.queue_event({**message, "Attributes": attributes})

    def _until_done(self, function: str, event: Callable[[int], dict[str, Any]]) -> None:
        broken = self._disturb if self._disturb and self._disturb[0] == function else None
        with aws_calls(broken and broken[1], broken[2] if broken else Fault.CRASH_BEFORE) as calls:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    reply = self._stack.invoke(function, event(attempt))
                except (Crash, SearchRouterError):
                    continue
                if not (reply or {}).get("batchItemFailures"):
                    break
            else:
                pytest.fail(f"{function} is not done after {ATTEMPTS} attempts: {self._disturb}")
        self.calls[function] = len(calls.made)
        self.fired += calls.fired

    def _left(self) -> dict[str, bytes | str]:
        log = self._stack.log_of(self._source)
        head = f"{log.state} {log.parts} of {log.splits} parts, {log.rows} rows"
        # How long a call took depends on who else was waiting meanwhile; a summary counts the
        # deliveries that a fault ended.
        left = {key: TIMES.sub(b"", body) for key, body in self._stack.world.data_objects().items()}
        return {**left, "head": head}


@EVERY
def test_a_log_survives_every_fault_at_every_call(
    stack: Stack, every: int, tell: Callable[[str], None]
) -> None:
    stack.serve()
    source = stack.world.upload("query-logs/faults.jsonl.gz", LOG)
    clean = Story(stack, source)
    undisturbed = clean.run()
    assert {
        f"logs/{naming.log_id(*source)}/{name}.json" for name in ("manifest", "summary")
    } <= set(undisturbed)
    assert undisturbed["head"] == "ROUTED 1 of 1 parts, 8 rows"

    pairs = [
        (function, site, fault)
        for function, calls in clean.calls.items()
        for site in range(calls)
        for fault in Fault
    ][::every]
    for pair in pairs:
        story = Story(stack, source, pair)
        assert story.run() == undisturbed, pair
        assert story.fired == 1, pair
    tell(f"{clean.calls} call sites x {len(Fault)} faults, 1 in {every}: {len(pairs)} passed")


def test_a_search_survives_every_fault_at_every_call(
    stack: Stack, tell: Callable[[str], None]
) -> None:
    champion = stack.serve()
    body = json.dumps({"query": query(2)})

    def ask() -> dict[str, Any] | None:
        try:
            return dict(stack.invoke("route_api", stack.http_event(body)))
        except Crash:
            return None  # Lambda starts another container

    def fresh() -> None:
        get_backend("dynamodb")[ACCOUNT][REGION].tables[CACHE].items.clear()
        for cached in ("api_champions", "route_query"):
            dependencies().__dict__.pop(cached, None)

    fresh()
    with aws_calls() as rehearsal:
        ask()
    operations = [call.operation for call in rehearsal.made]
    assert operations == ["GetItem", "BatchGetItem", "Converse", "BatchWriteItem"]
    for site, operation in enumerate(operations):
        for fault in Fault:
            fresh()
            with aws_calls(site, fault) as calls:
                reply = ask()
            assert calls.fired == 1
            crashed = fault in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
            assert (reply is None) == crashed
            if reply is not None:
                expected = 503 if operation == "GetItem" else 200
                assert reply["statusCode"] == expected, (operation, fault)
            again = ask()
            assert again is not None
            assert again["statusCode"] == 200
            answer = json.loads(again["body"])
            assert (answer["weights"], answer["champion_version"]) == (weights(2), champion.version)
    tell(f"route_api: {len(operations)} call sites x {len(Fault)} faults passed")

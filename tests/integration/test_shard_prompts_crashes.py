"""shard_prompts dies at every AWS call that it makes, is run again, and leaves the same bytes."""

import json
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from functions.shard_prompts.app import lambda_handler
from search_router.dependencies import dependencies
from search_router.domain import naming
from search_router.domain.errors import TransientError
from tests.aws_calls import AwsCalls, Crash, Fault, aws_calls
from tests.conftest import FakeLambdaContext
from tests.fakes import VirtualClock
from tests.integration.world import STATE, UPLOADS, World

QUERIES = [{"query": f"query number {n} about topic {n % 7}"} for n in range(160)]
FILE = "".join(json.dumps(row) + "\n" for row in QUERIES).encode() + b'{"query": ""}\nnot json\n'

FAULTS = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.CONNECTION_ERROR, Fault.LOST_REPLY)

Leftovers = dict[str, bytes]
Rerun = Callable[[int | None, Fault], tuple[Leftovers, AwsCalls]]


@pytest.fixture
def rerun(
    world: World,
    load_event: Callable[[str], dict[str, Any]],
    lambda_context: FakeLambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> Rerun:
    """Return what runs the handler in an empty world, with one fault, until it is done."""

    def run(broken: int | None, fault: Fault) -> tuple[Leftovers, AwsCalls]:
        world.clear()
        source = world.upload("prompts/demo.jsonl", FILE)
        event = load_event("shard_prompts")
        event["detail"]["bucket"]["name"] = UPLOADS
        event["detail"]["object"] |= {"key": source.key, "version-id": source.version_id}
        monkeypatch.setattr(dependencies(), "clock", VirtualClock())
        with aws_calls(broken, fault) as calls:
            if broken is not None:
                with pytest.raises((Crash, TransientError)):
                    lambda_handler(event, lambda_context)
            lambda_handler(event, lambda_context)
        assert calls.fired == (broken is not None)
        return _leftovers(world, source.version_id or ""), calls

    return run


def test_a_crash_at_any_call_and_a_retry_leave_the_same_bytes(rerun: Rerun) -> None:
    # GIVEN what an undisturbed run leaves behind
    undisturbed, calls = rerun(None, Fault.CRASH_BEFORE)
    assert {"PutObject", "TransactWriteItems", "PutEvents"} <= {
        call.operation for call in calls.made
    }
    assert {"RUNS RUN", "runs/RUN/training.jsonl"} <= set(undisturbed)
    # WHEN the process dies, or a reply is lost, at any of its calls
    for site, fault in product(range(len(calls.made)), FAULTS):
        leftovers, disturbed = rerun(site, fault)
        # THEN the retry leaves the same, and the event was put
        place = f"{fault} at call {site}, {calls.made[site]}"
        assert leftovers == undisturbed, place
        assert "PromptsSharded" in disturbed.events(), place


def _leftovers(world: World, version_id: str) -> Leftovers:
    """Return objects and items, with what differs from world to world replaced."""
    run_id = naming.run_id(UPLOADS, "prompts/demo.jsonl", version_id)
    found = world.data_objects()
    for item in world.items(STATE):
        found[f"{item['pk']['S']} {item['sk']['S']}"] = json.dumps(item, sort_keys=True).encode()
    return {
        key.replace(run_id, "RUN"): body.replace(run_id.encode(), b"RUN").replace(
            version_id.encode(), b"VERSION"
        )
        for key, body in found.items()
    }

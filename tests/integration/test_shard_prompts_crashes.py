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
from search_router.domain.uploads import ObjectRef
from tests.aws_calls import AwsCalls, Crash, Fault, aws_calls
from tests.conftest import FakeLambdaContext
from tests.fakes import VirtualClock
from tests.integration.world import STATE, UPLOADS, World
from tests.records import gzipped
from tests.sweeps import EVERY

QUERIES = [{"query": f"query number {n} about topic {n % 7}"} for n in range(160)]
FILE = "".join(json.dumps(row) + "\n" for row in QUERIES).encode() + b'{"query": ""}\nnot json\n'

FOLDER = {
    "prompts/demo/b.jsonl": FILE[5_000:],
    "prompts/demo/a.jsonl.gz": gzipped(FILE[:5_000]),
}
ONE_FILE = {"prompts/demo.jsonl": FILE}
SEVERAL_FILES = FOLDER | {"prompts/demo/_SUCCESS": b""}

FAULTS = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.CONNECTION_ERROR, Fault.LOST_REPLY)

Leftovers = dict[str, bytes]
Rerun = Callable[[dict[str, bytes], int | None, Fault], tuple[Leftovers, AwsCalls]]


@pytest.fixture
def rerun(
    world: World,
    load_event: Callable[[str], dict[str, Any]],
    lambda_context: FakeLambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> Rerun:
    """Return what runs the handler in an empty world, with one fault, until it is done."""

    def run(
        files: dict[str, bytes], broken: int | None, fault: Fault
    ) -> tuple[Leftovers, AwsCalls]:
        world.clear()
        sources = [world.upload(key, body) for key, body in files.items()]
        source = sources[-1]
        event = load_event("shard_prompts")
        event["detail"]["bucket"]["name"] = UPLOADS
        event["detail"]["object"] |= {"key": source.key, "version-id": source.version_id}
        monkeypatch.setattr(dependencies(), "clock", VirtualClock())
        with aws_calls(broken, fault) as calls:
            if broken is not None:
                with pytest.raises((Crash, TransientError)):
                    lambda_handler(event, lambda_context)
                if any(key.endswith("files.json") for key in world.data_objects()):
                    for late in sources[:-1]:  # once the files are fixed, this changes nothing
                        world.upload(late.key, b"something else")
            lambda_handler(event, lambda_context)
        assert calls.fired == (broken is not None)
        return _leftovers(world, sources), calls

    return run


@EVERY
@pytest.mark.parametrize(
    ("files", "faults"),
    [(ONE_FILE, FAULTS), (SEVERAL_FILES, (Fault.CRASH_BEFORE, Fault.LOST_REPLY))],
    ids=["one file", "several files"],
)
def test_a_crash_at_any_call_and_a_retry_leave_the_same_bytes(
    rerun: Rerun, files: dict[str, bytes], faults: tuple[Fault, ...], every: int
) -> None:
    # GIVEN what an undisturbed run leaves behind
    undisturbed, calls = rerun(files, None, Fault.CRASH_BEFORE)
    assert {"PutObject", "TransactWriteItems", "PutEvents"} <= {
        call.operation for call in calls.made
    }
    assert {"RUNS RUN", "runs/RUN/training.jsonl"} <= set(undisturbed)
    # WHEN the process dies, or a reply is lost, at any of its calls
    for site, fault in list(product(range(len(calls.made)), faults))[::every]:
        leftovers, disturbed = rerun(files, site, fault)
        # THEN the retry leaves the same, and the event was put
        place = f"{fault} at call {site}, {calls.made[site]}"
        assert leftovers == undisturbed, place
        assert "PromptsSharded" in disturbed.events(), place


def _leftovers(world: World, sources: list[ObjectRef]) -> Leftovers:
    """Return objects and items, with what differs from world to world replaced."""
    run_id = naming.run_id(*sources[-1])
    versions = {(source.version_id or "").encode(): b"VERSION" for source in sources}
    found = world.data_objects()
    for item in world.items(STATE):
        found[f"{item['pk']['S']} {item['sk']['S']}"] = json.dumps(item, sort_keys=True).encode()
    return {
        key.replace(run_id, "RUN"): _replaced(body, {run_id.encode(): b"RUN"} | versions)
        for key, body in found.items()
    }


def _replaced(body: bytes, names: dict[bytes, bytes]) -> bytes:
    for name, replacement in names.items():
        body = body.replace(name, replacement)
    return body

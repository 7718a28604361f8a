"""Each AWS call of the functions that route queries, broken in each way, one at a time."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.faults import HOUR, Fault, FaultPlan, OneFault
from tests.simulation.histories import ended
from tests.simulation.invariants import violations
from tests.simulation.model_life import Steady
from tests.simulation.uploads import LogFile, a_log_file
from tests.simulation.virtual_aws.models import MODALITIES
from tests.simulation.wiring import golden_event
from tests.simulation.world import new_world
from tests.sweeps import EVERY

FUNCTIONS = frozenset({"split_query_log", "route_queries", "finish_query_log"})
PLANNER = frozenset({"split_query_log"})  # of a packed log: it writes the unpacked copies
FAULTS = (
    Fault.CRASH_BEFORE,
    Fault.CRASH_AFTER,
    Fault.CONNECTION_ERROR,
    Fault.LOST_REPLY,
    Fault.THROTTLED,
    Fault.SERVER_ERROR,
    Fault.ACCESS_DENIED,
    Fault.STALL,
)
FATAL = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.STALL)  # the caller gets Lambda's own 502


@EVERY
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("form", "functions"), [(".jsonl", FUNCTIONS), (".csv.gz", PLANNER)], ids=["jsonl", "csv.gz"]
)
def test_a_log_that_is_broken_at_any_call_is_routed_all_the_same(
    form: str, functions: frozenset[str], fault: Fault, every: int, tell: Callable[[str], None]
) -> None:
    whole = _plan(fault, broken=-1, functions=functions)
    assert _log_violations(whole, form) == []
    calls = list(whole.made)

    broken = {
        f"{number}: {call}": found
        for number, call in list(enumerate(calls))[::every]
        if (found := _log_violations(_plan(fault, number, functions), form))
    }

    assert {call.split()[0] for call in calls} == functions
    assert broken == {}
    names = ", ".join(sorted(functions))
    tell(f"{form}, {fault}: 1 in {every} of {len(calls)} calls of {names}, all passed")


@EVERY
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in FATAL])
def test_a_question_to_the_api_is_answered_whatever_call_breaks(
    fault: Fault, every: int, tell: Callable[[str], None]
) -> None:
    functions = frozenset({"route_api"})
    whole = _plan(fault, -1, functions)
    assert _asked(whole)["statusCode"] == 200
    calls = list(whole.made)
    assert calls

    for number in range(0, len(calls), every):
        reply = _asked(_plan(fault, number, functions))
        body = json.loads(reply["body"])
        assert reply["statusCode"] in (200, 503)
        if reply["statusCode"] == 200:
            assert sum(body["weights"][name] for name in MODALITIES) == pytest.approx(1.0)
        else:
            assert body["message"]
    tell(f"{fault}: 1 in {every} of {len(calls)} calls of route_api, all answered")


def _plan(fault: Fault, broken: int, functions: frozenset[str]) -> OneFault:
    return OneFault(Steady(), 0.0, 0.0, 0.0, functions=functions, fault=fault, broken=broken)


def _log_violations(plan: FaultPlan, form: str) -> list[str]:
    """Route one log of a few splits and return what is not as promised."""
    random.seed(1)
    with new_world(plan, plan.chance, split_bytes=400) as world:
        world.promote()
        world.schedule.start()
        file: LogFile = a_log_file(random.Random(5), f"query-logs/log{form}", 8)

        def upload() -> None:
            file.source = world.upload(file.key, file.body)

        world.at(0.0, upload)
        world.scheduler.run(30 * HOUR, lambda: world.quiet and ended(world, file))
        return violations(world, [file])


def _asked(plan: FaultPlan) -> dict[str, Any]:
    """Ask the API one question."""
    replies: list[Any] = []
    with new_world(plan, plan.chance, split_bytes=400) as world:
        world.promote()
        event = golden_event("route_api")
        world.at(0.0, lambda: world.runtime.invoke("route_api", event, replies.append))
        world.scheduler.run(HOUR, lambda: world.quiet)
    (outcome,) = replies
    assert outcome.error is None, outcome.error
    reply: dict[str, Any] = outcome.reply
    return reply

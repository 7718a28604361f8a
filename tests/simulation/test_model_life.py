"""A model's life in simulated time, undisturbed and with everything that may happen to it."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.world import STATE
from tests.simulation.faults import HOUR, Fault, FaultPlan, OneFault
from tests.simulation.model_life import JOB_SECONDS, PERIOD, ModelLife, Steady, new_life
from tests.sweeps import EVERY, sampled

LIFECYCLE = frozenset(
    {"start_distillation", "deploy_model", "track_runs", "evaluate_model", "promote_model"}
)
TEACHER = "amazon.nova-pro-v1:0"


def test_prompts_become_the_champion() -> None:
    with new_life() as life:
        life.upload()
        life.run()

        assert _states(life) == ["PROMOTED"]
        assert (life.jobs, len(life.deployments)) == (1, 1)
        assert [champion["version"] for champion in life.champions] == [1, 1]
        assert life.champions[-1]["serving"]["model_id"] == life.deployments[0]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"job_failure": "the training data could not be read"}, "could not be read"),
        ({"deployment_failure": "no capacity in this region"}, "no capacity"),
        ({"retired_models": TEACHER}, TEACHER),
    ],
    ids=["job Failed", "deployment Failed", "teacher retired"],
)
def test_a_life_that_fails_says_why_and_leaves_nothing_that_is_paid_for(
    settings: dict[str, Any], reason: str
) -> None:
    with new_life(**settings) as life:
        life.upload()
        life.run()

        assert _states(life) == ["FAILED"]
        assert reason in life.runs[0]["reason"]
        assert life.deployments == []
        assert life.champions == []
        assert life.events("RunFailed") >= 1
        assert life.jobs == (0 if "retired_models" in settings else 1)


def test_a_job_that_somebody_stops_ends_the_run() -> None:
    with new_life() as life:
        life.upload()
        life.world.at(HOUR / 2, life.stop_job)
        life.run()

        assert _states(life) == ["STOPPED"]
        assert life.deployments == []


def test_a_lost_event_of_bedrock_is_made_up_for_within_one_period() -> None:
    with new_life(event_loss_rate=1.0) as life:
        life.upload()
        life.run()

        assert _states(life) == ["PROMOTED"]
        started, deployed = (
            _when(life, "CreateModelCustomizationJob"),
            _when(life, "CreateCustomModelDeployment"),
        )
        assert JOB_SECONDS <= deployed - started <= JOB_SECONDS + PERIOD + 5


@pytest.mark.parametrize("seed", sampled(range(1, 6), kept=1))
def test_events_twice_and_out_of_order_buy_and_promote_once(seed: int) -> None:
    certain = frozenset({Fault.EVENT_TWICE, Fault.EVENT_LATE})
    plan = FaultPlan(random.Random(seed), 0.0, 0.0, 0.0, certain=certain)
    with new_life(plan, event_duplicate_rate=1.0) as life:
        life.upload()
        life.run()

        assert _states(life) == ["PROMOTED"]
        assert (life.jobs, len(life.deployments)) == (1, 1)
        assert [champion["version"] for champion in life.champions] == [1, 1]


def test_forged_events_change_nothing() -> None:
    undisturbed = _end_state(OneFault(Steady(), 0.0, 0.0, 0.0))
    with new_life() as life:
        life.upload()
        for seconds in (1.0, 30.0, HOUR / 2, HOUR + 130.0, HOUR + 700.0, HOUR + 900.0):
            life.world.at(seconds, life.forge)
        life.run()

        assert life.end_state() == undisturbed
        assert life.world.bus.dead_letters == []


def test_of_two_runs_that_finish_together_one_is_the_champion() -> None:
    with new_life() as life:
        life.upload(first=0)
        life.upload(first=1_000)
        life.run()

        _assert_one_champion(life)
        assert life.jobs == 2


def test_a_worse_candidate_is_rejected_and_torn_down() -> None:
    with new_life() as life:
        life.upload()
        life.upload(2 * HOUR, first=2_000, wrong=True)
        life.run()

        assert _states(life) == ["PROMOTED", "REJECTED"]
        assert [champion["version"] for champion in life.champions] == [1, 1]
        assert life.deployments == [life.champions[-1]["serving"]["model_id"]]


@pytest.mark.parametrize("seed", sampled(range(1, 31), kept=2))
def test_a_life_in_trouble_comes_to_the_same_end(seed: int) -> None:
    chance = random.Random(seed)
    plan = FaultPlan(chance, chance.choice((0.02, 0.05)), stubborn=0.3, calm_at=2 * HOUR)
    with new_life(plan, event_loss_rate=0.3, event_duplicate_rate=0.3) as life:
        life.upload()
        if seed % 2:
            life.upload(chance.uniform(0.0, HOUR), first=1_000)
        life.run(until=60 * HOUR)

        _assert_one_champion(life)
        assert life.jobs == len(life.uploads)


@EVERY
@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.LOST_REPLY])
def test_a_life_that_is_broken_at_any_call_ends_as_if_it_were_not(
    fault: Fault, every: int, tell: Callable[[str], None]
) -> None:
    plan = OneFault(Steady(), 0.0, 0.0, 0.0, functions=LIFECYCLE)
    undisturbed = _end_state(plan)
    assert undisturbed["runs"][0]["state"] == "PROMOTED"
    calls = list(plan.made)
    different = [
        f"{number}: {call}"
        for number, call in list(enumerate(calls))[::every]
        if _end_state(
            OneFault(Steady(), 0.0, 0.0, 0.0, functions=LIFECYCLE, fault=fault, broken=number)
        )
        != undisturbed
    ]

    assert {call.split()[0] for call in calls} == LIFECYCLE
    assert different == []
    tell(f"{fault}: 1 in {every} of {len(calls)} calls of {len(LIFECYCLE)} functions, all passed")


def _end_state(plan: FaultPlan) -> dict[str, Any]:
    with new_life(plan) as life:
        life.world.schedule.every = 3 * PERIOD
        life.upload()
        life.run()
        return life.end_state()


def _assert_one_champion(life: ModelLife) -> None:
    """Versions count up, each belongs to one promoted run; the pointer names the last."""
    *history, pointer = life.champions
    promoted = [run for run in life.runs if run["state"] == "PROMOTED"]
    assert {run["state"] for run in life.runs} <= {"PROMOTED", "REJECTED"}, life.runs
    assert [champion["version"] for champion in history] == list(range(1, len(promoted) + 1))
    assert sorted(run["champion_version"] for run in promoted) == [c["version"] for c in history]
    assert pointer["version"] == history[-1]["version"]
    assert set(life.deployments) == {champion["serving"]["model_id"] for champion in history}
    assert ("CHAMPION", "CURRENT") in life.world.dynamodb.tables[STATE]


def _states(life: ModelLife) -> list[str]:
    return [run["state"] for run in life.runs]


def _when(life: ModelLife, operation: str) -> float:
    """Return when a call was first made."""
    lines = [line for line in life.world.lines if f":{operation} " in line]
    return float(lines[0][:10])

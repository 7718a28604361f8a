"""`distill RUN`: what was bought is never bought twice unless somebody says so."""

import pytest

from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.events import PromptsSharded
from search_router.domain.lifecycle.deadlines import DEADLINES
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.use_cases.restart_run import restart_run
from search_router.use_cases.run_lifecycle import RunLifecycle
from tests.records import jsonl
from tests.unit.use_cases.world import World, labelled_rows, ran


def restart(world: World, run_id: str, *, again: bool = False) -> Run:
    lifecycle = RunLifecycle(world.runs, world.events, world.clock)
    return restart_run(run_id, again=again, lifecycle=lifecycle, deployments=world.customizer)


def ended(world: World, status: str) -> Run:
    run = world.training()
    world.customizer.end_job(run.job_name, status, "out of capacity")
    world.deploy(run.job_arn)
    return world.run(run.run_id)


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_a_lost_job_is_bought_again_only_on_demand(world: World, status: str) -> None:
    run = ended(world, status)
    with pytest.raises(InvalidInputError, match=f"is {status} .out of capacity.; --again buys"):
        restart(world, run.run_id)

    world.events.published.clear()
    restarted = restart(world, run.run_id, again=True)
    assert (restarted.state, restarted.attempt, restarted.job_name) == (RunState.SHARDED, 2, "")
    assert world.events.published == [PromptsSharded(run_id=run.run_id)]

    started = ran(world.start(run.run_id))
    assert started.job_name == f"{run.job_name.removesuffix('-1')}-2"
    assert len(world.customizer.started) == 2


def test_a_restarted_run_is_looked_after_again(world: World) -> None:
    run = ended(world, "Failed")
    world.clock.advance(DEADLINES[RunState.SHARDED])
    world.track()
    world.track()
    assert run.run_id not in world.runs.listed

    restart(world, run.run_id, again=True)

    assert run.run_id in world.runs.listed
    world.track()
    assert world.run(run.run_id).state is RunState.SHARDED, "its deadline begins anew"


def test_a_run_that_expired_adopts_the_job_that_was_completed_after_all(world: World) -> None:
    run = world.training()
    world.clock.advance(DEADLINES[RunState.TRAINING])
    world.track()
    assert world.run(run.run_id).state is RunState.FAILED
    world.customizer.end_job(run.job_name)

    restart(world, run.run_id)
    world.start(run.run_id)
    world.track()

    assert world.run(run.run_id).state is RunState.DEPLOYING
    assert len(world.customizer.started) == 1


def test_an_old_deployment_is_removed_before_another_attempt(world: World) -> None:
    run = world.evaluating()
    world.clock.advance(DEADLINES[RunState.EVALUATING])
    world.track()

    restarted = restart(world, run.run_id, again=True)

    assert world.customizer.torn_down == [run.deployment_arn]
    assert (restarted.deployment_arn, restarted.torn_down) == ("", False)


def test_a_sharded_run_is_only_announced(world: World) -> None:
    run = world.sharded()
    world.events.published.clear()

    assert restart(world, run.run_id) == run
    assert world.events.published == [PromptsSharded(run_id=run.run_id)]


def test_what_was_no_training_set_cannot_become_one(world: World) -> None:
    run = world.sharded(jsonl(labelled_rows(99)))

    with pytest.raises(InvalidInputError, match=r"never was a training set .* upload a better"):
        restart(world, run.run_id, again=True)


def test_a_run_that_goes_its_way_or_won_is_left_alone(world: World) -> None:
    for run in (world.training(), world.promoted(jsonl(labelled_rows(300, "other")))):
        with pytest.raises(InvalidInputError, match=f"is {run.state}: there is nothing"):
            restart(world, run.run_id, again=True)
    with pytest.raises(NotFoundError):
        restart(world, "run-000000000000")

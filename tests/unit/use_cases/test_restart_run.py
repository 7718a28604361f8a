"""`distill RUN`: no second job is paid for without --again."""

import pytest

from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.events import PromptsSharded
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.lifecycle.tracking import RUN_DEADLINES
from tests.records import deployment_of, job_of, jsonl
from tests.unit.use_cases.world import World, labelled_rows, ran


def ended(world: World, status: str) -> Run:
    run = world.training()
    world.customizer.end_job(job_of(run).job_name, status, "out of capacity")
    world.deploy(job_of(run).job_arn)
    return world.run(run.run_id)


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_a_failed_job_is_started_anew_only_on_demand(world: World, status: str) -> None:
    run = ended(world, status)
    with pytest.raises(InvalidInputError, match=rf"is {status} \(out of capacity\). .* --again"):
        world.restart(run.run_id)

    world.events.published.clear()
    restarted = world.restart(run.run_id, again=True)
    assert (restarted.state, restarted.attempt, restarted.training) == (RunState.SHARDED, 2, None)
    assert world.events.published == [PromptsSharded(run_id=run.run_id)]

    started = ran(world.start(run.run_id))
    assert job_of(started).job_name == f"{job_of(run).job_name.removesuffix('-1')}-2"
    assert len(world.customizer.started) == 2


def test_a_restarted_run_is_tracked_again(world: World) -> None:
    run = ended(world, "Failed")
    world.clock.advance(RUN_DEADLINES[RunState.SHARDED])
    world.track()
    world.track()
    assert run.run_id not in world.runs.listed

    world.restart(run.run_id, again=True)

    assert run.run_id in world.runs.listed
    world.track()
    assert world.run(run.run_id).state is RunState.SHARDED, "its deadline starts again"


def test_an_expired_run_adopts_its_job_that_completed_later(world: World) -> None:
    run = world.training()
    world.clock.advance(RUN_DEADLINES[RunState.TRAINING])
    world.track()
    assert world.run(run.run_id).state is RunState.FAILED
    world.customizer.end_job(job_of(run).job_name)

    world.restart(run.run_id)
    world.start(run.run_id)
    world.track()

    assert world.run(run.run_id).state is RunState.DEPLOYING
    assert len(world.customizer.started) == 1


def test_the_old_deployment_is_deleted_before_another_attempt(world: World) -> None:
    run = world.evaluating()
    world.clock.advance(RUN_DEADLINES[RunState.EVALUATING])
    world.track()

    restarted = world.restart(run.run_id, again=True)

    assert world.customizer.deleted == [deployment_of(run).arn]
    assert (restarted.training, restarted.deployment) == (None, None)


def test_a_sharded_run_is_only_published(world: World) -> None:
    run = world.sharded()
    world.events.published.clear()

    assert world.restart(run.run_id) == run
    assert world.events.published == [PromptsSharded(run_id=run.run_id)]


def test_a_rejected_upload_cannot_be_restarted(world: World) -> None:
    run = world.sharded(jsonl(labelled_rows(99)))

    with pytest.raises(InvalidInputError, match=r"was rejected .* Upload a corrected"):
        world.restart(run.run_id, again=True)


def test_an_open_or_promoted_run_cannot_be_restarted(world: World) -> None:
    for run in (world.training(), world.promoted(jsonl(labelled_rows(300, "other")))):
        with pytest.raises(InvalidInputError, match=f"cannot be restarted: .* is {run.state}"):
            world.restart(run.run_id, again=True)
    with pytest.raises(NotFoundError):
        world.restart("run-000000000000")

"""Job events: only the ARN is trusted, and every run that waits for the job moves."""

import pytest

from search_router.domain.errors import AccessDeniedError, ConflictError, InvalidInputError
from search_router.domain.events import RunFailed
from search_router.domain.lifecycle.distillation import JobView
from search_router.domain.lifecycle.runs import Run, RunState
from tests.fakes import InMemoryCustomizer, InMemoryRuns
from tests.records import deployment_of, job_of, jsonl
from tests.unit.use_cases.world import World, ignored, labelled_rows


def followed(outcome: object) -> list[Run]:
    assert isinstance(outcome, list), outcome
    return outcome


def test_a_completed_job_is_deployed(world: World) -> None:
    run = world.training()
    job = world.customizer.end_job(job_of(run).job_name)

    [deploying] = followed(world.deploy(job_of(run).job_arn))

    assert (deploying.state, job_of(deploying).job_status) == (RunState.DEPLOYING, "Completed")
    assert job_of(deploying).model_arn == job.model_arn
    assert deployment_of(deploying).name == f"{job_of(run).job_name}-serving"
    assert (
        deployment_of(deploying).arn
        == world.customizer.deployment(deployment_of(deploying).name).arn
    )
    assert deployment_of(deploying).status == "Creating"
    assert world.run(run.run_id) == deploying


@pytest.mark.parametrize(
    ("status", "failure", "state", "reason"),
    [
        ("Failed", "Training data is invalid", RunState.FAILED, "Training data is invalid"),
        ("Failed", "", RunState.FAILED, "the distillation job is Failed"),
        ("Stopped", "", RunState.STOPPED, "the distillation job is Stopped"),
    ],
)
def test_a_job_that_ended_without_a_model_ends_the_run(
    world: World, status: str, failure: str, state: RunState, reason: str
) -> None:
    run = world.training()
    world.customizer.end_job(job_of(run).job_name, status, failure)

    [ended] = followed(world.deploy(job_of(run).job_arn))

    assert (ended.state, ended.reason, job_of(ended).job_status) == (state, reason, status)
    assert world.events.of(RunFailed) == [RunFailed(run_id=run.run_id, reason=reason)]
    assert world.customizer.deployed == []


@pytest.mark.parametrize("status", ["InProgress", "Stopping", "SomethingNew"])
def test_any_other_status_is_recorded_and_the_run_stays(world: World, status: str) -> None:
    run = world.training()
    world.customizer.end_job(job_of(run).job_name, status)

    [after] = followed(world.deploy(job_of(run).job_arn))
    [again] = followed(world.deploy(job_of(run).job_arn))

    assert (after.state, job_of(after).job_status) == (RunState.TRAINING, status)
    assert again.revision == after.revision == run.revision + (status != "InProgress")


def test_a_forged_event_about_a_running_job_changes_nothing(world: World) -> None:
    """Anyone in the account can send "Completed"; the status is read from Bedrock."""
    run = world.training()

    world.deploy(job_of(run).job_arn)

    assert world.run(run.run_id) == run
    assert world.customizer.deployed == []


def test_an_unknown_job_is_ignored(world: World) -> None:
    assert ignored(world.deploy("arn:of:nothing")) == "Bedrock has no such job"


def test_a_forged_name_that_bedrock_rejects_is_ignored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(_: InMemoryCustomizer, identifier: str) -> JobView:
        raise InvalidInputError(f"read the distillation job: {identifier} is no identifier")

    monkeypatch.setattr(InMemoryCustomizer, "job", job)

    assert ignored(world.deploy("arn:of:nothing")) == "Bedrock has no such job"


def test_a_job_of_another_stack_is_ignored(world: World) -> None:
    world.customizer.jobs["theirs"] = JobView("theirs", "arn:theirs", "Completed", "arn:m", "")
    ours = "search-router-0123456789abcdef-1"
    world.customizer.jobs[ours] = JobView(ours, "arn:other-stack", "Completed", "arn:m", "")

    assert ignored(world.deploy("arn:theirs")) == "not our job"
    assert ignored(world.deploy("arn:other-stack")) == "no run waits for the job"
    assert world.customizer.deployed == []


def test_a_repeated_event_deploys_nothing_twice(world: World) -> None:
    run = world.deploying()

    [again] = followed(world.deploy(job_of(run).job_arn))

    assert again == run
    assert len(world.customizer.deployed) == 1


def test_a_repeated_event_of_a_failed_job_is_published_again(world: World) -> None:
    run = world.training()
    world.customizer.end_job(job_of(run).job_name, "Failed", "bad data")

    for _ in range(2):
        [ended] = followed(world.deploy(job_of(run).job_arn))

    assert ended.state is RunState.FAILED
    assert world.events.of(RunFailed) == [RunFailed(run_id=run.run_id, reason="bad data")] * 2


def test_runs_of_the_same_bytes_share_job_and_deployment(world: World) -> None:
    one, other = world.training(key="prompts/a.jsonl"), world.training(key="prompts/b.jsonl")
    world.customizer.end_job(job_of(one).job_name)

    moved = followed(world.deploy(job_of(one).job_arn))

    assert {run.run_id for run in moved} == {one.run_id, other.run_id}
    assert len({deployment_of(run).arn for run in moved}) == 1
    assert len(world.customizer.deployed) == 1


def test_an_exhausted_quota_does_not_fail_the_run_and_track_runs_retries(world: World) -> None:
    world.customizer.slots = 1
    first = world.deploying()
    second = world.training(jsonl(labelled_rows(200)))
    world.customizer.end_job(job_of(second).job_name)

    [waiting] = followed(world.deploy(job_of(second).job_arn))
    assert (waiting.state, job_of(waiting).job_status) == (RunState.TRAINING, "Completed")
    assert "no slot is free" in waiting.reason

    world.track()
    assert world.run(second.run_id).state is RunState.TRAINING

    world.customizer.delete(deployment_of(first).arn)
    world.track()
    after = world.run(second.run_id)
    assert (after.state, after.reason) == (RunState.DEPLOYING, "")
    assert world.events.of(RunFailed) == []


def test_any_other_error_is_raised_and_leaves_the_run_unchanged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.training()
    world.customizer.end_job(job_of(run).job_name)

    def denied(*_: object) -> str:
        raise AccessDeniedError("deploy the model")

    monkeypatch.setattr(InMemoryCustomizer, "deploy", denied)
    with pytest.raises(AccessDeniedError):
        world.deploy(job_of(run).job_arn)

    assert world.run(run.run_id) == run


def test_two_concurrent_deliveries_make_one_move_and_one_deployment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.training()
    world.customizer.end_job(job_of(before).job_name)
    [winner] = followed(world.deploy(job_of(before).job_arn))
    monkeypatch.setattr(InMemoryRuns, "get", lambda *_: before)  # read before the winner wrote

    def lost(*_: object) -> None:
        raise ConflictError("move a run: concurrent write")

    monkeypatch.setattr(InMemoryRuns, "check", lost)
    with pytest.raises(ConflictError):
        world.deploy(job_of(before).job_arn)

    monkeypatch.undo()
    assert world.run(before.run_id) == winner
    assert len(world.customizer.deployed) == 1

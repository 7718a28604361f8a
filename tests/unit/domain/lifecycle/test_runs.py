"""Runs: legal transitions only, and one revision per change."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from search_router.domain.errors import ConflictError, InvalidInputError
from search_router.domain.lifecycle.judging import Judging
from search_router.domain.lifecycle.runs import (
    OPEN_STATES,
    TRANSITIONS,
    DeploymentStatus,
    JobStatus,
    Run,
    RunState,
)
from tests.fakes import START
from tests.records import (
    a_deployment,
    a_run,
    a_serving_model,
    a_training_job,
    an_evaluation,
    job_of,
)

S = RunState
DOCUMENTED = {
    (S.SHARDED, S.TRAINING),
    (S.TRAINING, S.DEPLOYING),
    (S.DEPLOYING, S.EVALUATING),
    (S.EVALUATING, S.PROMOTED),
    (S.EVALUATING, S.REJECTED),
    (S.EVALUATING, S.AWAITING_APPROVAL),
    (S.AWAITING_APPROVAL, S.PROMOTED),
    (S.AWAITING_APPROVAL, S.REJECTED),
    (S.AWAITING_APPROVAL, S.EVALUATING),
    (S.REJECTED, S.DEPLOYING),
    *((state, end) for state in OPEN_STATES for end in (S.FAILED, S.STOPPED)),
    *((end, S.SHARDED) for end in (S.FAILED, S.STOPPED)),
}
LATER = START + timedelta(minutes=1)


@pytest.mark.parametrize("start", RunState)
@pytest.mark.parametrize("end", RunState)
def test_only_the_documented_transitions_are_legal(start: RunState, end: RunState) -> None:
    run = a_run(start)
    if (start, end) in DOCUMENTED:
        assert run.moved(end, LATER).state is end
    else:
        with pytest.raises(ConflictError, match=f"cannot go from {start} to {end}"):
            run.moved(end, LATER)


def test_every_state_can_be_reached_from_the_first() -> None:
    reached, frontier = {S.SHARDED}, [S.SHARDED]
    while frontier:
        for state in TRANSITIONS[frontier.pop()] - reached:
            reached.add(state)
            frontier.append(state)

    assert reached == set(RunState)


def test_every_open_state_can_end_and_no_other_is_open() -> None:
    assert all(TRANSITIONS[state] >= {S.FAILED, S.STOPPED} for state in OPEN_STATES)
    assert {state for state in RunState if a_run(state).is_open} == set(OPEN_STATES)
    assert {state for state in RunState if a_run(state).promoted} == {S.PROMOTED}


def test_a_change_is_one_revision_and_leaves_the_old_run_unchanged() -> None:
    run = a_run()

    moved = run.moved(S.TRAINING, LATER, training=a_training_job())
    updated = moved.updated(LATER, training=a_training_job(job_status="Stopping"))

    assert (run.state, run.revision, run.updated_at) == (S.SHARDED, 0, START)
    assert (moved.revision, moved.updated_at, moved.state_since) == (1, LATER, LATER)
    assert moved.training == a_training_job()
    assert (updated.revision, updated.state, job_of(updated).job_status) == (
        2,
        S.TRAINING,
        "Stopping",
    )


def test_a_restarted_run_keeps_nothing_but_its_dataset() -> None:
    judging = Judging(jobs=(), since=START)
    ended = a_run(
        S.FAILED,
        reason="out of capacity",
        training=a_training_job(),
        deployment=a_deployment(),
        evaluating_until=START,
        evaluation=an_evaluation(),
        judging=judging,
    )

    restarted = ended.restarted(LATER, again=True)

    fresh = a_run()
    assert restarted == fresh.replace(attempt=2, revision=1, updated_at=LATER, state_since=LATER)
    assert ended.restarted(LATER, again=False).attempt == 1


@pytest.mark.parametrize("state", [S.EVALUATING, S.AWAITING_APPROVAL])
def test_a_repeated_evaluation_starts_without_scores_and_judge(state: S) -> None:
    judging = Judging(jobs=(), since=START)
    run = a_run(state, reason="inconclusive", evaluation=an_evaluation(), judging=judging)

    again = run.evaluated_again(LATER)

    assert (again.state, again.reason, again.revision) == (S.EVALUATING, "", 1)
    assert (again.evaluation, again.judging) == (None, None)
    assert again.serving == run.serving


def test_replace_validates_names_and_values() -> None:
    with pytest.raises(TypeError, match="Run has no field deployments"):
        a_run().replace(deployments=())
    with pytest.raises(ValidationError):
        a_run().replace(deployment="arn")


def test_a_run_is_equal_after_a_round_trip_through_json() -> None:
    run = a_run(S.EVALUATING, evaluation=an_evaluation(), champion_version=3)

    assert Run.model_validate_json(run.model_dump_json()) == run


def test_unknown_fields_of_a_newer_version_are_ignored() -> None:
    newer = {**a_run().model_dump(mode="json"), "added_later": 1}

    assert Run.model_validate(newer) == a_run()


def test_serving_settings_come_from_dataset_job_and_deployment() -> None:
    assert a_run(S.EVALUATING).serving == a_serving_model()


def test_a_run_without_a_deployment_has_no_serving_settings() -> None:
    with pytest.raises(InvalidInputError, match=r"no deployed model: run-\w+ is TRAINING"):
        _ = a_run(S.TRAINING).serving


def test_statuses_are_bedrocks_values() -> None:
    assert {status.value for status in JobStatus} == {
        "InProgress", "Completed", "Failed", "Stopping", "Stopped",
    }  # fmt: skip
    assert {status.value for status in DeploymentStatus} == {"Creating", "Active", "Failed"}

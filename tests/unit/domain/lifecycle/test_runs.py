"""Runs: only the drawn arrows can be taken, and every change is one revision."""

from datetime import timedelta

import pytest

from search_router.domain.errors import ConflictError
from search_router.domain.lifecycle.runs import (
    OPEN_STATES,
    TRANSITIONS,
    DeploymentStatus,
    JobStatus,
    Run,
    RunState,
)
from tests.fakes import START
from tests.records import DEPLOYMENT, a_run, a_serving_model, an_evaluation

S = RunState
DRAWN = {
    (S.SHARDED, S.TRAINING),
    (S.TRAINING, S.DEPLOYING),
    (S.DEPLOYING, S.EVALUATING),
    (S.EVALUATING, S.PROMOTED),
    (S.EVALUATING, S.REJECTED),
    (S.EVALUATING, S.AWAITING_APPROVAL),
    (S.AWAITING_APPROVAL, S.PROMOTED),
    (S.AWAITING_APPROVAL, S.REJECTED),
    (S.AWAITING_APPROVAL, S.EVALUATING),
    *((state, end) for state in OPEN_STATES for end in (S.FAILED, S.STOPPED)),
    *((end, S.SHARDED) for end in (S.FAILED, S.STOPPED)),
}
LATER = START + timedelta(minutes=1)


@pytest.mark.parametrize("start", RunState)
@pytest.mark.parametrize("end", RunState)
def test_only_the_drawn_steps_are_legal(start: RunState, end: RunState) -> None:
    run = a_run(start)
    if (start, end) in DRAWN:
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


def test_a_change_is_one_revision_and_leaves_the_old_run_as_it_was() -> None:
    run = a_run()

    moved = run.moved(S.TRAINING, LATER, job_name="job", reason="")
    noted = moved.updated(LATER, job_status="InProgress")

    assert (run.state, run.revision, run.updated_at) == (S.SHARDED, 0, START)
    assert (moved.revision, moved.updated_at, moved.job_name) == (1, LATER, "job")
    assert (noted.revision, noted.state) == (2, S.TRAINING)


def test_a_run_survives_its_storage() -> None:
    run = a_run(S.EVALUATING, evaluation=an_evaluation(), champion_version=3)

    assert Run.model_validate_json(run.model_dump_json()) == run


def test_a_run_that_newer_code_wrote_can_be_read_after_a_rollback() -> None:
    newer = {**a_run().model_dump(mode="json"), "added_later": 1}

    assert Run.model_validate(newer) == a_run()


def test_what_was_trained_is_what_is_served() -> None:
    run = a_run(S.EVALUATING, deployment_arn=DEPLOYMENT)

    assert run.serving == a_serving_model()


def test_bedrocks_own_words_are_kept() -> None:
    assert {status.value for status in JobStatus} == {
        "InProgress", "Completed", "Failed", "Stopping", "Stopped",
    }  # fmt: skip
    assert {status.value for status in DeploymentStatus} == {"Creating", "Active", "Failed"}

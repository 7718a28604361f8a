"""The schedule: sees what sends no event, repeats what was lost, lets nobody wait for others."""

from datetime import timedelta

import pytest

from search_router.domain.errors import ConflictError, NotFoundError, UnavailableError
from search_router.domain.events import (
    ModelDeployed,
    ModelEvaluated,
    PromptsSharded,
    QueryLogPartsComplete,
    RouterEvent,
    RunFailed,
    UploadMissed,
)
from search_router.domain.query_logs import LogState, QueryLog
from search_router.domain.runs import OPEN_STATES, RunState
from search_router.domain.uploads import ObjectRef
from search_router.use_cases.track_runs import PATIENCE, UPLOAD_HORIZON, UPLOAD_PATIENCE
from tests.fakes import START, UPLOAD_BUCKET, InMemoryRuns
from tests.records import a_run, an_evaluation, jsonl
from tests.unit.use_cases.world import World, labelled_rows

JUST_BEFORE = PATIENCE - timedelta(seconds=1)


def test_an_active_deployment_is_announced_because_bedrock_does_not(world: World) -> None:
    run = world.deploying()
    world.customizer.end_deployment(run.deployment_name)

    states, errors = world.track()

    after = world.run(run.run_id)
    assert (after.state, after.deployment_status) == (RunState.EVALUATING, "Active")
    assert world.events.of(ModelDeployed) == [ModelDeployed(run_id=run.run_id)]
    assert (dict(states), errors) == ({"EVALUATING": 1}, [])


def test_a_deployment_in_the_making_is_left_alone(world: World) -> None:
    run = world.deploying()

    assert dict(world.track()[0]) == {"DEPLOYING": 1}
    assert world.run(run.run_id) == run


@pytest.mark.parametrize(
    ("failure", "reason"), [("no capacity", "no capacity"), ("", "the deployment failed")]
)
def test_a_failed_deployment_fails_the_run(world: World, failure: str, reason: str) -> None:
    run = world.deploying()
    world.customizer.end_deployment(run.deployment_name, "Failed", failure)

    world.track()

    after = world.run(run.run_id)
    assert (after.state, after.reason, after.deployment_status) == (
        RunState.FAILED,
        reason,
        "Failed",
    )
    assert world.events.of(RunFailed) == [RunFailed(run_id=run.run_id, reason=reason)]


def test_a_lost_job_event_is_made_up_for(world: World) -> None:
    completed = world.training()
    failed = world.training(jsonl(labelled_rows(200)))
    world.customizer.end_job(completed.job_name)
    world.customizer.end_job(failed.job_name, "Failed", "bad data")

    states, _ = world.track()

    assert dict(states) == {"DEPLOYING": 1, "FAILED": 1}


@pytest.mark.parametrize(
    ("state", "evaluated", "event"),
    [
        (RunState.SHARDED, False, PromptsSharded),
        (RunState.EVALUATING, False, ModelDeployed),
        (RunState.EVALUATING, True, ModelEvaluated),
    ],
)
def test_a_lost_event_of_ours_is_repeated_after_some_patience(
    world: World, state: RunState, evaluated: bool, event: type[RouterEvent]
) -> None:
    run = world.runs.create(a_run(state, evaluation=an_evaluation() if evaluated else None))

    world.clock.advance(JUST_BEFORE)
    world.track()
    assert world.events.published == []

    world.clock.advance(timedelta(seconds=1))
    world.track()
    world.track()
    said = event.model_validate({"run_id": run.run_id})
    assert world.events.published == [said], "and not again at the next tick"

    world.clock.advance(PATIENCE)
    world.track()
    assert world.events.published == [said, said]


@pytest.mark.parametrize("state", [state for state in RunState if state not in OPEN_STATES])
def test_a_closed_run_is_left_in_peace(world: World, state: RunState) -> None:
    run = world.runs.create(a_run(state))
    world.clock.advance(timedelta(days=30))

    assert dict(world.track()[0]) == {state.value: 1}
    assert (world.run(run.run_id), world.customizer.calls) == (run, 0)
    assert world.events.published == []


def test_one_runs_trouble_does_not_keep_the_others_waiting(world: World) -> None:
    troubled = world.training()
    fine = world.training(jsonl(labelled_rows(200)))
    del world.customizer.jobs[troubled.job_name]
    world.customizer.end_job(fine.job_name)

    states, errors = world.track()

    assert dict(states) == {"TRAINING": 1, "DEPLOYING": 1}
    assert [type(error) for error in errors] == [NotFoundError]


def test_a_run_that_somebody_else_moved_meanwhile_is_only_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.deploying()
    world.customizer.end_deployment(run.deployment_name)

    def lost(*_: object) -> None:
        raise ConflictError("move a run: somebody was first")

    monkeypatch.setattr(InMemoryRuns, "check", lost)
    _, errors = world.track()

    assert [type(error) for error in errors] == [ConflictError]
    assert world.events.of(ModelDeployed) == [], "losing publishes nothing"


def test_a_losers_deployment_is_torn_down_even_if_the_function_died(world: World) -> None:
    run = world.deploying()
    rejected = run.noted(START).moved(RunState.EVALUATING, START).moved(RunState.REJECTED, START)
    world.runs = InMemoryRuns()
    world.runs.create(rejected)

    world.track()
    world.track()

    assert world.customizer.torn_down == [run.deployment_arn]
    assert world.run(run.run_id).torn_down


def test_two_ticks_at_once_are_one(world: World) -> None:
    run = world.deploying()
    world.customizer.end_deployment(run.deployment_name)

    world.track()
    world.track()

    assert world.run(run.run_id).revision == run.revision + 1
    assert len(world.events.of(ModelDeployed)) == 1


def a_log(log_id: str, state: LogState, parts: int) -> QueryLog:
    return QueryLog(
        log_id=log_id,
        state=state,
        source_bucket=UPLOAD_BUCKET,
        source_key="query-logs/a.jsonl",
        source_version="v1",
        splits=3,
        parts=parts,
        created_at=START,
        updated_at=START,
    )


def test_only_a_complete_log_that_nobody_closed_is_announced_again(world: World) -> None:
    stuck = world.ledger.create(a_log("log-000000000001", LogState.ROUTING, 3))
    world.ledger.create(a_log("log-000000000002", LogState.ROUTING, 2))
    world.ledger.create(a_log("log-000000000003", LogState.ROUTED, 3))
    world.ledger.create(a_log("log-000000000004", LogState.FAILED, 3))

    world.clock.advance(JUST_BEFORE)
    world.track()
    assert world.events.published == []

    world.clock.advance(timedelta(seconds=1))
    world.track()
    assert world.events.published == [QueryLogPartsComplete(log_id=stuck.log_id)]


def test_a_complete_log_whose_planner_died_is_announced_again_too(world: World) -> None:
    """The parts can be in the ledger although the planner never said ROUTING."""
    stuck = world.ledger.create(a_log("log-000000000001", LogState.PLANNED, 3))
    world.clock.advance(PATIENCE)

    world.track()

    assert world.events.published == [QueryLogPartsComplete(log_id=stuck.log_id)]


def test_an_upload_whose_event_was_lost_is_announced_once_it_is_late(world: World) -> None:
    prompts = world.uploads.upload("prompts/a.jsonl", jsonl(labelled_rows(200)))
    log = world.uploads.upload("query-logs/a.jsonl", b"{}")
    world.uploads.upload("prompts/folder/", b"")
    world.uploads.upload("prompts/folder/a.jsonl", b"")
    world.uploads.upload("query-logs/folder/", b"")

    world.clock.advance(UPLOAD_PATIENCE - timedelta(seconds=1))
    assert world.tick().uploads_missed == 0

    world.clock.advance(timedelta(seconds=1))
    assert world.tick().uploads_missed == 2
    assert world.events.published == [UploadMissed.of(prompts), UploadMissed.of(log)]

    world.shard(world.events.of(UploadMissed)[0].source)
    world.split(world.events.of(UploadMissed)[1].source)
    world.events.published.clear()
    assert world.tick().uploads_missed == 0
    assert world.events.of(UploadMissed) == []


def test_a_missed_upload_that_cannot_be_helped_is_counted_but_not_pushed_for_ever(
    world: World,
) -> None:
    world.uploads.upload("prompts/a.jsonl", b"")
    world.clock.advance(UPLOAD_PATIENCE + timedelta(hours=3))

    assert world.tick().uploads_missed == 1
    assert world.events.published == []

    world.clock.advance(UPLOAD_HORIZON)
    assert world.tick().uploads_missed == 0


def test_only_the_current_version_of_an_upload_is_missed(world: World) -> None:
    world.uploads.upload("prompts/a.jsonl", b"old")
    current = world.uploads.upload("prompts/a.jsonl", b"new")
    gone = world.uploads.upload("prompts/b.jsonl", b"gone")
    world.uploads.erase(gone)
    world.clock.advance(UPLOAD_PATIENCE)

    world.track()

    assert world.events.published == [UploadMissed.of(current)]


def test_a_log_whose_planner_died_before_it_queued_every_split_is_planned_again(
    world: World,
) -> None:
    log = world.ledger.create(a_log("log-000000000001", LogState.PLANNED, 1))
    world.clock.advance(PATIENCE)

    world.track()

    source = ObjectRef(log.source_bucket, log.source_key, log.source_version)
    assert world.events.of(UploadMissed) == [UploadMissed.of(source)]


def test_a_bus_that_cannot_be_reached_is_reported_with_what_was_counted(world: World) -> None:
    world.ledger.create(a_log("log-000000000001", LogState.ROUTING, 3))
    world.runs.create(a_run(RunState.PROMOTED))
    world.clock.advance(PATIENCE)
    world.events.failing = UnavailableError("publish an event")

    tracking = world.tick()

    assert [type(error) for error in tracking.errors] == [UnavailableError]
    assert (tracking.runs["PROMOTED"], tracking.logs["ROUTING"]) == (1, 1)

"""The schedule: polls statuses, republishes lost events, isolates errors."""

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
from search_router.domain.lifecycle.runs import RunState
from search_router.domain.lifecycle.tracking import DEPLOYMENT_LISTED, RECENT, RUN_DEADLINES
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import ModelReply
from search_router.domain.uploads import ObjectRef
from search_router.use_cases.deploy_model import MAX_DEPLOYMENTS
from search_router.use_cases.evaluate_model import CLAIM
from search_router.use_cases.track_runs import PATIENCE, UPLOAD_HORIZON, UPLOAD_PATIENCE
from tests.fakes import START, UPLOAD_BUCKET, FakeModel, InMemoryRuns
from tests.records import (
    a_champion,
    a_deployment,
    a_run,
    an_evaluation,
    deployment_of,
    job_of,
    jsonl,
)
from tests.unit.use_cases.world import World, labelled_rows, ran, student

JUST_BEFORE = PATIENCE - timedelta(seconds=1)


def test_an_active_deployment_is_published_because_bedrock_sends_no_event(world: World) -> None:
    run = world.deploying()
    world.customizer.end_deployment(deployment_of(run).name)

    states, errors = world.track()

    after = world.run(run.run_id)
    assert (after.state, deployment_of(after).status) == (RunState.EVALUATING, "Active")
    assert world.events.of(ModelDeployed) == [ModelDeployed(run_id=run.run_id)]
    assert (dict(states), errors) == ({"EVALUATING": 1}, [])


def test_a_deployment_that_is_creating_changes_nothing(world: World) -> None:
    run = world.deploying()

    assert dict(world.track()[0]) == {"DEPLOYING": 1}
    assert world.run(run.run_id) == run


@pytest.mark.parametrize(
    ("failure", "reason"), [("no capacity", "no capacity"), ("", "the deployment failed")]
)
def test_a_failed_deployment_fails_the_run(world: World, failure: str, reason: str) -> None:
    run = world.deploying()
    world.customizer.end_deployment(deployment_of(run).name, "Failed", failure)

    world.track()

    after = world.run(run.run_id)
    assert (after.state, after.reason, deployment_of(after).status) == (
        RunState.FAILED,
        reason,
        "Failed",
    )
    assert world.events.of(RunFailed) == [RunFailed(run_id=run.run_id, reason=reason)]


def test_a_lost_job_event_is_repaired(world: World) -> None:
    completed = world.training()
    failed = world.training(jsonl(labelled_rows(200)))
    world.customizer.end_job(job_of(completed).job_name)
    world.customizer.end_job(job_of(failed).job_name, "Failed", "bad data")

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
def test_a_lost_event_of_ours_is_published_again_after_some_time(
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


@pytest.mark.parametrize("state", [state for state in RunState if a_run(state).is_closed])
def test_a_closed_run_is_unchanged_and_soon_not_read(world: World, state: RunState) -> None:
    run = world.runs.create(a_run(state))

    assert dict(world.track()[0]) == {state.value: 1}
    world.clock.advance(RECENT)
    assert dict(world.track()[0]) == {state.value: 1}
    assert dict(world.track()[0]) == {}

    assert (world.run(run.run_id), world.customizer.calls) == (run, 0)
    assert world.events.published == []


def test_a_run_that_changed_while_it_was_closed_stays_open(world: World) -> None:
    run = world.runs.create(a_run(RunState.FAILED))
    world.runs.reopen(run.moved(RunState.SHARDED, world.clock.now()))

    world.runs.close(run)

    assert [run.state for run in world.runs.open()] == [RunState.SHARDED]


def test_a_closed_log_leaves_the_worklist_when_it_is_not_recent(world: World) -> None:
    world.ledger.create(a_log("log-000000000001", LogState.ROUTED, 3))
    world.ledger.create(a_log("log-000000000002", LogState.ROUTING, 2))

    assert dict(world.tick().logs) == {"ROUTED": 1, "ROUTING": 1}
    world.clock.advance(RECENT)
    world.tick()

    assert dict(world.tick().logs) == {"ROUTING": 1}


@pytest.mark.parametrize("state", RUN_DEADLINES)
def test_every_state_has_a_deadline(world: World, state: RunState) -> None:
    slow = world.customizer.deploy("slow", "model")
    deployment = a_deployment(slow) if a_run(state).deployment else None
    run = world.runs.create(a_run(state, reason="two jobs are running", deployment=deployment))
    waits_for_a_person = state is RunState.AWAITING_APPROVAL

    world.clock.advance(RUN_DEADLINES[state] - timedelta(seconds=1))
    world.track()
    assert world.run(run.run_id).state is state

    world.clock.advance(timedelta(seconds=1))
    world.track()

    after = world.run(run.run_id)
    assert after.state is (RunState.REJECTED if waits_for_a_person else RunState.FAILED)
    if waits_for_a_person:
        assert after.reason == "not approved within 14 days"
    else:
        last = "; the job is InProgress" if run.training else ""
        assert after.reason.startswith(f"still {state} after ")
        assert after.reason.endswith(f": two jobs are running{last}")


def test_a_deleted_deployment_fails_the_run(world: World) -> None:
    run = world.deploying()
    world.customizer.delete(deployment_of(run).arn)

    _, errors = world.track()
    assert [type(error) for error in errors] == [NotFoundError], "it may not be listed yet"

    world.clock.advance(DEPLOYMENT_LISTED)
    states, errors = world.track()

    assert (dict(states), errors) == ({"FAILED": 1}, [])
    reason = "the deployment was deleted before the evaluation"
    assert world.events.of(RunFailed) == [RunFailed(run_id=run.run_id, reason=reason)]


def test_a_run_that_fails_after_it_deployed_leaves_no_deployment(world: World) -> None:
    run = world.evaluating()
    world.clock.advance(RUN_DEADLINES[RunState.EVALUATING])

    world.track()
    assert world.run(run.run_id).state is RunState.FAILED
    world.track()

    assert world.customizer.deleted == [deployment_of(run).arn]
    assert deployment_of(world.run(run.run_id)).deleted


def test_a_failed_run_keeps_the_deployment_that_the_champion_shares(world: World) -> None:
    champion = world.promoted()
    twin = world.evaluating(key="prompts/again.jsonl")
    assert deployment_of(twin).arn == deployment_of(champion).arn
    world.clock.advance(RUN_DEADLINES[RunState.EVALUATING])

    world.track()
    world.track()

    assert world.run(twin.run_id).state is RunState.FAILED
    assert world.customizer.deleted == []


def test_a_killed_evaluation_is_published_again_when_its_claim_expires(world: World) -> None:
    run = world.evaluating()

    def dying(_serving: ServingModel, _query: str) -> ModelReply:
        raise KeyboardInterrupt

    world.model = FakeModel(dying)
    with pytest.raises(KeyboardInterrupt):
        world.evaluate(run.run_id)
    world.events.published.clear()

    world.clock.advance(CLAIM - timedelta(seconds=1))
    world.track()
    assert world.events.published == []

    world.clock.advance(timedelta(seconds=1))
    world.track()
    assert world.events.published == [ModelDeployed(run_id=run.run_id)]
    world.model = FakeModel(student)
    assert ran(world.evaluate(run.run_id)).evaluation is not None


def deployed_champions(world: World, count: int) -> list[str]:
    """Install champions with deployments; return the deployments' ARNs, oldest first."""
    arns = []
    for version in range(1, count + 1):
        arn = world.customizer.deploy(f"former-{version}", "model")
        champion = a_champion(version, deployment_arn=arn)
        previous = {"previous_version": version - 1 or None}
        world.champions.install(champion.model_copy(update=previous))
        arns.append(arn)
    return arns


def test_old_deployments_are_deleted_for_the_next_model(world: World) -> None:
    arns = deployed_champions(world, MAX_DEPLOYMENTS - 1)
    world.track()
    assert world.customizer.deleted == [], "no run needs a slot"

    world.training()
    world.track()

    assert world.customizer.deleted == arns[:1], "two slots are free"


def test_deployments_of_the_champion_its_predecessor_and_of_open_logs_are_kept(
    world: World,
) -> None:
    arns = deployed_champions(world, 4)
    for number in range(6):
        world.customizer.deploy(f"another-{number}", "model")
    log = a_log("log-000000000001", LogState.ROUTING, 1)
    world.ledger.create(log.model_copy(update={"champion_version": 1}))
    world.training()

    world.track()

    assert world.customizer.deleted == [arns[1]], "two are needed, but only one of ours is free"


def test_a_model_is_deployed_once_a_slot_is_free(world: World) -> None:
    deployed_champions(world, MAX_DEPLOYMENTS)
    run = world.training()
    world.customizer.end_job(job_of(run).job_name)
    world.deploy(job_of(run).job_arn)
    assert world.run(run.run_id).reason == "deploy the model: no slot is free"

    world.track()
    world.track()

    assert world.run(run.run_id).state is RunState.DEPLOYING


def test_an_error_of_one_run_does_not_stop_the_others(world: World) -> None:
    troubled = world.training()
    fine = world.training(jsonl(labelled_rows(200)))
    del world.customizer.jobs[job_of(troubled).job_name]
    world.customizer.end_job(job_of(fine).job_name)

    states, errors = world.track()

    assert dict(states) == {"TRAINING": 1, "DEPLOYING": 1}
    assert [type(error) for error in errors] == [NotFoundError]


def test_a_concurrent_write_is_only_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.deploying()
    world.customizer.end_deployment(deployment_of(run).name)

    def lost(*_: object) -> None:
        raise ConflictError("move a run: concurrent write")

    monkeypatch.setattr(InMemoryRuns, "check", lost)
    _, errors = world.track()

    assert [type(error) for error in errors] == [ConflictError]
    assert world.events.of(ModelDeployed) == [], "losing publishes nothing"


def test_a_rejected_runs_deployment_is_deleted_after_a_crash(world: World) -> None:
    run = world.deploying()
    rejected = run.updated(START).moved(RunState.EVALUATING, START).moved(RunState.REJECTED, START)
    world.runs = InMemoryRuns()
    world.runs.create(rejected)

    world.track()
    world.track()

    assert world.customizer.deleted == [deployment_of(run).arn]
    assert deployment_of(world.run(run.run_id)).deleted


def test_a_repeated_tick_changes_nothing(world: World) -> None:
    run = world.deploying()
    world.customizer.end_deployment(deployment_of(run).name)

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


def test_only_a_complete_unfinished_log_is_published_again(world: World) -> None:
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


def test_a_complete_log_whose_planner_died_is_published_again(world: World) -> None:
    """The parts can be in the ledger although the log is not ROUTING."""
    stuck = world.ledger.create(a_log("log-000000000001", LogState.PLANNED, 3))
    world.clock.advance(PATIENCE)

    world.track()

    assert world.events.published == [QueryLogPartsComplete(log_id=stuck.log_id)]


def test_an_upload_whose_event_was_lost_is_published_after_some_time(world: World) -> None:
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


def test_a_missed_upload_is_counted_but_not_published_indefinitely(
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


def test_an_unreachable_bus_is_reported_with_the_tally(world: World) -> None:
    world.ledger.create(a_log("log-000000000001", LogState.ROUTING, 3))
    world.runs.create(a_run(RunState.PROMOTED))
    world.clock.advance(PATIENCE)
    world.events.failing = UnavailableError("publish an event")

    tracking = world.tick()

    assert [type(error) for error in tracking.errors] == [UnavailableError]
    assert (tracking.runs["PROMOTED"], tracking.logs["ROUTING"]) == (1, 1)

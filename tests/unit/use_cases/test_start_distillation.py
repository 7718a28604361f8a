"""Starting a job: once per training set, and never after a failed check."""

from dataclasses import replace
from datetime import timedelta

import pytest

from search_router.domain.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidInputError,
    QuotaExceededError,
    UnavailableError,
)
from search_router.domain.events import PromptsSharded, RunFailed
from search_router.domain.lifecycle.budget import WINDOW
from search_router.domain.lifecycle.distillation import ModelLifecycle
from search_router.domain.lifecycle.runs import RunState
from search_router.use_cases.track_runs import PATIENCE
from tests.fakes import START, InMemoryCustomizer, InMemoryRuns, InMemorySpending
from tests.records import STUDENT, TEACHER, dataset_of, job_of, jsonl
from tests.unit.use_cases.world import World, ignored, labelled_rows, ran


def test_a_sharded_run_gets_its_job(world: World) -> None:
    run = world.sharded()

    started = ran(world.start(run.run_id))

    [job] = world.customizer.started
    assert (started.state, job_of(started).job_name, job_of(started).job_status) == (
        RunState.TRAINING,
        job.name,
        "InProgress",
    )
    assert job_of(started).job_arn == world.customizer.jobs[job.name].arn
    assert (job.teacher, job.student, job.role_arn) == (TEACHER, STUDENT, world.plan.role_arn)
    assert job.training_uri == f"s3://data/runs/{run.run_id}/training.jsonl"
    assert job.output_uri == f"s3://data/runs/{run.run_id}/distillation"
    assert dict(job.tags) == {"Stage": "dev", "team": "search", "Run": run.run_id}
    assert world.runs.runs_of_job(job.name) == [run.run_id]
    assert world.run(run.run_id) == started


def test_an_unknown_run_is_ignored(world: World) -> None:
    assert ignored(world.start("run-000000000000")) == "unknown run"
    assert world.customizer.calls == 0


def test_a_repeated_event_starts_no_second_job(world: World) -> None:
    run = world.training()
    calls = world.customizer.calls

    assert ignored(world.start(run.run_id)) == "the run is TRAINING already"
    assert world.customizer.calls == calls
    assert world.run(run.run_id) == run


def test_too_few_rows_never_reach_bedrock(world: World) -> None:
    run = world.sharded(jsonl(labelled_rows(99)))

    assert ignored(world.start(run.run_id)) == "the run is FAILED already"
    assert world.customizer.calls == 0


def test_the_same_bytes_uploaded_twice_are_one_job(world: World) -> None:
    one, other = world.training(key="prompts/a.jsonl"), world.training(key="prompts/b.jsonl")

    assert one.run_id != other.run_id
    assert job_of(one).job_arn == job_of(other).job_arn
    assert len(world.customizer.started) == 1
    assert world.runs.runs_of_job(job_of(one).job_name) == sorted([one.run_id, other.run_id])


def test_other_bytes_or_another_student_are_another_job(world: World) -> None:
    first = world.training()
    second = world.training(jsonl(labelled_rows(151)))
    world.plan = replace(world.plan, student="amazon.nova-lite-v1:0:300k")
    third = world.training(key="prompts/again.jsonl")

    assert len({job_of(first).job_name, job_of(second).job_name, job_of(third).job_name}) == 3


def test_a_retired_teacher_fails_the_run_before_a_job_starts(world: World) -> None:
    world.customizer.lifecycles[TEACHER] = ModelLifecycle(TEACHER, "LEGACY", START)
    run = world.sharded()

    failed = ran(world.start(run.run_id))

    assert failed.state is RunState.FAILED
    assert "model retired on 2026-12-01" in failed.reason
    assert world.customizer.started == []
    assert world.events.of(RunFailed) == [RunFailed(run_id=run.run_id, reason=failed.reason)]


def test_a_retired_student_fails_the_run_too(world: World) -> None:
    world.customizer.lifecycles[STUDENT] = ModelLifecycle(
        STUDENT, "LEGACY", START + timedelta(days=9)
    )

    assert "lifecycle state LEGACY" in ran(world.start(world.sharded().run_id)).reason


def test_an_unsupported_pair_fails_without_any_call(world: World) -> None:
    world.plan = replace(world.plan, teacher="amazon.nova-micro-v1:0")

    failed = ran(world.start(world.sharded().run_id))

    assert (failed.state, world.customizer.calls) == (RunState.FAILED, 0)
    assert "not a teacher" in failed.reason


def test_bedrocks_error_is_the_reason_of_the_run(world: World) -> None:
    world.customizer.refusing = InvalidInputError("start the job: ValidationException")

    failed = ran(world.start(world.sharded().run_id))

    assert (failed.state, failed.reason) == (
        RunState.FAILED,
        "start the job: ValidationException",
    )


def test_a_missing_permission_leaves_the_run_sharded(world: World) -> None:
    world.customizer.refusing = AccessDeniedError("no iam:PassRole")
    run = world.sharded()
    with pytest.raises(AccessDeniedError):
        world.start(run.run_id)
    assert world.run(run.run_id) == run

    world.customizer.refusing = None
    world.clock.advance(PATIENCE)
    world.events.published.clear()
    world.track()

    assert world.events.of(PromptsSharded) == [PromptsSharded(run_id=run.run_id)]
    assert ran(world.start(run.run_id)).state is RunState.TRAINING


def test_an_exhausted_quota_is_recorded_and_retried(world: World) -> None:
    world.customizer.refusing = QuotaExceededError("two jobs are running")
    run = world.sharded()

    waiting = ran(world.start(run.run_id))
    assert (waiting.state, waiting.reason) == (RunState.SHARDED, "two jobs are running")
    assert world.events.of(RunFailed) == []

    world.customizer.refusing = None
    started = ran(world.start(run.run_id))
    assert (started.state, started.reason) == (RunState.TRAINING, "")


def test_a_failed_run_is_published_again(world: World) -> None:
    run = world.sharded(b"broken\n")

    world.start(run.run_id)

    assert world.events.published == [RunFailed(run_id=run.run_id, reason=run.reason)] * 2


def test_models_and_token_limit_are_fixed_when_the_job_starts(world: World) -> None:
    run = world.training()
    world.plan = replace(world.plan, student="amazon.nova-lite-v1:0:300k", max_output_tokens=9)
    world.customizer.end_job(job_of(run).job_name)
    world.deploy(job_of(run).job_arn)

    deployed = world.run(run.run_id)
    assert job_of(deployed).teacher == TEACHER
    assert (deployed.serving.priced_as, deployed.serving.max_output_tokens) == (STUDENT, 200)


def test_an_outage_leaves_the_run_to_the_retry(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.sharded()
    with monkeypatch.context() as patch:
        patch.setattr(InMemoryCustomizer, "start_job", _unavailable)
        with pytest.raises(UnavailableError):
            world.start(run.run_id)
    assert world.run(run.run_id) == run

    assert ran(world.start(run.run_id)).state is RunState.TRAINING


def test_a_job_that_was_started_before_a_crash_is_adopted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.sharded()
    with monkeypatch.context() as patch:
        patch.setattr(InMemoryRuns, "replace", _unavailable)
        with pytest.raises(UnavailableError):
            world.start(run.run_id)

    started = ran(world.start(run.run_id))

    assert started.state is RunState.TRAINING
    assert len(world.customizer.started) == 1


def _unavailable(*_: object) -> None:
    raise UnavailableError("not now")


def test_two_concurrent_deliveries_make_one_move_and_one_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.sharded()
    winner = ran(world.start(run.run_id))
    monkeypatch.setattr(InMemoryRuns, "get", lambda *_: run)  # read before the winner wrote
    monkeypatch.setattr(InMemoryRuns, "check", _lost)

    with pytest.raises(ConflictError):
        world.start(run.run_id)

    monkeypatch.undo()
    assert world.run(run.run_id) == winner
    assert len(world.customizer.started) == 1
    assert world.events.of(RunFailed) == []


def _lost(*_: object) -> None:
    raise ConflictError("move a run: concurrent write")


def priced(world: World, usd: float, key: str = "prompts/labels.jsonl", rows: int = 300) -> str:
    """Upload a prompt file and set the upper bound of its job; the budget is $100."""
    world.budget_usd = 100.0
    run = world.sharded(jsonl(labelled_rows(rows)), key)
    dataset = dataset_of(run).replace(job_at_most_usd=usd, evaluation_at_most_usd=0)
    world.runs.replace(run.updated(world.clock.now()).replace(dataset=dataset))
    return run.run_id


def test_a_job_over_budget_fails_without_any_call(world: World) -> None:
    run_id = priced(world, 100.01)

    failed = ran(world.start(run_id))

    assert (failed.state, world.customizer.calls) == (RunState.FAILED, 0)
    assert failed.reason.startswith(
        "30-day budget exceeded: $0.00 of $100.00 booked, this step costs up to $100.01"
    )
    assert world.events.of(RunFailed) == [RunFailed(run_id=run_id, reason=failed.reason)]


def test_the_budget_covers_all_jobs_of_30_days(world: World) -> None:
    assert ran(world.start(priced(world, 60.0))).state is RunState.TRAINING
    second = priced(world, 60.0, "prompts/b.jsonl", 302)
    assert ran(world.start(second)).state is RunState.FAILED

    world.clock.advance(WINDOW)
    world.restart(second)
    assert ran(world.start(second)).state is RunState.TRAINING


def test_a_shared_job_counts_once(world: World) -> None:
    for key in ("prompts/a.jsonl", "prompts/b.jsonl"):
        assert ran(world.start(priced(world, 60.0, key))).state is RunState.TRAINING

    assert world.spending.read().spent(world.clock.now()) == 60.0


def test_a_job_that_bedrock_rejects_costs_nothing(world: World) -> None:
    world.customizer.refusing = InvalidInputError("start the job: ValidationException")
    world.start(priced(world, 60.0))

    assert world.spending.read().spent(world.clock.now()) == 0
    assert world.spending.read().purchases == ()


def test_two_runs_that_start_concurrently_are_both_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that read the spending before the other wrote it is retried."""
    before = world.spending.read()
    one, other = priced(world, 60.0), priced(world, 60.0, "prompts/b.jsonl", 302)
    world.start(one)
    with monkeypatch.context() as patch:
        patch.setattr(InMemorySpending, "read", lambda _: before)
        with pytest.raises(UnavailableError):
            world.start(other)
    assert world.run(other).state is RunState.SHARDED

    assert ran(world.start(other)).state is RunState.FAILED

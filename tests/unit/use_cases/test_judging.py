"""The judge: adds scores, and neither decides nor delays a promotion."""

import json
from datetime import timedelta

import pytest

from search_router.domain.errors import AccessDeniedError, InvalidInputError
from search_router.domain.lifecycle.evaluation import JudgeScores
from search_router.domain.lifecycle.judging import JudgeJob, on_our_scale
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.lifecycle.tracking import RECENT
from search_router.domain.serving.decisions import ModelAnswer
from search_router.use_cases.judging import JUDGE_DEADLINE, JudgePlan
from tests.fakes import FakeModel, reply
from tests.records import label
from tests.unit.use_cases.world import World, ran, student, truth

JUDGE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture
def judged_world(world: World) -> World:
    world.judge_plan = JudgePlan(JUDGE, "arn:aws:iam::123456789012:role/evaluation", "data")
    return world


def end_jobs(world: World, run: Run, *, missing: int = 0, grade: float = 4.0) -> None:
    """Complete the jobs: write results below the output prefix, some of them missing."""
    for job in jobs_of(run):
        world.judges.statuses[job.job_arn] = "Completed"
        rows = world.rows(f"{job.folder}/dataset.jsonl")
        lines = [result(None if n < missing else grade) for n in range(len(rows))]
        body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        world.objects.bodies[f"{job.folder}/output/{job.name}/u-u-i-d/models/x_output.jsonl"] = body
        world.objects.metadata[f"{job.folder}/output/{job.name}/u-u-i-d/models/x_output.jsonl"] = {}


def result(grade: float | None) -> dict[str, object]:
    score = {"metricName": "OverallQuality", "evaluatorDetails": []}
    scored = score if grade is None else {**score, "result": grade}
    return {"inputRecord": {}, "automatedEvaluationResult": {"scores": [scored]}}


def jobs_of(run: Run) -> tuple[JudgeJob, ...]:
    assert run.judging is not None
    return run.judging.jobs


def scores_of(run: Run, name: str) -> JudgeScores:
    assert run.evaluation is not None
    judge = run.evaluation.models[name].judge
    assert judge is not None
    return judge


def test_without_a_judge_no_job_is_started(world: World) -> None:
    assert world.evaluated().judging is None
    assert world.judges.started == {}


def test_every_model_has_a_job_with_its_responses(judged_world: World) -> None:
    run = judged_world.evaluated()

    requests = list(judged_world.judges.started.values())
    assert [request.source for request in requests] == ["candidate", "base"]
    assert {request.judge for request in requests} == {JUDGE}
    for job, request in zip(jobs_of(run), requests, strict=True):
        rows = judged_world.rows(f"{job.folder}/dataset.jsonl")
        assert len(rows) == job.asked == run.counts.holdout
        for row in rows:
            [said] = row["modelResponses"]
            assert said["modelIdentifier"] == request.source
            assert json.loads(row["referenceResponse"]) == json.loads(label(*truth(row["prompt"])))
        assert "reasoning" not in request.instructions


def test_the_text_of_an_invalid_answer_is_judged(judged_world: World) -> None:
    judged_world.model = FakeModel(lambda serving, query: (
        reply("No idea.") if "nova-micro" in serving.model_id else student(serving, query)
    ))  # fmt: skip

    run = judged_world.evaluated()

    [base] = [job for job in jobs_of(run) if job.name == "base"]
    rows = judged_world.rows(f"{base.folder}/dataset.jsonl")
    assert {row["modelResponses"][0]["response"] for row in rows} == {"No idea."}


def test_the_rubric_asks_for_a_reasoning_only_if_one_was_trained(judged_world: World) -> None:
    def reasoning(serving: object, query: str) -> ModelAnswer:
        answer = {**json.loads(label(*truth(query))), "reasoning": "It names a sound."}
        return reply(json.dumps(answer))

    judged_world.model = FakeModel(reasoning)
    judged_world.evaluated()

    for request in judged_world.judges.started.values():
        assert "the reasoning is specific" in request.instructions


def test_the_judge_does_not_delay_a_promotion_and_its_results_are_added_later(
    judged_world: World,
) -> None:
    world = judged_world
    promoted = world.promoted()
    assert promoted.judging is not None

    world.track()
    assert world.run(promoted.run_id) == promoted, "the jobs are running"

    end_jobs(world, promoted, missing=3)
    world.track()

    after = world.run(promoted.run_id)
    holdout = promoted.counts.holdout
    assert (after.state, after.judging) == (RunState.PROMOTED, None)
    found = scores_of(after, "candidate")
    assert (found.asked, found.missing, found.status) == (holdout, 3, "Completed")
    assert (found.mean, found.grades) == (4.0, {"4": holdout - 3}), "missing grades are not zeros"
    assert found.interval is not None
    assert scores_of(after, "base").missing == 3


def test_a_run_is_not_closed_while_its_evaluation_jobs_run(judged_world: World) -> None:
    world = judged_world
    promoted = world.promoted()
    world.clock.advance(RECENT)
    world.track()
    assert promoted.run_id in world.runs.listed

    end_jobs(world, promoted)
    world.track()
    world.clock.advance(RECENT)
    world.track()
    assert promoted.run_id not in world.runs.listed


def test_an_evaluation_job_that_never_ends_is_given_up_after_a_day(judged_world: World) -> None:
    world = judged_world
    promoted = world.promoted()

    world.clock.advance(JUDGE_DEADLINE - timedelta(seconds=1))
    world.track()
    assert world.run(promoted.run_id).judging is not None

    world.clock.advance(timedelta(seconds=1))
    world.track()
    after = world.run(promoted.run_id)
    found = scores_of(after, "candidate")
    assert after.judging is None
    assert (found.status, found.mean, found.missing) == ("InProgress", None, found.asked)


@pytest.mark.parametrize("error", [InvalidInputError("no"), AccessDeniedError("no")])
def test_a_job_that_cannot_start_does_not_fail_the_run(
    judged_world: World, error: Exception
) -> None:
    world = judged_world
    world.judges.refusing = error  # type: ignore[assignment]

    promoted = world.promoted()
    world.track()

    found = scores_of(world.run(promoted.run_id), "candidate")
    assert (found.status, found.mean, found.reason) == ("NotStarted", None, "no")


def test_a_job_names_its_run_so_that_cleanup_finds_it(judged_world: World) -> None:
    run = judged_world.evaluated()

    for request in judged_world.judges.started.values():
        assert ("Run", run.run_id) in request.tags


@pytest.mark.parametrize(
    ("results", "grades"),
    [
        ([5.0, 1.0, 3.0], [5.0, 1.0, 3.0]),
        ([1.0, 0.75, 0.0], [5.0, 4.0, 1.0]),  # normalised, as Bedrock's own metrics
        ([0.75, 0.75], [4.0, 4.0]),
        ([1.0, 1.0], []),  # the best or the worst
        ([5.0, 0.5], []),
        ([7.0], []),
        ([4.5], []),
        ([], []),
    ],
)
def test_grades_are_read_on_either_scale(results: list[float], grades: list[float]) -> None:
    assert on_our_scale(results) == grades


def test_results_on_an_unclear_scale_give_no_verdict(judged_world: World) -> None:
    world = judged_world
    promoted = world.promoted()
    end_jobs(world, promoted, grade=1.0)

    world.track()

    found = scores_of(world.run(promoted.run_id), "candidate")
    assert (found.mean, found.missing) == (None, found.asked)
    assert found.reason == "the scale of the results is unclear"


def test_a_job_that_cannot_be_read_is_given_up_after_a_day(judged_world: World) -> None:
    """JudgeModelId is emptied, or a permission is taken away, while the job runs."""
    world = judged_world
    promoted = world.promoted()
    world.judges.unreadable = AccessDeniedError("no GetEvaluationJob")

    world.clock.advance(JUDGE_DEADLINE - timedelta(seconds=1))
    assert world.tick().errors
    world.clock.advance(timedelta(seconds=1))
    assert not world.tick().errors

    found = scores_of(world.run(promoted.run_id), "candidate")
    assert (found.mean, found.reason) == (None, "no GetEvaluationJob")


def test_a_repeated_evaluation_adopts_its_jobs(judged_world: World) -> None:
    world = judged_world
    run = world.evaluated()
    world.runs.replace(run.evaluated_again(world.clock.now()))

    again = ran(world.evaluate(run.run_id))

    assert again.judging == run.judging
    assert len(world.judges.started) == 2

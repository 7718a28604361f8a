"""The budget bounds what uploads spend: every call is booked before it happens."""

import pytest

from search_router.domain.lifecycle.runs import RunState
from search_router.domain.prices import cost_usd
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import ModelReply
from search_router.use_cases.judging import JudgePlan
from tests.fakes import FakeModel, reply
from tests.records import TEACHER, jsonl, label
from tests.unit.use_cases.world import World, labelled_rows, ran, student, truth

JUDGE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def meter(world: World) -> list[float]:
    """Record the dollars of every call from now on."""
    spent: list[float] = []

    def metered(serving: ServingModel, query: str) -> ModelReply:
        answer = (
            reply(label(*truth(query)))
            if serving.model_id in (TEACHER, HAIKU)
            else student(serving, query)
        )
        tokens = (len(serving.system_prompt) + len(query)) // 3
        spent.append(cost_usd(serving.priced_as, tokens, serving.max_output_tokens))
        return answer

    world.model = FakeModel(metered)
    return spent


def unlabelled(count: int) -> bytes:
    rows = labelled_rows(count)
    return jsonl([{"query": row["messages"][0]["content"][0]["text"]} for row in rows])


def test_five_uploads_of_one_file_ask_once_and_book_more_than_they_spend(world: World) -> None:
    world.baseline, world.judge_plan = HAIKU, JudgePlan(JUDGE, "arn:role", "data")
    spent = meter(world)
    body = unlabelled(300)

    first = world.evaluated(body, "prompts/0.jsonl")
    calls = len(spent)
    booked = world.spending.read().spent(world.clock.now())
    for n in range(1, 5):
        again = world.evaluated(body, f"prompts/{n}.jsonl")
        assert again.evaluation is not None
        assert first.evaluation is not None
        assert again.evaluation.candidate == first.evaluation.candidate

    rows = first.counts.holdout
    assert calls == len(spent) == 4 * rows, "teacher, candidate, base and baseline, once each"
    assert len(world.judges.started) == 3
    assert len(world.customizer.started) == 1
    assert world.spending.read().spent(world.clock.now()) == booked
    assert booked > sum(spent)


def test_the_answers_alone_are_booked_above_their_price(world: World) -> None:
    world.baseline = HAIKU
    spent = meter(world)
    run = world.evaluating(unlabelled(300))
    before = world.spending.read().spent(world.clock.now())

    world.evaluate(run.run_id)

    booked = world.spending.read().spent(world.clock.now()) - before
    assert sum(spent) < booked < 20 * sum(spent)


@pytest.mark.parametrize("budget_usd", [0.0, 0.0000001])
def test_without_a_budget_nothing_is_called(world: World, budget_usd: float) -> None:
    world.baseline, world.judge_plan = HAIKU, JudgePlan(JUDGE, "arn:role", "data")
    world.budget_usd = budget_usd

    run = ran(world.start(world.sharded(unlabelled(300)).run_id))

    assert run.state is RunState.FAILED
    assert run.reason.startswith("30-day budget exceeded")
    assert (world.customizer.started, world.model.asked) == ([], [])
    assert world.judges.started == {}


def test_an_evaluation_over_budget_fails_before_its_first_call(world: World) -> None:
    run = world.evaluating()
    world.budget_usd = 0.0

    failed = ran(world.evaluate(run.run_id))

    assert failed.state is RunState.FAILED
    assert failed.reason.startswith("30-day budget exceeded")
    assert world.model.asked == []


def test_a_job_starts_only_if_its_evaluation_fits_into_the_budget_too(world: World) -> None:
    run = world.sharded()
    dataset = run.dataset
    assert dataset is not None
    world.budget_usd = dataset.job_at_most_usd + dataset.evaluation_at_most_usd / 2

    assert ran(world.start(run.run_id)).state is RunState.FAILED
    assert world.customizer.started == []


def test_a_judge_over_budget_is_not_started(world: World) -> None:
    world.judge_plan = JudgePlan(JUDGE, "arn:role", "data")
    run = world.evaluating()
    booked = world.spending.read().spent(world.clock.now())
    world.budget_usd = booked + 0.05

    evaluated = ran(world.evaluate(run.run_id))

    assert evaluated.judging is not None
    assert {job.status for job in evaluated.judging.jobs} == {"NotStarted"}
    assert world.judges.started == {}


def test_answers_with_other_parameters_are_asked_again(world: World) -> None:
    world.evaluated()
    asked = len(world.model.asked)
    world.evaluated(jsonl(labelled_rows(301)), "prompts/b.jsonl")

    assert len(world.model.asked) > asked

"""A model's life over moto and the Bedrock fake: what spends nothing, what ends, what returns."""

import json
from collections.abc import Iterator

import pytest

from search_router.dependencies import dependencies
from search_router.domain import naming
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.use_cases.champion_moves import Rollback
from tests.integration.material import labelled, lines, query
from tests.integration.stack import NewStack, Stack
from tests.records import dataset_of, deployment_of

PROMPTS = labelled(300)
UNLABELLED = lines([{"query": query(number)} for number in range(300)])
OTHER = labelled(320)


@pytest.fixture
def judged_stack(new_stack: NewStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """Return a stack with a judge."""
    monkeypatch.setenv("JUDGE_MODEL_ID", "amazon.nova-pro-v1:0")
    with new_stack() as made:
        yield made


def bedrock_calls(stack: Stack) -> set[str]:
    """Return the calls of Bedrock that were made."""
    names = {call.operation for call in stack.calls.made}
    return {name for name in names if any(word in name for word in ("Model", "Converse"))}


def test_what_exceeds_the_budget_makes_no_call(
    new_stack: NewStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUDGET_USD_PER_30_DAYS", "0.001")
    with new_stack() as stack:
        source = stack.upload("prompts/labels.jsonl", PROMPTS)
        stack.deliver_events()
        run = stack.run_of(source)

        assert run.state is RunState.FAILED
        assert "$0.00 of $0.00 booked" in run.reason
        assert dataset_of(run).job_at_most_usd > dataset_of(run).estimated_usd > 0.001
        assert bedrock_calls(stack) == set()
        assert stack.bought() == {"jobs": 0, "deployments": 0}


def test_a_retired_teacher_buys_nothing(stack: Stack) -> None:
    stack.bedrock.fake.change(retired_models="amazon.nova-pro-v1:0")

    source = stack.upload("prompts/labels.jsonl", PROMPTS)
    stack.deliver_events()

    run = stack.run_of(source)
    assert (run.state, stack.bought()["jobs"]) == (RunState.FAILED, 0)
    assert "retired" in run.reason or "not" in run.reason
    assert dependencies().spending.read().purchases == ()


def test_prompts_without_any_label_end_in_a_promoted_model(stack: Stack) -> None:
    run = stack.train("prompts/unlabelled.jsonl", UNLABELLED)

    assert run.state is RunState.PROMOTED, run.reason
    assert run.evaluation is not None
    source = run.evaluation.references
    assert source is not None
    assert (source.from_file, source.unusable) == (0, 0)
    assert source.from_teacher == run.counts.holdout
    asked = [call["modelId"] for call in stack.calls_of("Converse")]
    assert asked.count("amazon.nova-pro-v1:0") == run.counts.holdout


def test_a_failed_deployment_ends_its_run_and_leaves_nothing(stack: Stack) -> None:
    stack.bedrock.fake.change(deployment_failure="no capacity")

    run = stack.train("prompts/labels.jsonl", PROMPTS)
    stack.tick()

    after = dependencies().runs.get(run.run_id)
    assert after is not None
    assert (after.state, after.reason, deployment_of(after).deleted) == (
        RunState.FAILED,
        "no capacity",
        True,
    )
    assert stack.bought() == {"jobs": 1, "deployments": 0}


def test_a_rollback_lets_the_former_model_answer_the_next_query(stack: Stack) -> None:
    first = stack.train("prompts/labels.jsonl", PROMPTS)
    second = stack.train("prompts/more.jsonl", OTHER)
    assert stack.champion().version == 2
    made = dependencies()

    stack.ask("sound of rain")
    stack.pass_an_hour()
    Rollback(made.champions, made.deployments, made.clock)(None, "it was worse")
    stack.ask("sound of rain")

    asked = stack.calls_of("Converse")[-2:]
    assert [call["modelId"] for call in asked] == [
        deployment_of(second).arn,
        deployment_of(first).arn,
    ]
    assert asked[1]["system"] == [{"text": dataset_of(first).system_prompt}]
    assert [move.to_version for move in made.champions.moves()] == [1, 2, 1]


def judged_run(stack: Stack) -> Run:
    run = stack.train("prompts/labels.jsonl", PROMPTS)
    stack.pass_an_hour()
    stack.bedrock.fake.process_due()
    stack.tick()
    after = dependencies().runs.get(run.run_id)
    assert after is not None
    return after


def test_a_judge_reads_the_answers_and_what_it_does_not_say_is_counted(
    judged_stack: Stack,
) -> None:
    judged_stack.bedrock.fake.change(missing_result_rate=0.3)

    run = judged_run(judged_stack)

    assert run.state is RunState.PROMOTED
    assert run.judging is None
    assert run.evaluation is not None
    for name in ("candidate", "base"):
        judge = run.evaluation.models[name].judge
        assert judge is not None
        assert (judge.status, judge.asked) == ("Completed", run.counts.holdout)
        assert 0 < judge.missing < judge.asked
        assert sum(judge.grades.values()) == judge.asked - judge.missing
    candidate, base = (run.evaluation.models[name].judge for name in ("candidate", "base"))
    assert candidate is not None
    assert base is not None
    assert candidate.mean is not None
    assert base.mean is not None
    assert base.mean < candidate.mean <= 5


def test_a_judge_that_fails_is_told_and_delays_nothing(judged_stack: Stack) -> None:
    judged_stack.bedrock.fake.change(evaluation_failure="the judge is on holiday")

    run = judged_run(judged_stack)

    assert run.state is RunState.PROMOTED
    assert run.evaluation is not None
    judge = run.evaluation.candidate.judge
    assert judge is not None
    assert (judge.status, judge.mean, judge.missing) == ("Failed", None, judge.asked)


def test_the_same_evaluation_again_starts_no_other_judge(judged_stack: Stack) -> None:
    run = judged_run(judged_stack)
    jobs = len(judged_stack.calls_of("CreateEvaluationJob"))
    key = naming.run_key(run.run_id, "evaluation", "side-by-side.json")

    judged_stack.invoke("evaluate_model", judged_stack.event("evaluate_model", run_id=run.run_id))

    assert len(judged_stack.calls_of("CreateEvaluationJob")) == jobs == 2
    assert len(json.loads(judged_stack.world.data_objects()[key])["rows"]) == 12

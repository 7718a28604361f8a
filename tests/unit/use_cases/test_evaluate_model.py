"""Measuring a candidate: beside its rivals, once per model, never half."""

from collections import Counter

import pytest

from search_router.domain.champions import ServingModel
from search_router.domain.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)
from search_router.domain.events import ModelEvaluated, ModelRejected, RunFailed
from search_router.domain.routing import ModelReply
from search_router.domain.runs import RunState
from search_router.use_cases.evaluate_model import ANSWERS_PER_OBJECT, CLAIM
from tests.fakes import FakeModel, InMemoryRuns, Reply, always
from tests.records import SYSTEM_PROMPT, a_champion, jsonl
from tests.unit.use_cases.world import World, ignored, labelled_rows, ran, student, truth

BASE = "amazon.nova-micro-v1:0"


def test_a_candidate_is_measured_beside_the_base_student(world: World) -> None:
    run = world.evaluating()

    evaluated = ran(world.evaluate(run.run_id))

    evaluation = evaluated.evaluation
    assert evaluation is not None
    assert evaluated.state is RunState.EVALUATING
    assert (evaluation.candidate.model, evaluation.base.model) == (run.deployment_arn, BASE)
    assert (evaluation.champion, evaluation.champion_version) == (None, None)
    assert evaluation.candidate.n == evaluation.base.n == run.counts.holdout
    assert evaluation.candidate.mae == 0 < evaluation.base.mae
    assert Counter(model for model, _ in world.model.asked) == {
        run.deployment_arn: run.counts.holdout,
        BASE: run.counts.holdout,
    }
    assert world.events.of(ModelEvaluated) == [ModelEvaluated(run_id=run.run_id)]


def test_every_answer_can_be_read(world: World) -> None:
    run = world.evaluated()

    folder = f"runs/{run.run_id}/evaluation"
    answers = world.text(f"{folder}/candidate/answers-00000.json")
    assert len(answers) == run.counts.holdout
    assert all(answer["weights"] == list(truth(query)) for query, answer in answers.items())
    assert set(world.text(f"{folder}/base/answers-00000.json")) == set(answers)


def test_every_model_is_asked_with_its_own_prompt_and_bound(world: World) -> None:
    champion = a_champion(4, system_prompt="The old one.", max_output_tokens=50)
    world.champions.install(champion)
    seen: dict[str, ServingModel] = {}

    def watching(serving: ServingModel, query: str) -> ModelReply:
        seen[serving.model_id] = serving
        return student(serving, query)

    world.model = FakeModel(watching)
    run = world.evaluated()

    assert seen[run.deployment_arn].system_prompt == SYSTEM_PROMPT
    assert seen[BASE].system_prompt == SYSTEM_PROMPT
    assert seen[BASE].prior == seen[run.deployment_arn].prior == run.prior
    assert seen[champion.serving.model_id].system_prompt == "The old one."
    assert seen[champion.serving.model_id].max_output_tokens == 50
    assert run.evaluation is not None
    assert run.evaluation.champion_version == 4
    assert run.evaluation.champion is not None


def test_a_champion_of_other_modalities_cannot_be_compared(world: World) -> None:
    world.champions.install(a_champion(modalities=("mood", "licence"), prior=(0.5, 0.5)))

    evaluation = world.evaluated().evaluation

    assert evaluation is not None
    assert (evaluation.champion, evaluation.champion_version) == (None, None)


def test_a_model_is_not_compared_with_itself(world: World) -> None:
    run = world.evaluating()
    world.champions.install(a_champion(deployment_arn=run.deployment_arn))

    evaluation = ran(world.evaluate(run.run_id)).evaluation

    assert evaluation is not None
    assert evaluation.champion is None


def test_invalid_answers_are_counted_and_scored_by_the_prior(world: World) -> None:
    world.model = FakeModel(always("no idea"))

    run = world.evaluated()

    assert run.evaluation is not None
    assert run.evaluation.candidate.invalid == run.evaluation.candidate.n
    assert run.evaluation.candidate.mae == run.evaluation.base.mae > 0


def test_an_unknown_run_or_one_in_another_state_is_ignored(world: World) -> None:
    run = world.deploying()

    assert ignored(world.evaluate("run-000000000000")) == "unknown run"
    assert ignored(world.evaluate(run.run_id)) == "the run is DEPLOYING, not EVALUATING"
    assert world.model.asked == []


def test_a_repeated_event_asks_nothing_and_says_it_again(world: World) -> None:
    run = world.evaluated()
    asked, writes = len(world.model.asked), dict(world.objects.writes)

    assert world.evaluate(run.run_id) == run
    assert (len(world.model.asked), world.objects.writes) == (asked, writes)
    assert len(world.events.of(ModelEvaluated)) == 2


def test_without_labels_there_is_nothing_to_measure_by(world: World) -> None:
    rows = jsonl([{"query": f"query {n}"} for n in range(300)])

    rejected = world.evaluated(rows)

    assert (rejected.state, rejected.reason) == (
        RunState.REJECTED,
        "the holdout has no labelled row",
    )
    assert world.events.of(ModelRejected) == [
        ModelRejected(run_id=rejected.run_id, reason=rejected.reason)
    ]
    assert world.model.asked == []


def test_a_model_that_did_not_answer_everything_is_not_scored_but_what_is_complete_is_kept(
    world: World,
) -> None:
    run = world.evaluating()
    holdout = run.counts.holdout

    world.model = FakeModel(throttled_base)
    with pytest.raises(ThrottledError):
        world.evaluate(run.run_id)
    assert world.run(run.run_id).evaluation is None

    world.model = FakeModel(student)
    evaluated = ran(world.evaluate(run.run_id))

    assert evaluated.evaluation is not None
    assert evaluated.evaluation.candidate.mae == 0
    assert {model for model, _ in world.model.asked} == {BASE}, "the candidate is not asked again"
    assert len(world.model.asked) == holdout


def throttled_base(serving: ServingModel, query: str) -> ModelReply | ThrottledError:
    return ThrottledError("too fast") if serving.model_id == BASE else student(serving, query)


def test_running_out_of_time_is_a_passing_trouble_too(world: World) -> None:
    run = world.evaluating()
    world.model.calls_left = 3

    with pytest.raises(UnavailableError, match="no time was left"):
        world.evaluate(run.run_id)

    after = world.run(run.run_id)
    assert (after.state, after.evaluation) == (RunState.EVALUATING, None)


def test_a_retry_asks_only_what_is_missing_of_a_large_holdout(world: World) -> None:
    run = world.evaluating(jsonl(labelled_rows(2_400)))
    holdout = run.counts.holdout
    assert holdout > 2 * ANSWERS_PER_OBJECT
    world.model.calls_left = ANSWERS_PER_OBJECT + 30
    with pytest.raises(UnavailableError):
        world.evaluate(run.run_id)

    world.model.calls_left = None
    world.model.asked.clear()
    world.evaluate(run.run_id)

    assert len(world.model.asked) == 2 * holdout - ANSWERS_PER_OBJECT


def test_two_deliveries_at_once_evaluate_once(world: World) -> None:
    run = world.evaluating()
    second: list[str] = []

    def interrupted(serving: ServingModel, query: str) -> ModelReply:
        if not second:
            second.append(ignored(world.evaluate(run.run_id)))
        return student(serving, query)

    world.model = FakeModel(interrupted)
    evaluated = ran(world.evaluate(run.run_id))

    assert second == ["the run is being evaluated"]
    assert len(world.model.asked) == 2 * run.counts.holdout
    assert (evaluated.evaluating_until, world.run(run.run_id)) == (None, evaluated)


def test_a_claim_of_a_function_that_died_runs_out(world: World) -> None:
    run = world.evaluating()

    def dying(_serving: ServingModel, _query: str) -> ModelReply:
        raise KeyboardInterrupt

    world.model = FakeModel(dying)
    with pytest.raises(KeyboardInterrupt):
        world.evaluate(run.run_id)
    world.model = FakeModel(student)
    assert ignored(world.evaluate(run.run_id)) == "the run is being evaluated"

    world.clock.advance(CLAIM)
    assert ran(world.evaluate(run.run_id)).evaluation is not None


def test_a_missing_permission_ends_no_paid_run_and_no_claim(world: World) -> None:
    run = world.evaluating()
    world.model.refusing[BASE] = AccessDeniedError("no bedrock:InvokeModel on the base")
    with pytest.raises(AccessDeniedError):
        world.evaluate(run.run_id)
    after = world.run(run.run_id)
    assert (after.state, after.evaluating_until) == (RunState.EVALUATING, None)

    world.model.refusing.clear()
    assert ran(world.evaluate(run.run_id)).evaluation is not None


def test_a_query_that_bedrock_refuses_is_one_invalid_answer(world: World) -> None:
    run = world.evaluating()
    refused: list[str] = []

    def refusing(serving: ServingModel, query: str) -> Reply:
        if serving.model_id == BASE and refused in ([], [query]):
            refused[:] = [query]
            return InvalidInputError("ask the model: ValidationException")
        return student(serving, query)

    world.model = FakeModel(refusing)
    evaluation = ran(world.evaluate(run.run_id)).evaluation

    assert evaluation is not None
    assert (evaluation.candidate.invalid, evaluation.base.invalid) == (0, 1)


def test_a_deployment_that_is_gone_fails_the_run(world: World) -> None:
    run = world.evaluating()
    world.model.refusing[run.deployment_arn] = NotFoundError("ask the model: it is gone")

    failed = ran(world.evaluate(run.run_id))

    assert (failed.state, failed.reason) == (RunState.FAILED, "ask the model: it is gone")
    assert len(world.events.of(RunFailed)) == 1


def test_a_champion_whose_deployment_is_gone_does_not_stand_in_the_way(world: World) -> None:
    champion = a_champion(4)
    world.champions.install(champion)
    gone = NotFoundError("the deployment is gone")
    world.model = FakeModel(student, refusing={champion.serving.model_id: gone})

    run = world.evaluated()

    assert run.evaluation is not None
    assert (run.evaluation.champion, run.evaluation.champion_version) == (None, 4)
    assert ran(world.promote(run.run_id)).state is RunState.PROMOTED


def test_of_two_deliveries_at_once_the_second_publishes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.evaluating()

    def lost(*_: object) -> None:
        raise ConflictError("move a run: somebody was first")

    monkeypatch.setattr(InMemoryRuns, "check", lost)
    with pytest.raises(ConflictError):
        world.evaluate(run.run_id)

    assert world.events.of(ModelEvaluated) == []


def test_queries_that_differ_only_in_case_are_one_holdout_row(world: World) -> None:
    rows = labelled_rows(300)
    louder = [
        {**row, "messages": [{"role": "user", "content": [{"text": text.upper()}]},
                             row["messages"][1]]}
        for row in rows
        for text in [row["messages"][0]["content"][0]["text"]]
    ]  # fmt: skip

    run = world.evaluated(jsonl(rows + louder))

    assert run.counts.duplicates == 300
    assert run.evaluation is not None
    assert run.evaluation.candidate.n == run.counts.holdout

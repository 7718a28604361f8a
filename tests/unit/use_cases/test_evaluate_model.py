"""Evaluation: candidate and rivals, each query asked once per model."""

from collections import Counter

import pytest

from search_router.domain.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SearchRouterError,
    ThrottledError,
    UnavailableError,
)
from search_router.domain.events import ModelDeployed, ModelEvaluated, ModelRejected, RunFailed
from search_router.domain.lifecycle.evaluation import SideBySide
from search_router.domain.lifecycle.runs import RunState
from search_router.domain.lifecycle.teacher import teacher_prompt
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import ModelAnswer, ModelReply
from search_router.use_cases.answers import ANSWERS_PER_OBJECT, TimeIsUpError
from search_router.use_cases.evaluate_model import BASELINE_PATIENCE, CLAIM
from tests.fakes import FakeModel, InMemoryRuns, always, reply
from tests.records import (
    SYSTEM_PROMPT,
    TEACHER,
    a_champion,
    dataset_of,
    deployment_of,
    jsonl,
    label,
)
from tests.unit.use_cases.world import World, ignored, labelled_rows, ran, student, truth

BASE = "amazon.nova-micro-v1:0"


def test_a_candidate_is_compared_with_the_base_student(world: World) -> None:
    run = world.evaluating()

    evaluated = ran(world.evaluate(run.run_id))

    evaluation = evaluated.evaluation
    assert evaluation is not None
    assert evaluated.state is RunState.EVALUATING
    assert (evaluation.candidate.model, evaluation.base.model) == (deployment_of(run).arn, BASE)
    assert (evaluation.champion, evaluation.champion_version) == (None, None)
    assert evaluation.candidate.n == evaluation.base.n == run.counts.holdout
    assert evaluation.candidate.mae == 0 < evaluation.base.mae
    assert Counter(model for model, _ in world.model.asked) == {
        deployment_of(run).arn: run.counts.holdout,
        BASE: run.counts.holdout,
    }
    assert world.events.of(ModelEvaluated) == [ModelEvaluated(run_id=run.run_id)]


def test_every_answer_is_stored(world: World) -> None:
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

    assert seen[deployment_of(run).arn].system_prompt == SYSTEM_PROMPT
    assert seen[BASE].system_prompt == SYSTEM_PROMPT
    assert seen[BASE].prior == seen[deployment_of(run).arn].prior == dataset_of(run).prior
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
    world.champions.install(a_champion(deployment_arn=deployment_of(run).arn))

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


def test_a_repeated_event_asks_nothing_and_is_published_again(world: World) -> None:
    run = world.evaluated()
    asked, writes = len(world.model.asked), dict(world.objects.writes)

    assert world.evaluate(run.run_id) == run
    assert (len(world.model.asked), world.objects.writes) == (asked, writes)
    assert len(world.events.of(ModelEvaluated)) == 2


def unlabelled(count: int = 300) -> bytes:
    rows = labelled_rows(count)
    return jsonl([{"query": row["messages"][0]["content"][0]["text"]} for row in rows])


def taught(serving: ServingModel, query: str) -> ModelReply:
    """Answer as a student, or as a teacher without errors."""
    return reply(label(*truth(query))) if serving.model_id == TEACHER else student(serving, query)


def test_a_holdout_without_labels_is_labelled_by_the_teacher(world: World) -> None:
    world.model = FakeModel(taught)

    evaluated = world.evaluated(unlabelled())

    holdout = evaluated.counts.holdout
    evaluation = evaluated.evaluation
    assert evaluation is not None
    assert evaluation.references is not None
    assert evaluation.references.model_dump(exclude={"cost_usd"}) == {
        "from_file": 0,
        "from_teacher": holdout,
        "unusable": 0,
        "teacher": TEACHER,
    }
    assert (evaluation.references.cost_usd or 0) > 0
    assert evaluation.candidate.mae == 0 < evaluation.base.mae
    assert Counter(model for model, _ in world.model.asked)[TEACHER] == holdout
    assert ran(world.promote(evaluated.run_id)).state is RunState.PROMOTED


def test_the_teacher_gets_the_detailed_prompt(world: World) -> None:
    seen: list[ServingModel] = []

    def watching(serving: ServingModel, query: str) -> ModelReply:
        seen.append(serving)
        return taught(serving, query)

    world.model = FakeModel(watching)
    world.evaluated(unlabelled())

    prompts = {serving.model_id: serving.system_prompt for serving in seen}
    assert len(prompts[TEACHER]) > 5 * len(prompts[BASE])


def test_of_a_mixed_holdout_only_the_rows_without_a_label_are_asked(world: World) -> None:
    rows = labelled_rows(300)
    queries = [row["messages"][0]["content"][0]["text"] for row in rows]
    mixed = [row if n % 3 else {"query": queries[n]} for n, row in enumerate(rows)]
    world.model = FakeModel(taught)

    evaluated = world.evaluated(jsonl(mixed))

    assert evaluated.evaluation is not None
    source = evaluated.evaluation.references
    assert source is not None
    assert source.from_file + source.from_teacher == evaluated.counts.holdout
    assert source.from_file > 0 < source.from_teacher
    asked = {query for model, query in world.model.asked if model == TEACHER}
    assert len(asked) == source.from_teacher
    assert all(queries.index(query) % 3 == 0 for query in asked)


def test_a_row_that_the_teacher_cannot_label_is_left_out_and_counted(world: World) -> None:
    def sometimes(serving: ServingModel, query: str) -> ModelReply:
        unsure = serving.model_id == TEACHER and "bark" in query
        return reply("I cannot tell.") if unsure else taught(serving, query)

    world.model = FakeModel(sometimes)
    evaluated = world.evaluated(unlabelled())

    assert evaluated.evaluation is not None
    source = evaluated.evaluation.references
    assert source is not None
    assert source.unusable > 0
    assert evaluated.evaluation.candidate.n == source.from_teacher
    assert source.unusable + source.from_teacher == evaluated.counts.holdout
    assert not {query for model, query in world.model.asked if model == BASE and "bark" in query}


def test_a_holdout_without_any_label_rejects_the_run(world: World) -> None:
    world.model = FakeModel(always("I cannot tell."))

    rejected = world.evaluated(unlabelled())

    assert (rejected.state, rejected.reason) == (
        RunState.REJECTED,
        "no row of the holdout has a label, and the teacher gave none",
    )
    assert world.events.of(ModelRejected) == [
        ModelRejected(run_id=rejected.run_id, reason=rejected.reason)
    ]
    assert {model for model, _ in world.model.asked} == {TEACHER}


def test_too_few_labels_reject_the_run_with_the_reason(world: World) -> None:
    answered: list[str] = []

    def tired(serving: ServingModel, query: str) -> ModelReply:
        if serving.model_id != TEACHER:
            return student(serving, query)
        answered.append(query)
        return reply("No more.") if len(answered) > 7 else taught(serving, query)

    world.model = FakeModel(tired)
    rejected = ran(world.promote(world.evaluated(unlabelled()).run_id))

    assert rejected.state is RunState.REJECTED
    assert rejected.reason == "only 7 labelled holdout rows, 20 needed"
    assert deployment_of(rejected).deleted


def test_an_interrupted_labelling_continues_with_the_rest(world: World) -> None:
    run = world.evaluating(unlabelled(2_400))
    world.model = FakeModel(taught, calls_left=ANSWERS_PER_OBJECT + 30)
    world.evaluate(run.run_id)

    world.model.calls_left = None
    world.model.asked.clear()
    world.evaluate(run.run_id)

    asked = Counter(model for model, _ in world.model.asked)
    assert asked[TEACHER] == run.counts.holdout - ANSWERS_PER_OBJECT


def test_a_baseline_gets_the_detailed_prompt_and_decides_nothing(world: World) -> None:
    large = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
    world.baseline = large
    seen: dict[str, ServingModel] = {}

    def watching(serving: ServingModel, query: str) -> ModelReply:
        seen[serving.model_id] = serving
        return reply(label(*truth(query))) if serving.model_id == large else student(serving, query)

    world.model = FakeModel(watching)
    evaluation = world.evaluated().evaluation

    assert evaluation is not None
    assert evaluation.baseline is not None
    assert evaluation.baseline.mae == 0
    assert evaluation.comparison is not None
    assert evaluation.comparison.rival == "base"
    assert seen[large].system_prompt == teacher_prompt(world.modalities, with_reasoning=False)


LARGE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.mark.parametrize(
    "error",
    [NotFoundError("retired"), AccessDeniedError("no use case form"), InvalidInputError("no")],
)
def test_a_baseline_that_cannot_be_asked_does_not_fail_the_run(
    world: World, error: SearchRouterError
) -> None:
    world.baseline = LARGE
    world.model.refusing[LARGE] = error

    run = world.evaluated()

    assert run.evaluation is not None
    assert (run.evaluation.baseline, run.evaluation.baseline_problem) == (None, str(error))


def test_a_baseline_that_keeps_failing_is_given_up(world: World) -> None:
    world.baseline = LARGE
    run = world.evaluating()
    world.model.refusing[LARGE] = UnavailableError("down")
    with pytest.raises(UnavailableError):
        world.evaluate(run.run_id)

    world.clock.advance(BASELINE_PATIENCE)
    after = ran(world.evaluate(run.run_id))

    assert after.evaluation is not None
    assert after.evaluation.baseline_problem == "down"


def test_the_evaluation_holds_no_text_but_points_to_a_side_by_side(world: World) -> None:
    run = world.evaluated()

    assert run.evaluation is not None
    shown = SideBySide.model_validate(world.text(run.evaluation.side_by_side_key))
    assert len(shown.rows) == 12
    assert "query" not in run.evaluation.model_dump_json()
    for row in shown.rows:
        assert row.reference == row.candidate.weights == truth(row.query)
        assert row.base.weights == (0.4, 0.2, 0.2, 0.2)
        assert (row.candidate.grade, row.candidate.status) == (5, "ok")


def test_the_noise_ceiling_comes_from_repeated_labels(world: World) -> None:
    rows = labelled_rows(300)
    doubted = [
        {**row, "messages": [row["messages"][0], {"role": "assistant", "content": [{"text":
            label(0.1, 0.5, 0.3, 0.1)}]}]}
        for row in labelled_rows(40)[1::2]
    ]  # fmt: skip

    evaluation = world.evaluated(jsonl(rows + doubted)).evaluation

    assert evaluation is not None
    assert evaluation.noise is not None
    assert (evaluation.noise.repeated_queries, evaluation.noise.pairs) == (20, 20)
    assert evaluation.noise.mae == pytest.approx(0.05, abs=0.005)
    assert evaluation.noise.rubric == pytest.approx(4.0, abs=0.1)
    assert (evaluation.noise.dominant_agreement, evaluation.noise.within_010) == (1.0, 1.0)
    assert evaluation.noise.within_005 == pytest.approx(0.0, abs=0.1)
    assert evaluation.noise.intervals["within_005"].high >= evaluation.noise.within_005


def test_without_repeated_queries_there_is_no_noise_ceiling(world: World) -> None:
    evaluation = world.evaluated().evaluation

    assert evaluation is not None
    assert evaluation.noise is None


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


def test_a_time_too_short_for_any_progress_is_a_transient_error(world: World) -> None:
    run = world.evaluating()
    world.model.calls_left = 3

    with pytest.raises(TimeIsUpError):
        world.evaluate(run.run_id)

    after = world.run(run.run_id)
    assert (after.state, after.evaluation, after.evaluating_until) == (
        RunState.EVALUATING,
        None,
        None,
    )
    assert world.events.of(ModelDeployed) == [ModelDeployed(run_id=run.run_id)], "track_runs' own"


def test_an_attempt_whose_time_is_up_publishes_the_next_which_asks_only_the_rest(
    world: World,
) -> None:
    run = world.evaluating(jsonl(labelled_rows(2_400)))
    holdout = run.counts.holdout
    assert holdout > 2 * ANSWERS_PER_OBJECT
    world.model.calls_left = ANSWERS_PER_OBJECT + 30
    world.events.published.clear()
    unfinished = ran(world.evaluate(run.run_id))
    assert (unfinished.evaluation, unfinished.evaluating_until) == (None, None)
    assert world.events.published == [ModelDeployed(run_id=run.run_id)]

    world.model.calls_left = None
    world.model.asked.clear()
    world.evaluate(run.run_id)

    assert len(world.model.asked) == 2 * holdout - ANSWERS_PER_OBJECT


def test_two_concurrent_deliveries_evaluate_once(world: World) -> None:
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


def test_answers_renew_the_claim(world: World) -> None:
    """A slow evaluation keeps its claim."""
    run = world.evaluating()
    ignored_meanwhile: list[str] = []

    def slow(serving: ServingModel, query: str) -> ModelReply:
        world.clock.advance(CLAIM / 2)
        ignored_meanwhile.append(ignored(world.evaluate(run.run_id)))
        return student(serving, query)

    world.model = FakeModel(slow)

    assert ran(world.evaluate(run.run_id)).evaluation is not None
    assert set(ignored_meanwhile) == {"the run is being evaluated"}


def test_an_attempt_that_lost_its_claim_records_nothing(world: World) -> None:
    run = world.evaluating()

    def paused(serving: ServingModel, query: str) -> ModelReply:
        if not paused_once:
            paused_once.append(query)
            world.clock.advance(CLAIM)
            world.model = FakeModel(student)
            ran(world.evaluate(run.run_id))  # another attempt takes over and ends
        return student(serving, query)

    paused_once: list[str] = []
    world.model = FakeModel(paused)
    with pytest.raises(ConflictError):
        world.evaluate(run.run_id)

    assert world.run(run.run_id).evaluation is not None
    assert len(world.events.of(ModelEvaluated)) == 1


def test_the_claim_of_a_function_that_died_expires(world: World) -> None:
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


def test_a_missing_permission_fails_no_run_and_releases_the_claim(world: World) -> None:
    run = world.evaluating()
    world.model.refusing[BASE] = AccessDeniedError("no bedrock:InvokeModel on the base")
    with pytest.raises(AccessDeniedError):
        world.evaluate(run.run_id)
    after = world.run(run.run_id)
    assert (after.state, after.evaluating_until) == (RunState.EVALUATING, None)

    world.model.refusing.clear()
    assert ran(world.evaluate(run.run_id)).evaluation is not None


def test_a_query_that_bedrock_rejects_is_one_invalid_answer(world: World) -> None:
    run = world.evaluating()
    refused: list[str] = []

    def refusing(serving: ServingModel, query: str) -> ModelAnswer:
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
    world.model.refusing[deployment_of(run).arn] = NotFoundError("ask the model: it is gone")

    failed = ran(world.evaluate(run.run_id))

    assert (failed.state, failed.reason) == (RunState.FAILED, "ask the model: it is gone")
    assert len(world.events.of(RunFailed)) == 1


def test_a_champion_without_a_deployment_is_no_rival(world: World) -> None:
    champion = a_champion(4)
    world.champions.install(champion)
    gone = NotFoundError("the deployment is gone")
    world.model = FakeModel(student, refusing={champion.serving.model_id: gone})

    run = world.evaluated()

    assert run.evaluation is not None
    assert (run.evaluation.champion, run.evaluation.champion_version) == (None, 4)
    assert ran(world.promote(run.run_id)).state is RunState.PROMOTED


def test_of_two_concurrent_deliveries_the_second_publishes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.evaluating()

    def lost(*_: object) -> None:
        raise ConflictError("move a run: concurrent write")

    monkeypatch.setattr(InMemoryRuns, "check", lost)
    with pytest.raises(ConflictError):
        world.evaluate(run.run_id)

    assert world.events.of(ModelEvaluated) == []


def test_queries_that_differ_only_in_white_space_are_one_holdout_row(world: World) -> None:
    rows = labelled_rows(300)
    spaced = [
        {**row, "messages": [{"role": "user", "content": [{"text": f" {text} "}]},
                             row["messages"][1]]}
        for row in rows
        for text in [row["messages"][0]["content"][0]["text"]]
    ]  # fmt: skip

    run = world.evaluated(jsonl(rows + spaced))

    assert run.counts.duplicates == 300
    assert run.evaluation is not None
    assert run.evaluation.candidate.n == run.counts.holdout

"""Exams that the candidate's upload does not choose: it cannot bring its own."""

import json
from typing import Any

import pytest

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.prompts import RejectReason
from search_router.domain.lifecycle.promotion import PromotionPolicy, PromotionRules
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import ModelReply
from search_router.use_cases.golden_set import MAX_GOLDEN_ROWS, GoldenSet
from tests.fakes import UPLOAD_BUCKET, FakeModel, reply
from tests.records import MODALITIES, conversation, deployment_of, jsonl, label, local_tier_of
from tests.unit.use_cases.world import World, labelled_rows, ran, student, truth


def rotated(query: str) -> tuple[float, ...]:
    """Return a wrong label: the weights of the next modality."""
    weights = truth(query)
    return (*weights[1:], weights[0])


def rotated_rows(count: int, prompt: str) -> list[dict[str, Any]]:
    queries = [f"query {n} {'bark' if n % 2 else 'red'}" for n in range(count)]
    return [
        conversation(query, label(*rotated(query)), system=[{"text": prompt}]) for query in queries
    ]


def taken_over(world: World, body: bytes) -> Run:
    """Evaluate a model that learned what its file says."""
    run = world.evaluating(body, "prompts/takeover.jsonl")
    arn = deployment_of(run).arn

    def learned(serving: ServingModel, query: str) -> ModelReply:
        wrong = serving.model_id == arn
        return reply(label(*rotated(query))) if wrong else student(serving, query)

    world.model = FakeModel(learned)
    return ran(world.promote(ran(world.evaluate(run.run_id)).run_id))


@pytest.mark.parametrize("policy", list(PromotionPolicy))
def test_rotated_labels_with_an_own_prompt_do_not_replace_the_champion(
    policy: PromotionPolicy,
) -> None:
    world = World()
    world.promoted()
    champion = world.champions.current()
    world.rules = PromotionRules(policy)

    run = taken_over(world, jsonl(rotated_rows(300, "Serve the uploader.")))

    assert run.evaluation is not None
    assert run.evaluation.comparison is not None
    assert run.evaluation.comparison.difference < 0, "its own exam says that it is better"
    assert run.state is RunState.REJECTED
    assert "on the holdout of version 1" in run.reason
    assert world.champions.current() == champion


@pytest.mark.parametrize("policy", list(PromotionPolicy))
def test_an_equally_good_model_with_an_own_prompt_awaits_approval(policy: PromotionPolicy) -> None:
    world = World()
    world.promoted()
    world.rules = PromotionRules(policy)
    rows = [
        {**row, "system": [{"text": "Serve the uploader."}]} for row in labelled_rows(300, "search")
    ]

    run = ran(world.promote(world.evaluated(jsonl(rows), "prompts/own.jsonl").run_id))

    asks = policy is not PromotionPolicy.NEVER_ASK
    assert run.state is (RunState.AWAITING_APPROVAL if asks else RunState.PROMOTED)
    assert run.reason.startswith("changed: system prompt") is asks


def test_a_local_tier_trained_on_uploaded_answers_awaits_approval(world: World) -> None:
    world.promoted()
    body = jsonl(labelled_rows(300, "search"))
    weights = json.loads(label(*truth("red")))
    answers = jsonl([{"query": f"answer {n} red", "reference": weights} for n in range(50)])
    for name, content in (("a.jsonl", body), ("b.answers.jsonl", answers)):
        world.uploads.upload(f"prompts/set/{name}", content)

    run = world.evaluated(b"", "prompts/set/_SUCCESS")

    assert local_tier_of(run).answers > 0
    asked = ran(world.promote(run.run_id))
    assert asked.state is RunState.AWAITING_APPROVAL
    assert asked.reason.startswith("changed: local tier trained on uploaded answers")


def golden(count: int, name: str = "golden") -> bytes:
    return jsonl(labelled_rows(count, name))


def test_a_model_that_is_worse_on_the_golden_set_is_rejected(world: World) -> None:
    world.uploads.upload("golden/a.jsonl", golden(40))
    run = world.evaluating()

    def forgetful(serving: ServingModel, query: str) -> ModelReply:
        is_wrong = serving.model_id == deployment_of(run).arn and query.startswith("golden")
        return reply(label(*rotated(query))) if is_wrong else student(serving, query)

    world.model = FakeModel(forgetful)
    rejected = ran(world.promote(ran(world.evaluate(run.run_id)).run_id))

    assert rejected.state is RunState.REJECTED
    assert "on the golden set (40 rows)" in rejected.reason


def test_a_model_that_passes_all_exams_is_promoted(world: World) -> None:
    world.uploads.upload("golden/a.jsonl", golden(40))
    first = world.promoted()
    second = world.promoted(jsonl(labelled_rows(300, "search")), "prompts/b.jsonl")

    assert first.evaluation is not None
    assert [exam.name for exam in first.evaluation.exams] == ["the golden set"]
    assert second.evaluation is not None
    names = [exam.name for exam in second.evaluation.exams]
    assert names == ["the holdout of version 1", "the golden set"]
    assert [exam.comparison.rival for exam in second.evaluation.exams] == ["champion"] * 2


def test_golden_queries_are_in_no_training_set(world: World) -> None:
    rows = labelled_rows(300)
    world.uploads.upload("golden/a.jsonl", jsonl(rows[:30]))

    run = world.sharded(jsonl(rows))

    assert run.counts.rejected == 30
    rejected = world.rows(f"runs/{run.run_id}/rejected.jsonl")
    assert {row["reason"] for row in rejected} == {RejectReason.GOLDEN.value}
    used = {
        row["messages"][0]["content"][0]["text"]
        for name in ("training", "holdout")
        for row in world.rows(f"runs/{run.run_id}/{name}.jsonl")
    }
    taken = {row["messages"][0]["content"][0]["text"] for row in rows[:30]}
    assert not used & taken
    assert len(used) == 270


def test_the_golden_set_is_bounded(world: World) -> None:
    world.uploads.upload("golden/a.jsonl", golden(MAX_GOLDEN_ROWS))
    assert len(GoldenSet(world.uploads).labels(UPLOAD_BUCKET, MODALITIES)) == MAX_GOLDEN_ROWS

    world.uploads.upload("golden/b.jsonl", golden(1, "one more"))
    with pytest.raises(InvalidInputError, match="1001 labelled rows, the limit is 1000"):
        GoldenSet(world.uploads).labels(UPLOAD_BUCKET, MODALITIES)


def test_hidden_and_other_files_are_no_golden_set(world: World) -> None:
    for key in ("golden/", "golden/_draft.jsonl", "golden/notes.txt"):
        world.uploads.upload(key, golden(3))

    assert GoldenSet(world.uploads).labels(UPLOAD_BUCKET, MODALITIES) == {}

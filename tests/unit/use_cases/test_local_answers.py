"""A distilled model's answers in a dataset: they train the local tier and nothing else."""

from collections.abc import Mapping
from typing import Any

import pytest

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake import datasets
from search_router.domain.intake.prompt_files import PromptFile
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.local_tier.artifact import unpack
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.serving.decisions import Tier
from search_router.domain.serving.local_tier import LocalTierMode
from tests.records import (
    MODALITIES,
    dataset_of,
    deployment_of,
    gzipped,
    job_of,
    jsonl,
    label,
    local_tier_of,
)
from tests.unit.use_cases.world import World, labelled_rows, ran

LABELS = jsonl(labelled_rows(300))
SPEECH = (0.1, 0.1, 0.7, 0.1)
NEW_PATTERN = [f"interview with {name} about football" for name in ("Ann", "Bob", "Cem", "Dee")]
ANSWERS = [{"query": query, "reference": label(*SPEECH)} for query in NEW_PATTERN]


def dataset(world: World, answers: bytes, name: str = "log.answers.jsonl") -> Any:
    """Upload labels and answers as one dataset; return its marker."""
    world.uploads.upload("prompts/set/labels.jsonl", LABELS)
    world.uploads.upload(f"prompts/set/{name}", answers)
    return world.uploads.upload("prompts/set/_SUCCESS", b"")


def sharded(world: World, answers: list[dict[str, Any]]) -> Run:
    return ran(world.shard(dataset(world, jsonl(answers))))


def model_of(world: World, run: Run) -> LocalModel:
    return unpack(world.objects.get(f"models/local/{local_tier_of(run).version}"), MODALITIES)


def bought(world: World, run: Run) -> Mapping[str, bytes]:
    """Return what labels made of the run: all of its objects but those that name files."""
    folder = f"runs/{run.run_id}/"
    return {
        key.removeprefix(folder): body
        for key, body in world.objects.bodies.items()
        if key.startswith(folder) and not key.endswith(("files.json", "manifest.json"))
    }


def test_answers_speak_where_the_labels_do_not() -> None:
    world = World()

    plain, taught = world.sharded(LABELS), sharded(world, ANSWERS)

    assert (local_tier_of(plain).answers, local_tier_of(taught).answers) == (0, len(ANSWERS))
    new = "interview with Eve about football"
    assert model_of(world, plain).answer(new) is None
    estimate = model_of(world, taught).answer(new)
    assert estimate is not None
    assert estimate.weights == SPEECH


def test_they_are_no_labels() -> None:
    world = World()

    plain, taught = world.sharded(LABELS), sharded(world, ANSWERS)

    assert bought(world, taught) == bought(world, plain)
    assert (taught.counts, dataset_of(taught).training_sha256) == (
        plain.counts,
        dataset_of(plain).training_sha256,
    )
    assert (dataset_of(taught).prior, local_tier_of(taught).held_out_patterns) == (
        dataset_of(plain).prior,
        local_tier_of(plain).held_out_patterns,
    )
    assert vars(model_of(world, taught).gate) == vars(model_of(world, plain).gate)
    described = world.text(f"runs/{taught.run_id}/manifest.json")
    assert [file["key"] for file in described["files"]] == ["prompts/set/labels.jsonl"]
    assert [file["key"] for file in described["answers"]] == ["prompts/set/log.answers.jsonl"]


def test_an_answer_never_contradicts_a_label_nor_meets_the_holdout() -> None:
    # GIVEN answers to all queries of the file, training rows and holdout, that are all wrong
    world = World()
    wrong = [
        {"query": row["messages"][0]["content"][0]["text"], "reference": label(*SPEECH)}
        for row in labelled_rows(300)
    ]

    plain, taught = world.sharded(LABELS), sharded(world, wrong)

    assert local_tier_of(taught).answers == 0
    assert local_tier_of(taught).version == local_tier_of(plain).version


def test_the_same_answers_in_any_order_and_packing_are_the_same_model() -> None:
    runs = []
    for body, name in (
        (jsonl(ANSWERS), "a.answers.jsonl"),
        (gzipped(jsonl(ANSWERS[::-1])), "b.answers.jsonl.gz"),
    ):
        runs.append(ran((world := World()).shard(dataset(world, body, name))))

    assert local_tier_of(runs[0]).version == local_tier_of(runs[1]).version


def test_a_closed_gate_stays_closed() -> None:
    world = World(local_tier_max_error=0.0001)
    noisy = [
        {
            **row,
            "messages": [row["messages"][0], {"role": "assistant", "content": [{"text": text}]}],
        }
        for n, row in enumerate(labelled_rows(300))
        for text in [label(*((1.0, 0.0, 0.0, 0.0) if n % 3 else SPEECH))]
    ]
    world.uploads.upload("prompts/set/labels.jsonl", jsonl(noisy))
    world.uploads.upload("prompts/set/log.answers.jsonl", jsonl(ANSWERS))

    run = ran(world.shard(world.uploads.upload("prompts/set/_SUCCESS", b"")))

    assert local_tier_of(run).answers == 0
    assert model_of(world, run).gate.closed


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"broken\n", "log.answers.jsonl, line 1: invalid_json"),
        (jsonl([*ANSWERS, {"query": "bare"}]), "log.answers.jsonl, line 5: no answer"),
        (jsonl([{"query": "q", "reference": '{"visual": 2}'}]), "line 1: invalid_label"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_fails_the_run(body: bytes, reason: str) -> None:
    world = World()

    run = ran(world.shard(dataset(world, body)))

    assert run.state is RunState.FAILED
    assert reason in run.reason
    assert bought(world, run) == {}, "nothing was taken in"


def test_answers_alone_are_no_dataset(world: World) -> None:
    run = world.sharded(jsonl(ANSWERS), "prompts/log.answers.jsonl")

    assert run.state is RunState.FAILED
    assert "with labelled queries" in run.reason


def test_there_is_a_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MAX_ANSWERS", 3)
    file = PromptFile("a.answers.jsonl", lambda: [jsonl(ANSWERS)])

    with pytest.raises(InvalidInputError, match="line 4: more than 3 answers"):
        datasets.read_answers([file], MODALITIES)


def test_the_champion_is_followed_by_itself_with_the_answers_for_no_new_job() -> None:
    # GIVEN a champion whose local tier abstains on a pattern
    world = World(local_tier=LocalTierMode.ON)
    first = world.promoted(LABELS)
    assert world.ask("interview with Eve about football").decision.tier is Tier.DISTILLED
    # WHEN the same labels are uploaded with its answers to that pattern
    run = sharded(world, ANSWERS)
    world.start(run.run_id)
    world.deploy(job_of(first).job_arn)
    world.track()
    evaluation = ran(world.evaluate(run.run_id)).evaluation
    asked = ran(world.promote(run.run_id))
    assert asked.state is RunState.AWAITING_APPROVAL
    second = world.approve(run.run_id)
    # THEN the next champion is the same model, and its local tier answers
    assert evaluation is not None
    assert evaluation.local_tier is not None
    assert evaluation.local_tier.answers == len(ANSWERS)
    assert (second.state, second.champion_version) == (RunState.PROMOTED, 2)
    assert deployment_of(second).arn == deployment_of(first).arn
    assert (len(world.customizer.started), len(world.customizer.deployed)) == (1, 1)
    assert world.ask("interview with Eve about football").decision.tier is Tier.LOCAL

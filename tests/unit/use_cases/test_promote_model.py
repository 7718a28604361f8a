"""Promotion: exactly one champion, always compared with the one it replaces."""

import pytest

from search_router.domain.errors import ConflictError, UnavailableError
from search_router.domain.events import ModelDeployed, ModelPromoted, ModelRejected
from search_router.domain.lifecycle.promotion import PromotionPolicy, PromotionRules
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.serving.champions import Champion
from tests.fakes import FakeModel, InMemoryChampions, always
from tests.records import (
    a_champion,
    a_serving_model,
    dataset_of,
    deployment_of,
    job_of,
    jsonl,
    label,
    local_tier_of,
)
from tests.unit.use_cases.world import World, ignored, labelled_rows, ran

OTHER = jsonl(labelled_rows(300, "search"))


def test_the_first_good_model_becomes_the_champion(world: World) -> None:
    run = world.evaluated()

    promoted = ran(world.promote(run.run_id))

    assert (promoted.state, promoted.champion_version) == (RunState.PROMOTED, 1)
    assert "base student" in promoted.reason
    assert world.champions.current() == world.champions.version(1) == Champion(
        version=1,
        run_id=run.run_id,
        serving=a_serving_model(
            model_id=deployment_of(run).arn,
            prior=dataset_of(run).prior,
            training_histograms=dataset_of(run).training_histograms,
            local_model=local_tier_of(run).version,
        ),
        promoted_at=world.clock.now(),
    )  # fmt: skip
    assert world.run(run.run_id) == promoted
    assert world.events.of(ModelPromoted) == [ModelPromoted(run_id=run.run_id, champion_version=1)]


def test_a_better_model_replaces_the_champion_which_stays_deployed(world: World) -> None:
    first, second = world.promoted(), world.promoted(OTHER)

    champion = world.champions.current()
    assert champion is not None
    assert (champion.version, champion.run_id) == (2, second.run_id)
    kept = world.champions.version(1)
    assert kept is not None
    assert kept.run_id == first.run_id
    assert world.customizer.deleted == []


def test_a_worse_model_is_rejected_with_the_comparison_and_its_deployment_deleted(
    world: World,
) -> None:
    world.promoted()
    champion = world.champions.current()
    right = world.model
    world.model = FakeModel(
        lambda serving, query: (
            right.answering(serving, query)
            if champion and serving.model_id == champion.serving.model_id
            else always(label(0.3, 0.3, 0.2, 0.2))(serving, query)
        )
    )
    run = world.evaluated(OTHER)

    rejected = ran(world.promote(run.run_id))

    assert rejected.state is RunState.REJECTED
    assert world.champions.current() == champion
    assert world.customizer.deleted == [deployment_of(run).arn]
    assert world.events.of(ModelRejected) == [
        ModelRejected(run_id=run.run_id, reason=rejected.reason)
    ]


def test_an_unknown_or_unmeasured_run_is_ignored(world: World) -> None:
    run = world.evaluating()

    assert ignored(world.promote("run-000000000000")) == "unknown run"
    assert ignored(world.promote(run.run_id)) == "the run is EVALUATING, not evaluated"
    assert world.champions.current() is None


def test_a_repeated_event_promotes_only_once(world: World) -> None:
    run = world.promoted()

    assert world.promote(run.run_id) == run
    assert world.champions.version(2) is None
    said = ModelPromoted(run_id=run.run_id, champion_version=1)
    assert world.events.of(ModelPromoted) == [said, said]


def test_a_repeated_event_of_a_rejected_run_deletes_nothing_else(world: World) -> None:
    world.model = FakeModel(always("no idea"))
    run = ran(world.promote(world.evaluated().run_id))

    assert (run.state, deployment_of(run).deleted) == (RunState.REJECTED, True)
    assert world.promote(run.run_id) == run
    assert len(world.customizer.deleted) == 1


def test_a_failed_deletion_is_repeated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.model = FakeModel(always("no idea"))
    run = world.evaluated()

    def unavailable(*_: object) -> None:
        raise UnavailableError("delete the deployment")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.customizer), "delete", unavailable)
        with pytest.raises(UnavailableError):
            world.promote(run.run_id)
    assert world.run(run.run_id).state is RunState.REJECTED

    world.promote(run.run_id)

    assert world.customizer.deleted == [deployment_of(run).arn]
    assert deployment_of(world.run(run.run_id)).deleted


def holdout_of(world: World, run: Run) -> list[str]:
    """Return the queries of a run's holdout."""
    rows = world.rows(f"runs/{run.run_id}/holdout.jsonl")
    return [row["messages"][0]["content"][0]["text"] for row in rows]


def two_evaluated(world: World) -> tuple[Run, Run]:
    """Evaluate two runs of different bytes before there is any champion."""
    one, other = world.evaluating(), world.evaluating(OTHER)
    return ran(world.evaluate(one.run_id)), ran(world.evaluate(other.run_id))


def test_of_two_runs_that_finish_together_one_wins_and_the_other_is_evaluated_again(
    world: World,
) -> None:
    one, other = two_evaluated(world)

    world.promote(one.run_id)
    world.events.published.clear()
    again = ran(world.promote(other.run_id))

    champion = world.champions.current()
    assert champion is not None
    assert (champion.version, champion.run_id) == (1, one.run_id)
    assert (again.state, again.evaluation) == (RunState.EVALUATING, None)
    assert world.events.published == [ModelDeployed(run_id=other.run_id)]

    world.model.asked.clear()
    measured = ran(world.evaluate(other.run_id))
    assert measured.evaluation is not None
    assert measured.evaluation.champion_version == 1
    own, kept = holdout_of(world, other), holdout_of(world, one)
    assert set(world.model.asked) == {
        *((champion.serving.model_id, query) for query in own),
        *((other.serving.model_id, query) for query in kept),
    }, "stored answers are not asked for again"
    assert ran(world.promote(other.run_id)).champion_version == 2


def test_another_promotion_makes_the_comparison_stale(world: World) -> None:
    first = world.promoted()
    run = world.evaluated(OTHER)
    assert run.evaluation is not None
    assert run.evaluation.champion_version == first.champion_version == 1
    world.champions.install(a_champion(2))

    again = ran(world.promote(run.run_id))

    assert (again.state, again.evaluation) == (RunState.EVALUATING, None)
    assert world.champions.version(3) is None


def test_of_two_runs_that_read_the_pointer_concurrently_one_wins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_evaluated(world)
    world.promote(one.run_id)
    before = world.run(other.run_id)

    with monkeypatch.context() as patch:
        patch.setattr(InMemoryChampions, "current", lambda _: None)  # as it was read
        with pytest.raises(ConflictError):
            world.promote(other.run_id)

    champion = world.champions.current()
    assert champion is not None
    assert (champion.version, champion.run_id) == (1, one.run_id)
    assert world.run(other.run_id) == before, "the write is all or nothing"
    assert len(world.events.of(ModelPromoted)) == 1
    assert ran(world.promote(other.run_id)).evaluation is None, "the retry evaluates again"


def test_two_concurrent_deliveries_promote_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.evaluated()
    world.promote(run.run_id)

    with monkeypatch.context() as patch:
        patch.setattr(InMemoryChampions, "current", lambda _: None)
        patch.setattr(type(world.runs), "get", lambda *_: run)
        with pytest.raises(ConflictError):
            world.promote(run.run_id)

    assert world.champions.version(2) is None
    assert world.run(run.run_id).state is RunState.PROMOTED


def test_a_champion_of_other_modalities_is_no_rival(world: World) -> None:
    world.champions.install(a_champion(3, modalities=("mood", "licence"), prior=(0.5, 0.5)))

    asked = ran(world.promote(world.evaluated().run_id))

    assert asked.state is RunState.AWAITING_APPROVAL
    assert asked.reason.startswith("changed: modalities")
    assert ", base student " in asked.reason
    assert world.approve(asked.run_id).champion_version == 4


def test_the_same_bytes_uploaded_twice_are_one_champion(world: World) -> None:
    one = world.promoted()
    twin = world.promoted(key="prompts/again.jsonl")

    assert twin.run_id != one.run_id
    assert twin.champion_version == one.champion_version == 1
    assert twin.reason == "the same model serves as version 1"
    assert world.champions.version(2) is None
    assert (len(world.customizer.started), len(world.customizer.deployed)) == (1, 1)
    assert world.events.of(ModelPromoted) == [
        ModelPromoted(run_id=one.run_id, champion_version=1),
        ModelPromoted(run_id=twin.run_id, champion_version=1),
    ]


def with_another_local_tier(world: World, key: str) -> Run:
    """Evaluate the champion's model again, with a local tier of another bound."""
    world.local_tier_max_error = 0.03
    return world.evaluated(key=key)


def test_the_same_model_with_another_local_tier_is_another_champion(world: World) -> None:
    one = world.promoted()
    world.rules = PromotionRules(PromotionPolicy.NEVER_ASK)

    other = ran(world.promote(with_another_local_tier(world, "prompts/again.jsonl").run_id))

    assert (other.state, other.champion_version) == (RunState.PROMOTED, 2)
    assert other.reason == "the model of version 1 with another local tier"
    champion = world.champions.current()
    assert champion is not None
    assert champion.serving == one.serving.model_copy(
        update={"local_model": local_tier_of(other).version}
    )
    assert champion.previous_version == 1
    assert (len(world.customizer.started), len(world.customizer.deployed)) == (1, 1)


@pytest.mark.parametrize(
    "policy", [p for p in PromotionPolicy if p is not PromotionPolicy.NEVER_ASK]
)
def test_another_local_tier_awaits_approval(policy: PromotionPolicy) -> None:
    world = World()
    world.promoted()
    world.rules = PromotionRules(policy)

    asked = ran(world.promote(with_another_local_tier(world, "prompts/again.jsonl").run_id))
    approved = world.approve(asked.run_id)

    assert asked.state is RunState.AWAITING_APPROVAL
    assert (approved.state, approved.champion_version) == (RunState.PROMOTED, 2)


def test_a_rejected_run_keeps_the_deployment_that_another_run_needs(world: World) -> None:
    world.model = FakeModel(always("no idea"))
    one, twin = world.training(key="prompts/a.jsonl"), world.training(key="prompts/b.jsonl")
    world.customizer.end_job(job_of(one).job_name)
    world.deploy(job_of(one).job_arn)
    world.customizer.end_deployment(f"{job_of(one).job_name}-serving")
    world.track()
    for run_id in (one.run_id, twin.run_id):
        world.evaluate(run_id)

    assert ran(world.promote(one.run_id)).state is RunState.REJECTED
    assert world.customizer.deleted == []

    assert ran(world.promote(twin.run_id)).state is RunState.REJECTED
    assert world.customizer.deleted == [deployment_of(world.run(one.run_id)).arn]


def test_a_former_champions_deployment_is_kept_when_a_run_that_shares_it_is_rejected(
    world: World,
) -> None:
    first = world.promoted()
    world.promoted(OTHER)
    world.model = FakeModel(always("no idea"))
    for key in [key for key in world.objects.bodies if key.startswith("runs/shared/")]:
        del world.objects.bodies[key]
    twin = world.evaluated(key="prompts/again.jsonl")
    assert deployment_of(twin).arn == deployment_of(first).arn

    assert ran(world.promote(twin.run_id)).state is RunState.REJECTED
    assert world.customizer.deleted == []

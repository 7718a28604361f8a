"""One query: the same cascade as the batch, and an answer even in an outage."""

import pytest

from search_router.domain.errors import (
    AccessDeniedError,
    InvalidInputError,
    NotFoundError,
    SearchRouterError,
    ThrottledError,
)
from search_router.domain.serving.decisions import Status, Tier
from tests.fakes import FakeModel
from tests.records import DEPLOYMENT, PRIOR, a_champion, jsonl
from tests.unit.use_cases.world import AUDIO, World, unreachable


def test_a_query_is_answered_by_the_champion_and_then_by_the_cache(serving_world: World) -> None:
    first = serving_world.ask("dogs barking").decision
    second = serving_world.ask("  dogs  barking\n").decision

    assert serving_world.ask("dogs barking").champion == a_champion()
    assert (first.tier, first.weights) == (Tier.DISTILLED, AUDIO)
    assert (second.tier, second.weights) == (Tier.CACHE, AUDIO)
    assert len(serving_world.model.asked) == 1


def test_spellings_that_share_a_cache_key_send_the_same_text(serving_world: World) -> None:
    for spelling in ("cafe\u0301  barking", " caf\u00e9 barking\n"):
        serving_world.ask(spelling)
        serving_world.caches.by_version.clear()

    assert serving_world.model.asked == [(DEPLOYMENT, "caf\u00e9 barking")] * 2


def test_batch_and_api_share_their_answers(serving_world: World) -> None:
    world = serving_world
    world.split_log(jsonl([{"query": "dogs barking"}]))
    world.route(world.queue.sent[0])

    decision = world.ask("dogs barking").decision

    assert (decision.tier, len(world.model.asked)) == (Tier.CACHE, 1)


def test_an_outage_is_answered_with_the_prior_and_not_cached(serving_world: World) -> None:
    world = serving_world
    world.model = FakeModel(unreachable(ThrottledError("too fast")))

    decision = world.ask("dogs").decision

    assert (decision.tier, decision.status, decision.weights) == (
        Tier.FALLBACK,
        Status.FALLBACK,
        PRIOR,
    )
    assert decision.problem == "the model could not be reached in time"
    assert world.caches.by_version == {1: {}}


def test_no_time_at_all_is_answered_with_the_prior_too(serving_world: World) -> None:
    serving_world.model.calls_left = 0

    assert serving_world.ask("dogs").decision.weights == PRIOR


def test_a_promotion_empties_the_cache_by_its_version(serving_world: World) -> None:
    serving_world.ask("dogs")
    serving_world.champions.install(a_champion(2))

    routed = serving_world.ask("dogs")

    assert (routed.decision.tier, routed.champion.version) == (Tier.DISTILLED, 2)


def test_without_a_champion_there_is_no_answer(world: World) -> None:
    with pytest.raises(NotFoundError, match="no model serves yet"):
        world.ask("dogs")


@pytest.mark.parametrize("error", [NotFoundError("gone"), AccessDeniedError("denied")])
def test_a_deployment_that_is_gone_or_denied_is_answered_for_by_the_prior(
    serving_world: World, error: SearchRouterError
) -> None:
    serving_world.model.refusing[DEPLOYMENT] = error

    decision = serving_world.ask("dogs").decision

    assert (decision.status, decision.weights) == (Status.FALLBACK, PRIOR)
    assert decision.problem == f"the model cannot be asked: {type(error).__name__}"
    assert serving_world.caches.by_version == {1: {}}


def test_a_rejected_query_is_answered_with_the_prior(serving_world: World) -> None:
    serving_world.model = FakeModel(lambda _serving, _query: InvalidInputError("refused"))

    decision = serving_world.ask("dogs").decision

    assert (decision.status, decision.weights) == (Status.FALLBACK, PRIOR)
    assert decision.problem == "the model rejected the query"

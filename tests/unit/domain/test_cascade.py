"""The cascade: tiers in order, every query asked once, what was learnt is never lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.cascade import (
    REMEMBER_BATCH,
    Routing,
    distinct_queries,
    give_up,
    route,
)
from search_router.domain.errors import NotFoundError, ThrottledError, TransientError
from search_router.domain.routing import ModelReply, Status, Tier, normalised_query
from tests.fakes import FakeModel, InMemoryCache, always, reply
from tests.records import PRIOR, a_serving_model, label

SERVING = a_serving_model()
ANSWER = (0.1, 0.6, 0.2, 0.1)
GOOD = label(*ANSWER)


def test_equal_queries_are_one_and_keep_their_first_spelling() -> None:
    assert distinct_queries(["  dogs", "dogs", "Dogs", "cafe\u0301", "café"]) == {
        "dogs": "  dogs",
        "Dogs": "Dogs",
        "café": "cafe\u0301",
    }


def test_an_unknown_query_is_asked_and_then_answered_from_the_cache() -> None:
    model, cache = FakeModel(always(GOOD)), InMemoryCache()
    queries = distinct_queries(["  dogs"])

    first = route(queries, SERVING, model, cache)
    second = route(queries, SERVING, model, cache)

    assert model.asked == [(SERVING.model_id, "  dogs")], "as it was written, and once"
    assert (first.decisions["dogs"].tier, first.model_calls) == (Tier.DISTILLED, 1)
    assert (second.decisions["dogs"].tier, second.model_calls) == (Tier.CACHE, 0)
    assert first.decisions["dogs"].weights == second.decisions["dogs"].weights == ANSWER


def test_an_invalid_answer_falls_back_to_the_prior_and_is_never_cached() -> None:
    model, cache = FakeModel(always("I do not know")), InMemoryCache()
    queries = distinct_queries(["dogs"])

    routing = route(queries, SERVING, model, cache)
    route(queries, SERVING, model, cache)

    assert (routing.decisions["dogs"].tier, routing.decisions["dogs"].weights) == (
        Tier.FALLBACK,
        PRIOR,
    )
    assert cache.values == {}
    assert len(model.asked) == 2, "asked anew, because nothing was remembered"


def test_a_repaired_answer_is_cached_as_repaired() -> None:
    model, cache = FakeModel(always(f"```json\n{GOOD}\n```")), InMemoryCache()

    route({"dogs": "dogs"}, SERVING, model, cache)

    assert cache.recall(["dogs"])["dogs"].status is Status.REPAIRED


def test_without_a_cache_every_query_is_asked() -> None:
    model = FakeModel(always(GOOD))

    routing = route(distinct_queries(["a", "b"]), SERVING, model, cache=None)

    assert routing.model_calls == 2
    assert set(routing.decisions) == {"a", "b"}


def test_what_the_model_could_not_be_asked_stays_pending_with_the_last_problem() -> None:
    throttled = ThrottledError("too fast")

    def sometimes(_serving: object, query: str) -> ModelReply | TransientError:
        return throttled if query == "b" else reply(GOOD)

    cache = InMemoryCache()
    routing = route(distinct_queries(["a", "b", "c"]), SERVING, FakeModel(sometimes), cache)

    assert (routing.pending, routing.problem) == (["b"], throttled)
    assert (set(routing.decisions), routing.model_calls) == ({"a", "c"}, 2)
    assert set(cache.values) == {"a", "c"}


def test_what_no_time_was_left_for_stays_pending() -> None:
    model = FakeModel(always(GOOD), calls_left=2)

    routing = route(distinct_queries(["a", "b", "c"]), SERVING, model, InMemoryCache())

    assert (routing.pending, routing.problem, routing.model_calls) == (["a"], None, 2)


def test_a_permanent_error_is_raised_but_keeps_what_was_learnt() -> None:
    gone = NotFoundError("the deployment is gone")

    def breaking(_serving: object, query: str) -> ModelReply:
        if query == "a":
            raise gone
        return reply(GOOD)

    cache = InMemoryCache()
    with pytest.raises(NotFoundError):
        route(distinct_queries(["a", "b", "c"]), SERVING, FakeModel(breaking), cache)

    assert set(cache.values) == {"b", "c"}


def test_answers_are_remembered_in_batches_while_they_come_in() -> None:
    cache = InMemoryCache()
    queries = distinct_queries([f"query {n}" for n in range(60)])

    route(queries, SERVING, FakeModel(always(GOOD)), cache)

    assert cache.remembered == [REMEMBER_BATCH, REMEMBER_BATCH, 10]


def test_giving_up_answers_the_rest_with_the_prior() -> None:
    routing = Routing(pending=["a"])

    give_up(routing, SERVING, "outage")

    assert routing.pending == []
    assert (routing.decisions["a"].weights, routing.decisions["a"].problem) == (PRIOR, "outage")


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), max_size=40),
    st.integers(0, 20),
    st.sets(st.integers(0, 39)),
)
def test_every_query_is_decided_or_pending_and_asked_at_most_once(
    written: list[str], calls: int, known: set[int]
) -> None:
    cache = InMemoryCache()
    queries = distinct_queries(written)
    already = {key: text for n, (key, text) in enumerate(queries.items()) if n in known}
    route(already, SERVING, FakeModel(always(GOOD)), cache)
    model = FakeModel(always(GOOD), calls_left=calls)

    routing = route(queries, SERVING, model, cache)

    assert set(routing.decisions) | set(routing.pending) == set(map(normalised_query, written))
    assert not set(routing.decisions) & set(routing.pending)
    assert len(model.asked) == len(set(model.asked)) == min(calls, len(queries) - len(already))

"""The cascade: tiers in order, every query asked once, what was learnt is never lost."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.errors import (
    InvalidInputError,
    NotFoundError,
    ThrottledError,
)
from search_router.domain.queries import normalised_query
from search_router.domain.serving.cascade import NoCache, Routing, distinct_queries, route
from search_router.domain.serving.decisions import ModelAnswer, Status, Tier
from search_router.domain.serving.visit_order import MAX_CHUNK, MAX_STEP
from tests.fakes import FakeModel, InMemoryCache, always, reply
from tests.records import PRIOR, a_decision, a_serving_model, label

SERVING = a_serving_model()
ANSWER = (0.1, 0.6, 0.2, 0.1)
GOOD = label(*ANSWER)


def many(count: int) -> list[str]:
    return [f"query {n}" for n in range(count)]


def test_spellings_that_share_a_cache_key_are_one_query() -> None:
    spellings = ["  dogs", "dogs", "Dogs", "cafe\u0301", "café"]

    assert distinct_queries(spellings) == ["dogs", "Dogs", "café"]


def test_a_new_query_is_asked_and_then_answered_from_the_cache() -> None:
    model, cache = FakeModel(always(GOOD)), InMemoryCache()
    queries = distinct_queries(["  dogs"])

    first = route(queries, SERVING, model, cache)
    second = route(queries, SERVING, model, cache)

    assert model.asked == [(SERVING.model_id, "dogs")], "normalised, and once"
    assert first.decisions["dogs"].tier is Tier.DISTILLED
    assert second.decisions["dogs"].tier is Tier.CACHE
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


def test_a_rejected_query_falls_back_alone_and_costs_nothing() -> None:
    def refusing(_serving: object, query: str) -> ModelAnswer:
        return InvalidInputError("ask the model: ValidationException") if query == "b" else good()

    cache = InMemoryCache()
    routing = route(distinct_queries(["a", "b", "c"]), SERVING, FakeModel(refusing), cache)

    refused = routing.decisions["b"]
    assert (refused.status, refused.weights, refused.cost_usd) == (Status.FALLBACK, PRIOR, 0.0)
    assert refused.problem == "the model rejected the query"
    assert (set(cache.values), routing.pending) == ({"a", "c"}, [])


def good() -> ModelAnswer:
    return reply(GOOD)


def test_a_repaired_answer_is_cached_as_repaired() -> None:
    model, cache = FakeModel(always(f"```json\n{GOOD}\n```")), InMemoryCache()

    route(["dogs"], SERVING, model, cache)

    assert cache.get_many(["dogs"])["dogs"].status is Status.REPAIRED


def test_without_a_cache_every_query_is_asked_every_time() -> None:
    model, cache = FakeModel(always(GOOD)), NoCache()

    for _ in range(2):
        assert set(route(many(2), SERVING, model, cache).decisions) == set(many(2))

    assert len(model.asked) == 4


def test_a_query_with_a_transient_error_stays_pending() -> None:
    throttled = ThrottledError("too fast")

    def sometimes(_serving: object, query: str) -> ModelAnswer:
        return throttled if query == "b" else good()

    cache = InMemoryCache()
    routing = route(distinct_queries(["a", "b", "c"]), SERVING, FakeModel(sometimes), cache)

    assert (routing.pending, routing.problem) == (["b"], throttled)
    assert set(routing.decisions) == set(cache.values) == {"a", "c"}


def test_queries_without_time_stay_pending() -> None:
    model = FakeModel(always(GOOD), calls_left=2)

    routing = route(many(3), SERVING, model, InMemoryCache())

    assert (len(routing.pending), routing.problem, len(routing.decisions)) == (1, None, 2)


def test_a_permanent_error_is_raised_after_caching_the_answers() -> None:
    answered: list[str] = []

    def breaking(_serving: object, query: str) -> ModelAnswer:
        if len(answered) == 2:
            raise NotFoundError("the deployment is gone")
        answered.append(query)
        return good()

    cache = InMemoryCache()
    with pytest.raises(NotFoundError):
        route(many(3), SERVING, FakeModel(breaking), cache)

    assert list(cache.values) == answered


def test_answers_are_cached_as_they_arrive() -> None:
    cache = InMemoryCache()

    route(many(60), SERVING, FakeModel(always(GOOD)), cache)

    assert cache.remembered == [5] * 12

    cache.remembered.clear()
    route(many(2_010), SERVING, FakeModel(always(GOOD)), cache)
    assert cache.remembered == [MAX_STEP] * 78, "of 1,950 that were not known yet"


def test_the_cache_is_looked_up_as_queries_are_drawn() -> None:
    cache = InMemoryCache()

    route(many(1_001), SERVING, FakeModel(always(GOOD)), cache)
    assert cache.recalled == [MAX_STEP] * 40 + [1]

    cache.recalled.clear()
    route(many(1_001), SERVING, FakeModel(always(GOOD)), cache)
    assert cache.recalled == [25, 50, *[MAX_CHUNK] * 9, 26], "what is known is passed quickly"

    cache.recalled.clear()
    route(many(5_000), SERVING, FakeModel(always(GOOD), calls_left=0), cache)
    assert cache.recalled == [], "no time to ask, no need to look"


def order_of(queries: list[str], start: int) -> list[str]:
    """Return the order in which a worker draws its queries."""
    drawn: list[str] = []

    class InOrder:
        def ask(
            self, _serving: object, queries: Iterable[str]
        ) -> Iterator[tuple[str, ModelAnswer]]:
            for query in queries:
                drawn.append(query)
                yield query, good()

    route(queries, SERVING, InOrder(), NoCache(), start)
    return drawn


def test_workers_start_at_different_positions_of_one_order() -> None:
    queries = many(1_000)
    reversed_queries = queries[::-1]

    orders = [order_of(queries, 0), order_of(reversed_queries, 1), order_of(queries, 2)]

    for order in orders:
        start = orders[0].index(order[0])
        assert order == orders[0][start:] + orders[0][:start]
    heads = [set(order[:200]) for order in orders]
    assert all(not one & other for one, other in combinations(heads, 2))


def test_a_worker_that_starts_later_meets_the_answers_of_the_first() -> None:
    queries, shared = many(1_000), dict[str, str]()
    model = FakeModel(always(GOOD))
    paused = iter(range(10**9))
    other_done: list[Routing] = []

    def interleaved(_serving: object, query: str) -> ModelAnswer:
        if next(paused) == 400:
            cache = InMemoryCache("log/1", shared)
            other = FakeModel(always(GOOD), calls_left=300)
            other_done.append(route(queries, SERVING, other, cache, start=1))
            model.asked.extend(other.asked)
        return good()

    model.answering = interleaved
    route(queries, SERVING, model, InMemoryCache("log/0", shared), start=0)

    assert len(other_done) == 1
    assert len(model.asked) <= 1_000 + 2 * MAX_STEP, "twice only what was in hand"


class SideBySide:
    """Two workers in lockstep, each with 14 calls in flight; counts what both ask."""

    def __init__(self) -> None:
        self._turns = threading.Condition()
        self._turn = 0
        self._ended: set[int] = set()
        self.asked: list[str] = []

    def model(self, worker: int) -> "_OfWorker":
        return _OfWorker(self, worker)

    def step(self, worker: int, query: str) -> None:
        with self._turns:
            self._turns.wait_for(lambda: self._turn == worker or 1 - worker in self._ended)
            self.asked.append(query)

    def give_turn(self, worker: int) -> None:
        with self._turns:
            self._turn = 1 - worker
            self._turns.notify_all()

    def end(self, worker: int) -> None:
        with self._turns:
            self._ended.add(worker)
            self._turns.notify_all()


class _OfWorker:
    def __init__(self, pair: SideBySide, worker: int) -> None:
        self._pair, self._worker = pair, worker

    def ask(self, _serving: object, queries: Iterable[str]) -> Iterator[tuple[str, ModelAnswer]]:
        in_flight: deque[str] = deque()
        for query in queries:
            self._pair.step(self._worker, query)
            in_flight.append(query)
            if len(in_flight) > 14:
                yield in_flight.popleft(), good()
            self._pair.give_turn(self._worker)
        yield from ((query, good()) for query in in_flight)


@pytest.mark.parametrize(("size", "most"), [(1_000, 1.05), (4_000, 1.03)])
def test_two_concurrent_workers_ask_few_queries_twice(size: int, most: float) -> None:
    pair, shared, queries = SideBySide(), dict[str, str](), many(size)

    def work(worker: int) -> None:
        cache = InMemoryCache(f"log/{worker}", shared)
        route(queries, SERVING, pair.model(worker), cache, start=worker)
        pair.end(worker)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert set(pair.asked) == set(queries)
    assert len(pair.asked) <= most * size


def test_a_cached_answer_counts_as_a_call_only_for_its_owner() -> None:
    shared = dict[str, str]()
    route(many(3), SERVING, FakeModel(always(GOOD)), InMemoryCache("log/0", shared))
    silent = FakeModel(always("?"))

    again = route(many(3), SERVING, silent, InMemoryCache("log/0", shared))
    other = route(many(3), SERVING, silent, InMemoryCache("log/1", shared))

    assert silent.asked == []
    assert {decision.tier for decision in again.decisions.values()} == {Tier.DISTILLED}
    assert all(decision.cost_usd > 0 for decision in again.decisions.values())
    assert {decision.tier for decision in other.decisions.values()} == {Tier.CACHE}
    assert all(decision.cost_usd == 0 for decision in other.decisions.values())


def test_pending_queries_can_be_answered_with_the_prior() -> None:
    routing = Routing(decisions={"b": a_decision()}, pending=["a"])

    routing.serve_prior(PRIOR, "outage")

    assert routing.pending == []
    assert (routing.decisions["a"].weights, routing.decisions["a"].problem) == (PRIOR, "outage")
    assert routing.decisions["b"] == a_decision()


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), max_size=40),
    st.integers(0, 20),
    st.sets(st.integers(0, 39)),
    st.integers(0, 5),
)
def test_every_query_is_decided_or_pending_and_asked_at_most_once(
    written: list[str], calls: int, cached: set[int], start: int
) -> None:
    cache = InMemoryCache()
    queries = distinct_queries(written)
    already = [query for n, query in enumerate(queries) if n in cached]
    route(already, SERVING, FakeModel(always(GOOD)), cache)
    model = FakeModel(always(GOOD), calls_left=calls)

    routing = route(queries, SERVING, model, cache, start)

    assert set(routing.decisions) | set(routing.pending) == set(map(normalised_query, written))
    assert not set(routing.decisions) & set(routing.pending)
    assert len(model.asked) == len(set(model.asked)) == min(calls, len(queries) - len(already))

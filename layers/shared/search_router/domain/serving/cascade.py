"""Route queries through the tiers: cache, local model, distilled model.

Batch, API and evaluation all call `route`, so they give a query the same answer. Queries that the
model could not be asked in time come back as `pending`. The caller then retries (batch), answers
with the prior (API) or fails (evaluation).
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from search_router.domain.errors import InvalidInputError, TransientError
from search_router.domain.queries import normalised_query
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import (
    Decision,
    ModelAnswer,
    ModelReply,
    Status,
    decide,
    prior_decision,
)
from search_router.domain.serving.local_tier import LocalTier, LocalTierStats
from search_router.domain.serving.visit_order import VisitOrder
from search_router.domain.weights import Weights


class AnswerCache(Protocol):
    """Decisions by normalised query, for one champion version and one owner."""

    def get_many(self, queries: Sequence[str]) -> Mapping[str, Decision]:
        """Return the cached decisions of these queries; empty while the cache cannot be read."""

    def put_many(self, decisions: Mapping[str, Decision]) -> None:
        """Cache decisions; losing some is harmless."""


class Model(Protocol):
    """A model that is asked many queries at a time."""

    def ask(
        self, serving: ServingModel, queries: Iterable[str]
    ) -> Iterator[tuple[str, ModelAnswer]]:
        """Yield each query with its answer, in any order.

        Draws queries in the caller's thread, and only a few more than it can ask at once. Skips
        those it has no time for. Raises NotFoundError or OperatorError if the model cannot be asked
        at all.
        """


@dataclass(slots=True)
class Routing:
    """The decisions by normalised query, and the queries that are still open."""

    decisions: dict[str, Decision] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    problem: TransientError | None = None
    local: LocalTierStats = field(default_factory=LocalTierStats)

    def serve_prior(self, prior: Weights, problem: str) -> None:
        """Answer the pending queries with the prior."""
        for query in self.pending:
            self.decisions[query] = prior_decision(prior, problem)
        self.pending.clear()


def distinct_queries(queries: Iterable[str]) -> list[str]:
    """Return the distinct normalised queries, in order of first appearance."""
    return list(dict.fromkeys(map(normalised_query, queries)))


def route(
    queries: Collection[str],
    serving: ServingModel,
    model: Model,
    cache: AnswerCache,
    start: int = 0,
    local: LocalTier | None = None,
) -> Routing:
    """Answer distinct normalised queries, each by the first tier that can.

    Workers that route at the same time pass a different `start` each (see VisitOrder). Raises
    NotFoundError or OperatorError if the model cannot be asked; answers received by then are
    cached.
    """
    routing = Routing()
    order = VisitOrder(queries, start)
    received = _ReceivedAnswers(cache, order.step)
    try:
        for query, answer in model.ask(serving, _left_for_model(order, cache, local, routing)):
            if isinstance(answer, TransientError):
                routing.problem = answer
                continue
            decision = _decided(answer, serving)
            routing.decisions[query] = decision
            routing.local.compare(query, decision)
            received.add(query, decision)
    finally:
        received.flush()
    routing.pending = [query for query in queries if query not in routing.decisions]
    return routing


def _left_for_model(
    order: VisitOrder, cache: AnswerCache, local: LocalTier | None, routing: Routing
) -> Iterator[str]:
    """Answer queries from the cache and the local model, chunk by chunk; yield the others."""
    while chunk := order.next_chunk():
        cached = cache.get_many(chunk)
        order.record_cached(len(cached), len(chunk))
        routing.decisions.update(cached)
        for query in chunk:
            if query in cached:
                continue
            decision = routing.local.consult(local, query) if local else None
            if decision is None:
                yield query
            else:
                routing.decisions[query] = decision


def _decided(answer: ModelReply | InvalidInputError, serving: ServingModel) -> Decision:
    if isinstance(answer, InvalidInputError):
        return prior_decision(serving.prior, "the model rejected the query")
    return decide(answer, serving)


class _ReceivedAnswers:
    """Writes the model's answers to the cache in chunks of `step`; fallbacks are not cached."""

    def __init__(self, cache: AnswerCache, step: int) -> None:
        self._cache = cache
        self._step = step
        self._unwritten: dict[str, Decision] = {}

    def add(self, query: str, decision: Decision) -> None:
        if decision.status is not Status.FALLBACK:
            self._unwritten[query] = decision
        if len(self._unwritten) >= self._step:
            self.flush()

    def flush(self) -> None:
        if self._unwritten:
            self._cache.put_many(self._unwritten)
        self._unwritten = {}


class NoModel:
    """A model that answers nothing, to see what the other tiers can answer."""

    def ask(
        self,
        serving: ServingModel,  # noqa: ARG002
        queries: Iterable[str],
    ) -> Iterator[tuple[str, ModelAnswer]]:
        """Draw all queries, which looks them up, and yield nothing."""
        deque(queries, maxlen=0)
        return iter(())


class NoCache:
    """A cache that stays empty: an evaluation measures the model itself."""

    def get_many(self, queries: Sequence[str]) -> Mapping[str, Decision]:  # noqa: ARG002
        """Return nothing."""
        return {}

    def put_many(self, decisions: Mapping[str, Decision]) -> None:
        """Discard them."""

"""cache → local → distilled → fallback: the one way a query gets its weights.

Batch, API and evaluation all call this, so that they agree by construction. The cascade never gives
up on its own: what could not be asked in time comes back as `pending`, and the caller decides
whether to wait (batch), to serve the prior (API) or to fail (evaluation).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from search_router.domain.champions import ServingModel
from search_router.domain.errors import TransientError
from search_router.domain.routing import (
    Decision,
    ModelReply,
    Status,
    decide,
    normalised_query,
    prior_decision,
)

REMEMBER_BATCH = 25  # DynamoDB BatchWriteItem takes 25 items


class AnswerCache(Protocol):
    """Remembers decisions by normalised query, for one champion version."""

    def recall(self, queries: Sequence[str]) -> Mapping[str, Decision]:
        """Return what is known of these normalised queries."""

    def remember(self, decisions: Mapping[str, Decision]) -> None:
        """Keep these decisions; losing some is harmless."""


class Model(Protocol):
    """Asks a model, many queries at a time."""

    def ask(
        self, serving: ServingModel, queries: Sequence[str]
    ) -> Iterator[tuple[str, ModelReply | TransientError]]:
        """Yield a reply or the last transient error per query, in any order.

        Queries that no time was left for are not yielded. Raises PermanentError at once.
        """


@dataclass(slots=True)
class Routing:
    """The decisions for a set of distinct queries, and what is still open."""

    decisions: dict[str, Decision] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    model_calls: int = 0
    problem: TransientError | None = None


def distinct_queries(queries: Sequence[str]) -> dict[str, str]:
    """Map each normalised query to the first way it was written."""
    distinct: dict[str, str] = {}
    for query in queries:
        distinct.setdefault(normalised_query(query), query)
    return distinct


def route(
    queries: Mapping[str, str], serving: ServingModel, model: Model, cache: AnswerCache | None
) -> Routing:
    """Answer distinct queries (normalised → as written), each by the first tier that can.

    Raises PermanentError when the model cannot be asked at all; what was learnt before is cached.
    """
    routing = Routing()
    if cache is not None:
        routing.decisions.update(cache.recall(list(queries)))
    unknown = {text: key for key, text in queries.items() if key not in routing.decisions}
    memory = _Memory(cache)
    try:
        for text, reply in model.ask(serving, list(unknown)):
            key = unknown.pop(text)
            if isinstance(reply, TransientError):
                routing.pending.append(key)
                routing.problem = reply
                continue
            routing.model_calls += 1
            decision = decide(reply, serving)
            routing.decisions[key] = decision
            memory.keep(key, decision)
    finally:
        memory.flush()
    routing.pending.extend(unknown.values())
    return routing


def give_up(routing: Routing, serving: ServingModel, problem: str) -> None:
    """Answer what is still pending with the prior."""
    for key in routing.pending:
        routing.decisions[key] = prior_decision(serving.prior, problem)
    routing.pending.clear()


class _Memory:
    """Hands decisions to the cache in batches; a fallback is never kept."""

    def __init__(self, cache: AnswerCache | None) -> None:
        self._cache = cache
        self._learnt: dict[str, Decision] = {}

    def keep(self, key: str, decision: Decision) -> None:
        if decision.status is not Status.FALLBACK:
            self._learnt[key] = decision
        if len(self._learnt) >= REMEMBER_BATCH:
            self.flush()

    def flush(self) -> None:
        if self._cache is not None and self._learnt:
            self._cache.remember(self._learnt)
        self._learnt = {}

"""cache → local → distilled → fallback: the one way a query gets its weights.

Batch, API and evaluation all call this, so that they agree by construction. The cascade never gives
up on its own: what could not be asked in time comes back as `pending`, and the caller decides
whether to wait (batch), to serve the prior (API) or to fail (evaluation).
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from search_router.domain.errors import InvalidInputError, TransientError
from search_router.domain.queries import normalised_query, query_digest
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import (
    Decision,
    ModelReply,
    Status,
    decide,
    prior_decision,
)
from search_router.domain.serving.local_tier import LocalTier, LocalTierStats

MAX_CHUNK = 100  # queries looked up at a time, while half of them turn out to be known
MAX_STEP = 25  # otherwise, and answers remembered at a time
_MIN_STEP = 5
_STEPS = 40  # in a small split smaller steps, so that two workers see each other
_GOLDEN_RATIO = 0.618


class AnswerCache(Protocol):
    """Remembers decisions by normalised query, for one champion version and one owner."""

    def get_many(self, queries: Sequence[str]) -> Mapping[str, Decision]:
        """Return what is known of these normalised queries; nothing while it cannot be read."""

    def put_many(self, decisions: Mapping[str, Decision]) -> None:
        """Keep these decisions; losing some is harmless."""


class Model(Protocol):
    """Asks a model, many queries at a time."""

    def ask(
        self, serving: ServingModel, queries: Iterable[str]
    ) -> Iterator[tuple[str, ModelReply | InvalidInputError | TransientError]]:
        """Yield a reply, a refusal or the last transient error per query, in any order.

        Queries are drawn only when they can be asked; those that no time was left for are not
        yielded. Raises NotFoundError or OperatorError at once: the model cannot be asked at all.
        """


@dataclass(slots=True)
class Routing:
    """The decisions for a set of distinct queries, and what is still open."""

    decisions: dict[str, Decision] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    problem: TransientError | None = None
    local: LocalTierStats = field(default_factory=LocalTierStats)


def distinct_queries(queries: Sequence[str]) -> dict[str, str]:
    """Map each normalised query to the first way it was written."""
    distinct: dict[str, str] = {}
    for query in queries:
        distinct.setdefault(normalised_query(query), query)
    return distinct


def route(
    queries: Mapping[str, str],
    serving: ServingModel,
    model: Model,
    cache: AnswerCache,
    place: int = 0,
    local: LocalTier | None = None,
) -> Routing:
    """Answer distinct queries (normalised → as written), each by the first tier that can.

    Workers that route at the same time pass different places: each begins elsewhere in one common
    order and looks into the cache as it goes. One that meets another's answers goes on in the
    opposite direction, so that the two do not walk side by side through what is left. Raises
    NotFoundError or OperatorError; what was learnt before is cached.
    """
    routing = Routing()
    step = min(MAX_STEP, max(_MIN_STEP, len(queries) // _STEPS))
    memory = _Memory(cache, step)
    keys = {text: key for key, text in queries.items()}
    try:
        unknown = _unknown(queries, place, step, cache, routing)
        for text, reply in model.ask(serving, _refused(unknown, local, routing)):
            if isinstance(reply, TransientError):
                routing.problem = reply
                continue
            decision = _decided(reply, serving)
            routing.decisions[keys[text]] = decision
            routing.local.compare(keys[text], decision)
            memory.keep(keys[text], decision)
    finally:
        memory.flush()
    routing.pending = [key for key in queries if key not in routing.decisions]
    return routing


def serve_prior(routing: Routing, serving: ServingModel, problem: str) -> None:
    """Answer what is still pending with the prior."""
    for key in routing.pending:
        routing.decisions[key] = prior_decision(serving.prior, problem)
    routing.pending.clear()


def _unknown(
    queries: Mapping[str, str], place: int, step: int, cache: AnswerCache, routing: Routing
) -> Iterator[tuple[str, str]]:
    """Yield what the cache does not know, looked up chunk by chunk as it is drawn."""
    left = _from_place(queries, place)
    forward, size = True, step
    while left:
        chunk = [left.popleft() if forward else left.pop() for _ in range(min(size, len(left)))]
        known = cache.get_many(chunk)
        routing.decisions.update(known)
        yield from ((key, queries[key]) for key in chunk if key not in known)
        met = 2 * len(known) >= len(chunk)
        forward = forward != met
        size = min(MAX_CHUNK, 2 * size) if met else step


def _refused(
    unknown: Iterable[tuple[str, str]], local: LocalTier | None, routing: Routing
) -> Iterator[str]:
    """Yield what the local tier does not serve, as written."""
    for key, query in unknown:
        decision = routing.local.consult(local, key, query) if local else None
        if decision is None:
            yield query
        else:
            routing.decisions[key] = decision


def _from_place(queries: Iterable[str], place: int) -> deque[str]:
    """Return the queries in the common order, turned so that each place begins elsewhere."""
    ordered = deque(sorted(queries, key=query_digest))
    ordered.rotate(-int(place * _GOLDEN_RATIO % 1 * len(ordered)))
    return ordered


def _decided(reply: ModelReply | InvalidInputError, serving: ServingModel) -> Decision:
    if isinstance(reply, InvalidInputError):
        return prior_decision(serving.prior, "the model refused the query")
    return decide(reply, serving)


class _Memory:
    """Hands decisions to the cache in chunks; a fallback is never kept."""

    def __init__(self, cache: AnswerCache, step: int) -> None:
        self._cache = cache
        self._step = step
        self._learnt: dict[str, Decision] = {}

    def keep(self, key: str, decision: Decision) -> None:
        if decision.status is not Status.FALLBACK:
            self._learnt[key] = decision
        if len(self._learnt) >= self._step:
            self.flush()

    def flush(self) -> None:
        if self._learnt:
            self._cache.put_many(self._learnt)
        self._learnt = {}


class NoModel:
    """Answers nothing: what is known without asking is all there is."""

    def ask(
        self,
        serving: ServingModel,  # noqa: ARG002
        queries: Iterable[str],
    ) -> Iterator[tuple[str, ModelReply | InvalidInputError | TransientError]]:
        """Draw all queries, so that the cache is looked up, and yield nothing."""
        deque(queries, maxlen=0)
        return iter(())


class NoCache:
    """Knows nothing and keeps nothing: an evaluation measures the model itself."""

    def get_many(self, queries: Sequence[str]) -> Mapping[str, Decision]:  # noqa: ARG002
        """Return nothing."""
        return {}

    def put_many(self, decisions: Mapping[str, Decision]) -> None:
        """Forget them."""

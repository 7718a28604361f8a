"""One query, asked by a search request that is waiting for the answer."""

from dataclasses import dataclass

from search_router.domain.errors import NotFoundError, OperatorError, PermanentError
from search_router.domain.queries import normalised_query
from search_router.domain.serving.cascade import Routing, distinct_queries, route, serve_prior
from search_router.domain.serving.champions import Champion
from search_router.domain.serving.decisions import Decision
from search_router.domain.serving.local_tier import LocalTierStats
from search_router.ports import CurrentChampion, Tiers

_NOBODY = ""  # the API never asks for the same query again on purpose


@dataclass(frozen=True, slots=True)
class RoutedQuery:
    """The decision for one query, and the champion that made it."""

    decision: Decision
    champion: Champion
    local: LocalTierStats


def route_query(query: str, *, champions: CurrentChampion, tiers: Tiers) -> RoutedQuery:
    """Answer one non-blank query by the cascade.

    A champion that cannot be asked, because its deployment is gone or denied or has no time, is
    answered for by its prior. Raises NotFoundError when no model was ever promoted.
    """
    champion = champions.current()
    if champion is None:
        raise NotFoundError("no model serves yet")
    queries, serving = distinct_queries([query]), champion.serving
    cache = tiers.caches.of(champion.version, _NOBODY)
    local = tiers.local_models.tier(serving)
    try:
        routing = route(queries, serving, tiers.model, cache, local=local)
    except (PermanentError, OperatorError) as error:
        routing = Routing(pending=list(queries))
        serve_prior(routing, serving, f"the model cannot be asked: {type(error).__name__}")
    serve_prior(routing, serving, "the model could not be reached in time")
    return RoutedQuery(routing.decisions[normalised_query(query)], champion, routing.local)

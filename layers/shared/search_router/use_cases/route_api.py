"""One query, asked by a search request that is waiting for the answer."""

from dataclasses import dataclass

from search_router.domain.cascade import Model, distinct_queries, give_up, route
from search_router.domain.champions import Champion
from search_router.domain.errors import NotFoundError
from search_router.domain.routing import Decision, normalised_query
from search_router.ports import AnswerCaches, ChampionRepository

_NOBODY = ""  # the API never asks for the same query again on purpose


@dataclass(frozen=True, slots=True)
class RoutedQuery:
    """The decision for one query, and the champion that made it."""

    decision: Decision
    champion: Champion


def route_query(
    query: str, *, champions: ChampionRepository, caches: AnswerCaches, model: Model
) -> RoutedQuery:
    """Answer one non-blank query by the cascade; an outage is answered with the prior.

    Raises NotFoundError when no model was ever promoted, or the champion's deployment is gone.
    """
    champion = champions.current()
    if champion is None:
        raise NotFoundError("no model serves yet")
    cache = caches.of(champion.version, _NOBODY)
    routing = route(distinct_queries([query]), champion.serving, model, cache)
    give_up(routing, champion.serving, "the model could not be reached in time")
    return RoutedQuery(routing.decisions[normalised_query(query)], champion)

"""One query, asked by a search request that is waiting for the answer."""

from search_router.domain.cascade import Model, distinct_queries, give_up, route
from search_router.domain.champions import Champion, serving_model
from search_router.domain.errors import NotFoundError
from search_router.domain.routing import Decision, normalised_query
from search_router.ports import AnswerCaches, ChampionRepository


def route_query(
    query: str, *, champions: ChampionRepository, caches: AnswerCaches, model: Model
) -> tuple[Decision, Champion]:
    """Answer one non-blank query by the cascade; an outage is answered with the prior.

    Raises NotFoundError when no model was ever promoted.
    """
    champion = champions.current()
    if champion is None:
        raise NotFoundError("no model serves yet")
    serving = serving_model(champion)
    routing = route(distinct_queries([query]), serving, model, caches.of(champion.version))
    give_up(routing, serving, "the model could not be reached in time")
    return routing.decisions[normalised_query(query)], champion

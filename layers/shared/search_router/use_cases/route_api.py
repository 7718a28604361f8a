"""Route one query for a search request that waits for the answer."""

from dataclasses import dataclass

from search_router.domain.errors import NotFoundError, OperatorError, PermanentError
from search_router.domain.queries import normalised_query
from search_router.domain.serving.cascade import Model, Routing, route
from search_router.domain.serving.champions import Champion
from search_router.domain.serving.decisions import Decision
from search_router.domain.serving.local_tier import LocalTierStats
from search_router.ports import AnswerCaches, CurrentChampion, LocalModels

_NO_OWNER = ""  # a repeated request is a cache hit


@dataclass(frozen=True, slots=True)
class RoutedQuery:
    """The decision for one query, and the champion that made it."""

    decision: Decision
    champion: Champion
    local: LocalTierStats


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """Routes single queries."""

    champions: CurrentChampion
    caches: AnswerCaches
    local_models: LocalModels

    def __call__(self, query: str, model: Model) -> RoutedQuery:
        """Answer one non-blank query.

        The prior answers if the model cannot be asked or does not answer in time. Raises
        NotFoundError if no model was ever promoted.
        """
        champion = self.champions.current()
        if champion is None:
            raise NotFoundError("no model serves yet")
        key, serving = normalised_query(query), champion.serving
        cache = self.caches.of(champion.version, _NO_OWNER)
        local = self.local_models.tier(serving)
        try:
            routing = route([key], serving, model, cache, local=local)
            problem = "the model could not be reached in time"
        except (PermanentError, OperatorError) as error:
            routing = Routing(pending=[key])
            problem = f"the model cannot be asked: {type(error).__name__}"
        routing.serve_prior(serving.prior, problem)
        return RoutedQuery(routing.decisions[key], champion, routing.local)

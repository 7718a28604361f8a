"""How collections are searched, read once a minute per container."""

from typing import NamedTuple

from search_router.domain import naming
from search_router.domain.errors import NotFoundError, SearchRouterError
from search_router.domain.search.calibration import Calibration
from search_router.domain.search.profiles import RankingProfile
from search_router.domain.search.rankings import Ranking
from search_router.ports import Clock, CollectionRepository, ObjectStore

FRESH_SECONDS = 60.0
_KEPT = 100  # collections


class _Read(NamedTuple):
    at: float
    ranking: Ranking


class CachedRankings:
    """Reads collections and calibrations; what cannot be read again stays in use."""

    def __init__(
        self, collections: CollectionRepository, objects: ObjectStore, clock: Clock
    ) -> None:
        self._collections = collections
        self._objects = objects
        self._clock = clock
        self._reads: dict[str, _Read] = {}

    def of(self, collection: str) -> Ranking | None:
        """Return a collection with its profile and calibration; None if it does not exist."""
        last, now = self._reads.get(collection), self._clock.monotonic()
        if last is not None and now - last.at < FRESH_SECONDS:
            return last.ranking
        try:
            ranking = self._read(collection)
        except SearchRouterError:
            if last is None:
                raise
            return last.ranking
        self._reads.pop(collection, None)
        if ranking is None:
            return None
        while len(self._reads) >= _KEPT:
            del self._reads[next(iter(self._reads))]
        self._reads[collection] = _Read(now, ranking)
        return ranking

    def _read(self, name: str) -> Ranking | None:
        collection = self._collections.get(name)
        if collection is None:
            return None
        try:
            stored = self._objects.get(naming.calibration_key(name))
        except NotFoundError:
            return Ranking(collection, RankingProfile(), Calibration())
        return Ranking(collection, RankingProfile(), Calibration.model_validate_json(stored))

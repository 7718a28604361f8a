"""How one collection is searched: its profile and its calibration."""

from typing import NamedTuple

from search_router.domain.search.calibration import Calibration
from search_router.domain.search.index import Collection
from search_router.domain.search.profiles import RankingProfile


class Ranking(NamedTuple):
    """A collection, the ranking profile that serves it, and the calibration of its scores."""

    collection: Collection
    profile: RankingProfile
    calibration: Calibration

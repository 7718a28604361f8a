"""Confidence intervals of 95 % for means and shares.

Means: percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
13). Shares: Wilson's score interval (Brown, Cai and DasGupta, Interval Estimation for a Binomial
Proportion, Statistical Science 16, 2001), because the bootstrap interval of 40 valid answers out of
40 would have no width. The generator is seeded: the same rows give the same interval.
"""

import math
from collections.abc import Sequence
from operator import itemgetter
from random import Random

from search_router.domain.records import Record

RESAMPLES = 2_000
_SEED = 6
_TAIL = 0.025
_Z = 1.959964  # the normal distribution's 97.5 % point


class Interval(Record):
    """The bounds of a figure with 95 % confidence."""

    low: float
    high: float


class Resampling:
    """Resamples of a holdout's rows, the same for every model, so that differences are paired."""

    def __init__(self, rows: int) -> None:
        generator = Random(_SEED)  # noqa: S311 - not used for security
        self._rows = rows
        self._draws = [
            itemgetter(*generator.choices(range(rows), k=rows), 0) for _ in range(RESAMPLES)
        ]

    def interval(self, values: Sequence[float]) -> Interval:
        """Return the interval of the mean; the values are in row order."""
        first = values[0]  # each draw has one more item: of a single one itemgetter makes no tuple
        means = sorted((sum(draw(values)) - first) / self._rows for draw in self._draws)
        tail = math.floor(_TAIL * RESAMPLES)
        return Interval(low=means[tail], high=means[-1 - tail])


def share_interval(count: float, rows: int) -> Interval:
    """Return the interval of the share `count / rows`."""
    share, z2 = count / rows, _Z**2
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    spread = _Z / (1 + z2 / rows) * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows**2))
    return Interval(low=max(0.0, centre - spread), high=min(1.0, centre + spread))

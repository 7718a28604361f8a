"""How sure a figure is, from the rows that it was measured on.

Means: percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
13). Shares: Wilson's score interval (Brown, Cai and DasGupta, Interval Estimation for a Binomial
Proportion, Statistical Science 16, 2001), because a bootstrap of 40 valid answers out of 40 would
claim to be certain. The generator is seeded: the same rows give the same interval.
"""

import math
from collections.abc import Sequence
from operator import itemgetter
from random import Random

from pydantic import BaseModel, ConfigDict

RESAMPLES = 2_000
_SEED = 6
_TAIL = 0.025
_Z = 1.959964  # the normal distribution's 97.5 % point


class Interval(BaseModel):
    """Where a figure lies with 95 % confidence."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    low: float
    high: float


class Resampling:
    """The same resamples of one holdout's rows for every model, so that differences are paired."""

    def __init__(self, rows: int) -> None:
        generator = Random(_SEED)  # noqa: S311 - draws samples, guards nothing
        places = range(rows)
        self._rows = rows
        self._draws = [itemgetter(*generator.choices(places, k=rows), 0) for _ in range(RESAMPLES)]

    def interval(self, values: Sequence[float]) -> Interval:
        """Return where the mean of these rows' values lies; the values are in row order."""
        first = values[0]  # itemgetter is given one more place: of one place it makes no tuple
        means = sorted((sum(draw(values)) - first) / self._rows for draw in self._draws)
        tail = math.floor(_TAIL * RESAMPLES)
        return Interval(low=means[tail], high=means[-1 - tail])


def share_interval(count: int, rows: int) -> Interval:
    """Return where a share lies of which `count` of `rows` were seen."""
    share, z2 = count / rows, _Z**2
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    spread = _Z / (1 + z2 / rows) * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows**2))
    return Interval(low=max(0.0, centre - spread), high=min(1.0, centre + spread))

"""How far a log's answers are from the labels that the champion was trained on.

The measure is the Jensen-Shannon divergence of the two histograms of a modality, in bits: 0 for
equal ones, 1 for ones that share no bin (Lin, "Divergence measures based on the Shannon entropy",
IEEE Transactions on Information Theory 37, 1991). It needs no smoothing of empty bins.
"""

import math
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from search_router.domain.weights import Modalities, Weights, weight_bin

MEASURE = "Jensen-Shannon divergence in bits, ten bins of weight"


class ModalityDrift(BaseModel):
    """One modality's divergence, and its mean weight minus the mean label."""

    model_config = ConfigDict(frozen=True)

    divergence: float
    mean_shift: float


class Drift(BaseModel):
    """The drift of all modalities.

    `expected_by_chance` is the mean divergence of two samples of these sizes from one distribution.
    """

    model_config = ConfigDict(frozen=True)

    measure: str = MEASURE
    modalities: dict[str, ModalityDrift]
    largest: str
    expected_by_chance: float


def weight_drift(
    answers: Mapping[str, list[int]],
    training: Mapping[str, list[int]],
    shifts: Mapping[str, float],
    distinct: int,
) -> Drift | None:
    """Compare the histograms of `distinct` queries' answers with those of the training labels.

    `shifts` are the mean answers minus the mean labels. Returns None if either side is empty or
    their modalities differ.
    """
    both = [*answers.values(), *training.values()]
    if not both or set(answers) != set(training) or not all(map(any, both)):
        return None
    modalities = {
        name: ModalityDrift(
            divergence=round(jensen_shannon(bins, training[name]), 4),
            mean_shift=round(shifts[name], 4),
        )
        for name, bins in answers.items()
    }
    by_chance = [
        chance_divergence(bins, training[name], distinct) for name, bins in answers.items()
    ]
    return Drift(
        modalities=modalities,
        largest=max(modalities, key=lambda name: modalities[name].divergence),
        expected_by_chance=round(max(by_chance), 4),
    )


def jensen_shannon(left: Sequence[int], right: Sequence[int]) -> float:
    """Return the divergence of two histograms in bits, in [0, 1]; neither may be empty."""
    p, q = _shares(left), _shares(right)
    mixed = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return min(1.0, max(0.0, (_relative_entropy(p, mixed) + _relative_entropy(q, mixed)) / 2))


def chance_divergence(left: Sequence[int], right: Sequence[int], distinct: int) -> float:
    """Return the mean divergence of two samples from one distribution, in bits.

    A sample's divergence times 8 n ln 2 is about chi-squared with one degree of freedom fewer than
    there are bins in use. Rows of one query are one draw, so `distinct` counts, not rows.
    """
    bins = sum(1 for a, b in zip(left, right, strict=True) if a or b)
    draws = 1 / max(1, min(distinct, sum(left))) + 1 / sum(right)
    return min(1.0, (bins - 1) * draws / (8 * math.log(2)))


def without_prior(
    histograms: Mapping[str, list[int]], prior: Weights, modalities: Modalities, rows: int
) -> dict[str, list[int]]:
    """Subtract the rows that were answered with the prior."""
    bins = {name: list(counts) for name, counts in histograms.items()}
    for name, weight in zip(modalities, prior, strict=True):
        if name in bins:
            index = weight_bin(weight)
            bins[name][index] = max(0, bins[name][index] - rows)
    return bins


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts]


def _relative_entropy(p: Sequence[float], q: Sequence[float]) -> float:
    return math.fsum(a * math.log2(a / b) for a, b in zip(p, q, strict=True) if a > 0)

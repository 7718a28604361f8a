"""Histograms of weights: ten equal bins of [0, 1], the same for training sets and routed logs."""

from collections.abc import Iterable, Mapping

from search_router.domain.weights import Modalities, Weights

BINS = 10


def weight_bin(weight: float) -> int:
    """Return the bin of a weight; a weight on a bin's lower edge belongs to it, 1 to the last."""
    return min(int(weight * BINS + 1e-9), BINS - 1)


def weight_histograms(rows: Iterable[Weights], modalities: Modalities) -> dict[str, list[int]]:
    """Count rows per modality and bin."""
    histograms = {name: [0] * BINS for name in modalities}
    for weights in rows:
        for name, weight in zip(modalities, weights, strict=True):
            histograms[name][weight_bin(weight)] += 1
    return histograms


def mean_weights(histograms: Mapping[str, list[int]]) -> dict[str, float]:
    """Estimate the mean weight per modality, to about 0.03; empty if nothing was counted.

    A bin stands for its middle. Labels on a grid lie at the lower edges, which would make all means
    too large by the same amount; as the weights of a row sum to 1, that amount is known.
    """
    totals = {name: sum(bins) for name, bins in histograms.items()}
    if not all(totals.values()) or not totals:
        return {}
    raw = {
        name: sum((place + 0.5) * count for place, count in enumerate(bins)) / BINS / totals[name]
        for name, bins in histograms.items()
    }
    excess = (sum(raw.values()) - 1) / len(raw)
    return {name: round(mean - excess, 4) for name, mean in raw.items()}

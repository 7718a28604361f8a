"""Histograms of weights: ten equal bins of [0, 1], the same for training sets and routed logs."""

from collections.abc import Iterable

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

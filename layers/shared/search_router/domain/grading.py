"""Compares an answer with a label: errors per weight, dominant modality, grade."""

import math
from collections.abc import Sequence

from search_router.domain.weights import Weights, leaders

_ROUNDING = 1e-9


def grade(weights: Weights, reference: Weights) -> int:
    """Grade weights from 1 to 5 by the deterministic part of the reference post's rubric.

    5: all within 0.05; 4: within 0.10; 1: a mean error over 0.30; 3: the dominant modality is right
    and the mean error under 0.15; otherwise 2.
    """
    off = errors(weights, reference)
    error = mean(off)
    if error > 0.30:
        return 1
    if within(off, 0.05):
        return 5
    if within(off, 0.10):
        return 4
    return 3 if agrees(weights, reference) and error < 0.15 else 2


def agrees(weights: Weights, reference: Weights) -> bool:
    """Return whether the dominant modalities agree.

    Any of a label's tied leaders is right, but of an answer's ties only the first counts, as in
    serving: otherwise equal weights would always agree.
    """
    return min(leaders(weights)) in leaders(reference)


def within(off: Weights, bound: float) -> bool:
    """Return whether all errors are at most the bound, up to rounding."""
    return max(off) <= bound + _ROUNDING


def errors(weights: Weights, reference: Weights) -> Weights:
    """Return the absolute error of every weight."""
    return tuple(abs(a - b) for a, b in zip(weights, reference, strict=True))


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value; importing `statistics` would take longer."""
    return math.fsum(values) / len(values)

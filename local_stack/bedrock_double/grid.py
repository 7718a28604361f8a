"""Weights on a grid: shares that are whole multiples of a step and sum to exactly one."""

from collections.abc import Sequence

_LEVELS = (10, 20, 100)  # grids of 0.1, 0.05 and 0.01, the coarsest that holds all labels is used
_TOLERANCE = 1e-6


def levels_of(values: Sequence[float]) -> int:
    """Return how many steps of the coarsest grid with all these values make one."""
    for levels in _LEVELS:
        if all(abs(value * levels - round(value * levels)) < _TOLERANCE for value in values):
            return levels
    return _LEVELS[-1]


def snap(shares: Sequence[float], levels: int) -> list[float]:
    """Return the grid point nearest to the shares, scaled to sum one (largest remainder)."""
    total = sum(shares)
    if total <= 0:
        return snap([1.0] * len(shares), levels)
    exact = [share / total * levels for share in shares]
    steps = [int(value) for value in exact]
    missing = levels - sum(steps)
    by_remainder = sorted(range(len(exact)), key=lambda i: steps[i] - exact[i])
    for index in by_remainder[:missing]:
        steps[index] += 1
    return [step / levels for step in steps]

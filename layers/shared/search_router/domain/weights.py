"""The weight contract: how much each modality of a video counts for one query.

Weights are a tuple of floats in the order of the configured modalities: finite, each in [0, 1],
summing to 1. The number of modalities is configurable.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from search_router.domain.errors import InvalidInputError

Modalities = tuple[str, ...]
Weights = tuple[float, ...]

REASONING_KEY = "reasoning"
SUM_TOLERANCE = 0.01
EXACT_SUM_TOLERANCE = 1e-9
GRID_STEPS = (0.1, 0.05, 0.01)
MAX_MODALITIES = 16
TIE_TOLERANCE = 1e-9

_MODALITY_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def parse_modalities(text: str) -> Modalities:
    """Parse comma-separated modalities, whose order is kept.

    Raises InvalidInputError for fewer than two, more than sixteen, repeated or ill-formed names.
    """
    names = tuple(part.strip() for part in text.split(","))
    if not 2 <= len(names) <= MAX_MODALITIES:
        raise InvalidInputError(f"{len(names)} modalities. Name 2 to {MAX_MODALITIES}.")
    if len(set(names)) != len(names):
        raise InvalidInputError("a modality is named twice. Remove one.")
    bad = [name for name in names if not _MODALITY_NAME.fullmatch(name) or name == REASONING_KEY]
    if bad:
        raise InvalidInputError(
            f"not a modality name: {bad[0]!r}. Use lower-case letters, digits and underscores."
        )
    return names


def default_system_prompt(modalities: Modalities, *, with_reasoning: bool = True) -> str:
    """Return the short student prompt of the reference post, for the given modalities."""
    return (
        f"Return JSON with {', '.join(modalities)} weights (sum=1.0) "
        f"{'and reasoning ' if with_reasoning else ''}for the given video search query."
    )


def weights_from_object(value: object, modalities: Modalities) -> Weights:
    """Check a parsed JSON value against the weight contract; return its weights, not rescaled.

    Its keys are the modalities and optionally "reasoning". Raises InvalidInputError.
    """
    if not isinstance(value, Mapping):
        raise InvalidInputError("not a JSON object. Write one weight for each modality.")
    names = set(value) - {REASONING_KEY}
    if names != set(modalities):
        raise InvalidInputError(
            f"wrong keys: {_difference(names, modalities)}. Write one weight for each modality."
        )
    weights = tuple(_weight(name, value[name]) for name in modalities)
    if abs(math.fsum(weights) - 1.0) > SUM_TOLERANCE + EXACT_SUM_TOLERANCE:
        raise InvalidInputError(
            f"the weights sum to {math.fsum(weights):.4f}, not 1. Scale them to sum to 1."
        )
    return weights


def normalise(weights: Weights) -> Weights:
    """Scale weights so that they sum to 1 within 1e-9."""
    total = math.fsum(weights)
    return weights if abs(total - 1.0) <= EXACT_SUM_TOLERANCE else tuple(w / total for w in weights)


def dominant(weights: Weights, modalities: Modalities) -> str:
    """Return the modality with the largest weight; of equal ones, the first."""
    return modalities[max(range(len(weights)), key=weights.__getitem__)]


@lru_cache(maxsize=4096)
def leaders(weights: Weights) -> frozenset[int]:
    """Return the indexes of the largest weight."""
    top = max(weights)
    return frozenset(i for i, weight in enumerate(weights) if top - weight <= TIE_TOLERANCE)


def grid_step(labels: Iterable[Weights]) -> float | None:
    """Return the coarsest of the grids 0.1, 0.05 and 0.01 that holds all labels, or None."""
    steps = list(GRID_STEPS)
    for label in labels:
        steps = [step for step in steps if _lies_on(step, label)]
        if not steps:
            return None
    return steps[0]


def snap(weights: Weights, step: float | None) -> Weights:
    """Round weights to a grid by largest remainders, so that the sum stays 1.

    Without a grid the weights are only scaled to sum to 1.
    """
    exact = normalise(weights)
    if step is None:
        return exact
    units = round(1 / step)
    floors = [math.floor(w * units + 1e-9) for w in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (floors[i] - exact[i] * units, i))
    for i in by_remainder[: units - sum(floors)]:
        floors[i] += 1
    return tuple(n / units for n in floors)


def mean_weights(rows: Sequence[Weights]) -> Weights:
    """Return the mean of at least one row of weights, scaled to sum to 1."""
    return normalise(tuple(math.fsum(column) / len(rows) for column in zip(*rows, strict=True)))


def _lies_on(step: float, label: Weights) -> bool:
    return all(abs(w / step - round(w / step)) < 1e-6 for w in label)


def _weight(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(f"{name} is not a number. Write a number in [0, 1].")
    if not 0.0 <= value <= 1.0:  # also NaN, and integers too large for a float
        raise InvalidInputError(f"{name} is not in [0, 1]. Write a number in that range.")
    return abs(float(value))  # -0.0 equals 0.0, but is rendered differently


def _difference(names: set[object], modalities: Modalities) -> str:
    missing = sorted(set(modalities) - names)
    extra = sorted(str(name)[:32] for name in names - set(modalities))
    parts = [f"missing {', '.join(missing)}"] if missing else []
    return "; ".join(parts + ([f"unexpected {', '.join(extra[:4])}"] if extra else []))


BINS = 10


def weight_bin(weight: float) -> int:
    """Return the bin of a weight; bins include their lower edge, the last one also 1."""
    return min(int(weight * BINS + 1e-9), BINS - 1)


def weight_histograms(rows: Iterable[Weights], modalities: Modalities) -> dict[str, list[int]]:
    """Count rows per modality and bin."""
    histograms = {name: [0] * BINS for name in modalities}
    for weights in rows:
        for name, weight in zip(modalities, weights, strict=True):
            histograms[name][weight_bin(weight)] += 1
    return histograms


def consensus(labels: Counter[Weights], step: float | None) -> Weights | None:
    """Return the component-wise median of a query's labels on their grid; None without labels.

    If all medians are 0, as for three labels that each give all weight to another modality, the
    consensus is the mean.
    """
    if not labels:
        return None
    if len(labels) == 1:
        return next(iter(labels))
    rows = list(labels.elements())
    medians = tuple(map(_median, zip(*rows, strict=True)))
    return snap(medians if any(medians) else mean_weights(rows), step)


def _median(values: tuple[float, ...]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2

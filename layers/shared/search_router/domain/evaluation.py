"""Deterministic scores of a model against the holdout's labels.

An invalid answer is scored by what a user would get instead: the prior; in the rubric it scores 1.
So a model cannot improve its error by failing to answer.
"""

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from search_router.domain.routing import Decision, Status
from search_router.domain.weights import Weights, leaders

_ROUNDING = 1e-9


class Latency(BaseModel):
    """Milliseconds over all model calls."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    mean: float
    p50: float
    p95: float


class Scores(BaseModel):
    """How one model did on one holdout of `n` rows.

    `mae` is per weight; `dominant_agreement`, `within_005` and `within_010` are shares of rows (all
    weights within 0.05, 0.10); `rubric` is the mean of 1 to 5; tokens and dollars are totals.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str
    n: int
    mae: float
    dominant_agreement: float
    within_005: float
    within_010: float
    rubric: float
    invalid: int
    repaired: int
    latency_ms: Latency
    input_tokens: int
    output_tokens: int
    cost_usd: float


class Evaluation(BaseModel):
    """The scores that a promotion is decided on, all on the same holdout.

    `champion_version` is the champion that was compared with; another one since then makes the
    comparison stale.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    candidate: Scores
    base: Scores
    champion: Scores | None = None
    champion_version: int | None = None


def score(model: str, decisions: Sequence[Decision], references: Sequence[Weights]) -> Scores:
    """Score decisions against references, row by row; both must be equally long and not empty."""
    rows = list(zip(decisions, references, strict=True))
    errors = [_errors(decision.weights, reference) for decision, reference in rows]
    largest = [max(row) for row in errors]
    return Scores(
        model=model,
        n=len(rows),
        mae=math.fsum(math.fsum(row) for row in errors) / sum(len(row) for row in errors),
        dominant_agreement=_share([_agrees(d.weights, reference) for d, reference in rows]),
        within_005=_share([error <= 0.05 + _ROUNDING for error in largest]),
        within_010=_share([error <= 0.10 + _ROUNDING for error in largest]),
        rubric=math.fsum(rubric(decision, reference) for decision, reference in rows) / len(rows),
        invalid=sum(decision.status is Status.FALLBACK for decision in decisions),
        repaired=sum(decision.status is Status.REPAIRED for decision in decisions),
        latency_ms=latency([decision.latency_ms for decision in decisions]),
        input_tokens=sum(decision.input_tokens for decision in decisions),
        output_tokens=sum(decision.output_tokens for decision in decisions),
        cost_usd=math.fsum(decision.cost_usd for decision in decisions),
    )


def rubric(decision: Decision, reference: Weights) -> int:
    """Grade one answer from 1 to 5 by weights alone, after the seed post's OverallQuality rubric.

    5: all within 0.05; 4: within 0.10; 1: unparseable, or a mean error over 0.30; 3: the dominant
    modality is right and the mean error under 0.15; otherwise 2.
    """
    errors = _errors(decision.weights, reference)
    mean = math.fsum(errors) / len(errors)
    if decision.status is Status.FALLBACK or mean > 0.30:
        return 1
    if max(errors) <= 0.05 + _ROUNDING:
        return 5
    if max(errors) <= 0.10 + _ROUNDING:
        return 4
    return 3 if _agrees(decision.weights, reference) and mean < 0.15 else 2


def latency(milliseconds: Sequence[int]) -> Latency:
    """Summarise latencies by mean and nearest-rank percentiles."""
    ordered = sorted(milliseconds)
    return Latency(
        mean=math.fsum(ordered) / len(ordered),
        p50=float(percentile(ordered, 0.50)),
        p95=float(percentile(ordered, 0.95)),
    )


def percentile(ordered: Sequence[int], share: float) -> int:
    """Return the nearest-rank percentile of an ascending, non-empty sequence."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _errors(weights: Weights, reference: Weights) -> list[float]:
    return [abs(a - b) for a, b in zip(weights, reference, strict=True)]


def _agrees(weights: Weights, reference: Weights) -> bool:
    """Compare dominant modalities; where the label has a tie, either of its leaders is right.

    Of an answer's tie only the first counts, as in serving: one that favours nothing knows nothing.
    """
    return min(leaders(weights)) in leaders(reference)


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)

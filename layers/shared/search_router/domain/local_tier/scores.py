"""Scores of the local model on the holdout."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_router.domain.grading import agrees, errors, grade, mean
from search_router.domain.intervals import Interval, Resampling
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.neighbours import Estimate
from search_router.domain.records import Record
from search_router.domain.weights import Weights

_COVERAGES = tuple(tenth / 10 for tenth in range(1, 11))


class RiskCoverage(Record):
    """The mean error on the share of the holdout with the most certain estimates."""

    coverage: float
    mae: float


class HeldOutPatterns(Record):
    """Scores on patterns held out of training, where the gate should admit little.

    `mae` is over all `queries`, answered or not; `answered` is the share that the gate
    admits, and `answered_mae` its error.
    """

    patterns: int
    queries: int
    mae: float
    answered: float
    answered_mae: float | None


class LocalTierScores(Record):
    """Scores of the local model on the holdout; they do not affect promotion.

    The first figures are over all `n` rows, answered or not. `answered` is the share that
    the gate admits and `answered_mae` its error; `calibrated_…` are the same on the calibration
    queries. `closed_because` is the reason of a closed gate. `microseconds` are per query.
    `held_out_patterns` is missing if the training set has too few. `answers` counts the distilled
    model's answers in the local model; calibration and held-out patterns do not include them.
    """

    version: str
    n: int
    mae: float
    mae_interval: Interval
    dominant_agreement: float
    rubric: float
    answered: float
    answered_mae: float | None
    max_error: float
    confidence: float
    calibrated_coverage: float
    calibrated_mae: float | None
    closed_because: str = ""
    microseconds: float = 0.0
    risk_coverage: tuple[RiskCoverage, ...] = ()
    held_out_patterns: HeldOutPatterns | None = None
    answers: int = 0


@dataclass(frozen=True, slots=True)
class _Row:
    estimate: Estimate
    admitted: bool
    error: float
    agrees: bool
    grade: int


def score_local_model(
    version: str,
    model: LocalModel,
    labels: Mapping[str, Weights],
    prior: Weights,
    microseconds: float = 0.0,
) -> LocalTierScores:
    """Score a local model on at least one labelled query.

    Queries without an estimate are scored as the prior and come last in the risk-coverage curve.
    """
    rows = [_row(model, query, label, prior) for query, label in labels.items()]
    answered = [row.error for row in rows if row.admitted]
    gate = model.gate
    return LocalTierScores(
        version=version,
        n=len(rows),
        mae=mean([row.error for row in rows]),
        mae_interval=Resampling(len(rows)).interval([row.error for row in rows]),
        dominant_agreement=mean([row.agrees for row in rows]),
        rubric=mean([row.grade for row in rows]),
        answered=len(answered) / len(rows),
        answered_mae=mean(answered) if answered else None,
        max_error=gate.max_error,
        confidence=gate.confidence,
        calibrated_coverage=gate.coverage,
        calibrated_mae=gate.error,
        closed_because=gate.reason,
        microseconds=microseconds,
        risk_coverage=_risk_coverage(rows),
    )


def _row(model: LocalModel, query: str, label: Weights, prior: Weights) -> _Row:
    found = model.neighbourhood.estimate(query)
    estimate = found or Estimate(prior, familiarity=0.0, risk=math.inf)
    off = errors(estimate.weights, label)
    return _Row(
        estimate,
        found is not None and model.gate.admits(found),
        mean(off),
        agrees(estimate.weights, label),
        grade(estimate.weights, label),
    )


def _risk_coverage(rows: Sequence[_Row]) -> tuple[RiskCoverage, ...]:
    """Order admitted rows first, by risk, then the others by familiarity."""
    by_certainty = sorted(
        rows,
        key=lambda row: (0, row.estimate.risk) if row.admitted else (1, -row.estimate.familiarity),
    )
    points = []
    for coverage in _COVERAGES:
        share = by_certainty[: max(1, round(coverage * len(rows)))]
        points.append(RiskCoverage(coverage=coverage, mae=mean([row.error for row in share])))
    return tuple(points)

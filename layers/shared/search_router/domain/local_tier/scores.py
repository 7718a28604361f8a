"""The local model's own row in an evaluation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from search_router.domain.grading import agrees, errors, grade, mean
from search_router.domain.intervals import Interval, Resampling
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.neighbours import Estimate
from search_router.domain.weights import Weights

_COVERAGES = tuple(tenth / 10 for tenth in range(1, 11))


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RiskCoverage(_Record):
    """The mean error on the share of the holdout that the local model is surest of."""

    coverage: float
    mae: float


class HeldOutPatterns(_Record):
    """How the local model did on patterns that were kept from its training, found by wording.

    `mae` is of all `queries` as if it answered each; `answered` is the share that its gate lets
    through, with the error `answered_mae`: the less, the better.
    """

    patterns: int
    queries: int
    mae: float
    answered: float
    answered_mae: float | None


class LocalTierScores(_Record):
    """How the local model did on the holdout; it never decides a promotion.

    The first figures are of all `n` rows as if it answered each; `answered` is the share that its
    gate lets through, `answered_mae` the error on it, both beside what `calibrated_…` says of known
    queries. A closed gate has a reason. Microseconds are per query. `held_out_patterns` is missing
    if too few were found in the training set. `answers` of a distilled model are in the local model
    too; nothing that is said of calibration and of held-out patterns is about these.
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
    """Score a local model on labelled queries, which must not be empty.

    What it knows nothing of is scored as the prior, and comes last in the risk-coverage figure.
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
    """Order as the gate does: what it admits first, by risk; then by familiarity."""
    surest = sorted(
        rows,
        key=lambda row: (0, row.estimate.risk) if row.admitted else (1, -row.estimate.familiarity),
    )
    points = []
    for coverage in _COVERAGES:
        share = surest[: max(1, round(coverage * len(surest)))]
        points.append(RiskCoverage(coverage=coverage, mae=mean([row.error for row in share])))
    return tuple(points)

"""Chooses the gate on known queries that the student was not trained on.

Familiarity comes first: its threshold keeps `KNOWN_KEPT` of the calibration queries and is what
refuses new patterns. Then the loosest bound on risk is taken for which the mean error of what
passes is at most `max_error` with confidence: "Learn then Test" (Angelopoulos, Bates, Candès,
Jordan, Lei, 2021, arXiv:2110.01052) over `RISK_SHARES`, Bonferroni corrected, with the betting
p-value for bounded means (Waudby-Smith and Ramdas, JRSS-B 2024) instead of Hoeffding-Bentkus: its
power follows the variance, which is small here. The statement is about queries like the calibration
queries and a student of as many rows; cross-fitting makes it approximate (Vovk, 2015).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from search_router.domain.local_tier.gate import Gate
from search_router.domain.local_tier.indexing import LabelledQuery, distinct_rows, index_queries
from search_router.domain.local_tier.neighbours import Estimate
from search_router.domain.weights import Modalities, Weights

CONFIDENCE = 0.95
KNOWN_KEPT = 0.9
RISK_SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)  # of the familiar ones, those of least risk
_SLACK = 0.98  # students of other folds see like queries a little nearer or farther
MIN_QUERIES = 60
FOLDS = 5
ENOUGH_QUERIES = 1_000  # calibrating with more would only cost time


@dataclass(frozen=True, slots=True)
class Trial:
    """A calibration query's estimate, and how far it was from the label, per weight."""

    estimate: Estimate
    error: float


def calibrate(trials: Iterable[Trial], max_error: float, modalities: int) -> Gate:
    """Choose the gate, or a closed one that says what is missing."""
    known = list(trials)
    if len(known) < MIN_QUERIES:
        return _closed(max_error, len(known), f"{len(known)} queries to calibrate with")
    by_familiarity = sorted((trial.estimate.familiarity for trial in known), reverse=True)
    floor = by_familiarity[math.ceil(KNOWN_KEPT * len(known)) - 1] * _SLACK
    familiar = [trial for trial in known if trial.estimate.familiarity >= floor]
    risks = sorted(trial.estimate.risk for trial in familiar)
    significance = (1 - CONFIDENCE) / len(RISK_SHARES)
    for share in RISK_SHARES:
        bound = risks[max(1, math.floor(share * len(risks))) - 1]
        errors = [trial.error for trial in familiar if trial.estimate.risk <= bound]
        if exceedance_p_value(errors, max_error, 2 / modalities, significance) <= significance:
            return Gate(
                least_familiarity=floor,
                most_risk=bound,
                max_error=max_error,
                confidence=CONFIDENCE,
                queries=len(known),
                coverage=len(errors) / len(known),
                error=math.fsum(errors) / len(errors),
            )
    reason = f"no part of {len(known)} known queries can be shown to keep the error"
    return _closed(max_error, len(known), reason)


def exceedance_p_value(
    errors: Sequence[float], bound: float, largest: float, significance: float
) -> float:
    """Return a p-value for "the mean error is above the bound", errors being in [0, largest].

    A gambler bets against the hypothesis; if it is true, his capital grows by a factor of 1/p with
    probability p at most (Ville). Stakes follow the variance seen so far (Waudby-Smith and Ramdas,
    section 4, as used for risk control by Bates et al., 2021).
    """
    level = bound / largest
    if level >= 1:
        return 0.0
    capital = best = 1.0
    total, spread = 0.5, 0.25
    boldness = 2 * math.log(1 / significance) / max(1, len(errors))
    for number, error in enumerate(errors, start=1):
        loss = min(error / largest, 1.0)
        stake = min(0.9 / (1 - level), math.sqrt(boldness * number / spread))
        capital *= 1 + stake * (level - loss)
        best = max(best, capital)
        total += loss
        spread += (loss - total / (number + 1)) ** 2
    return 1 / best


def trials_of(
    examples: Iterable[LabelledQuery], modalities: Modalities, folds: int = FOLDS
) -> Iterator[Trial]:
    """Estimate labelled queries by students that have not seen them, fold by fold.

    A query's fold follows from its key. It ends after the fold that completes `ENOUGH_QUERIES`.
    """
    rows = distinct_rows(examples)
    tried = 0
    for fold in range(folds):
        unseen = [(query, label) for key, query, label in rows if key % folds == fold]
        seen = [(query, label) for key, query, label in rows if key % folds != fold]
        if not seen or tried >= ENOUGH_QUERIES:
            return
        student = index_queries(seen, modalities)
        for query, label in unseen:
            estimate = student.estimate(query)
            if estimate is not None:
                tried += 1
                yield Trial(estimate, _error(estimate.weights, label))


def _error(weights: Weights, label: Weights) -> float:
    return math.fsum(abs(a - b) for a, b in zip(weights, label, strict=True)) / len(label)


def _closed(max_error: float, queries: int, reason: str) -> Gate:
    return Gate(math.inf, 0.0, max_error, CONFIDENCE, queries, closed=True, reason=reason)

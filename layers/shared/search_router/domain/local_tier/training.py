"""Trains local models: indexes labelled queries and calibrates the gate by cross-validation.

The threshold for familiarity comes first: it keeps `FAMILIAR_SHARE` of the calibration queries and
rejects new patterns. Then the loosest bound on risk is chosen for which the mean error of what
passes is at most `max_error` with confidence: "Learn then Test" (Angelopoulos, Bates, Candès,
Jordan, Lei, 2021, arXiv:2110.01052) over `RISK_SHARES`, Bonferroni corrected, with the betting
p-value for bounded means (Waudby-Smith and Ramdas, JRSS-B 2024) instead of Hoeffding-Bentkus: its
power follows the variance, which is small here. The bound holds for queries like the calibration
queries and a student of as many rows; cross-fitting makes it approximate (Vovk, 2015).
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from search_router.domain.grading import errors, mean
from search_router.domain.local_tier.indexing import (
    LabelledQuery,
    LabelledRow,
    distinct_rows,
    index_rows,
)
from search_router.domain.local_tier.local_model import Gate, LocalModel
from search_router.domain.local_tier.neighbours import Estimate, query_key
from search_router.domain.weights import Modalities

CONFIDENCE = 0.95
FAMILIAR_SHARE = 0.9
RISK_SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)  # of the familiar queries, those of least risk
MIN_QUERIES = 60
FOLDS = 5
_ENOUGH_QUERIES = 1_000  # more would only cost time
_SLACK = 0.98  # familiarity differs a little between students of different folds


def train(
    examples: Iterable[LabelledQuery], modalities: Modalities, max_error: float
) -> LocalModel:
    """Train a local model whose gate keeps the mean error per weight within `max_error`.

    A pure function of the set of examples. Raises InvalidInputError if there are none.
    """
    rows = distinct_rows(examples)
    neighbourhood = index_rows(rows, modalities)
    gate = calibrate(_calibration_errors(rows, modalities), max_error, len(modalities))
    return LocalModel(neighbourhood, gate)


def with_answers(
    model: LocalModel, labelled: Iterable[LabelledQuery], answers: Iterable[LabelledQuery]
) -> tuple[LocalModel, int]:
    """Add a distilled model's answers to a model trained on labels; return also their number.

    Only answers to queries on which `model` abstains are added, so that estimates for other queries
    hardly change. The gate stays as calibrated on labels, because the error of the answers is
    unknown; a closed gate stays closed.
    """
    if model.gate.closed:
        return model, 0
    new = [(query, weights) for query, weights in answers if model.answer(query) is None]
    if not new:
        return model, 0
    rows = distinct_rows([*labelled, *new])
    neighbourhood = index_rows(rows, model.neighbourhood.modalities)
    return LocalModel(neighbourhood, model.gate), len({query_key(query) for query, _ in new})


def calibrate(tried: Iterable[tuple[Estimate, float]], max_error: float, modalities: int) -> Gate:
    """Choose the gate from estimates and their errors; it is closed if none keeps the bound."""
    results = list(tried)
    if len(results) < MIN_QUERIES:
        reason = f"too few queries to calibrate with: {len(results)}, at least {MIN_QUERIES}"
        return _closed(max_error, len(results), reason)
    by_familiarity = sorted((estimate.familiarity for estimate, _ in results), reverse=True)
    floor = by_familiarity[math.ceil(FAMILIAR_SHARE * len(results)) - 1] * _SLACK
    familiar = [(it, error) for it, error in results if it.familiarity >= floor]
    risks = sorted(estimate.risk for estimate, _ in familiar)
    significance = (1 - CONFIDENCE) / len(RISK_SHARES)
    for share in RISK_SHARES:
        bound = risks[max(1, math.floor(share * len(risks))) - 1]
        admitted = [error for estimate, error in familiar if estimate.risk <= bound]
        if exceedance_p_value(admitted, max_error, 2 / modalities, significance) <= significance:
            return Gate(
                least_familiarity=floor,
                most_risk=bound,
                max_error=max_error,
                confidence=CONFIDENCE,
                queries=len(results),
                coverage=len(admitted) / len(results),
                error=math.fsum(admitted) / len(admitted),
            )
    reason = f"no share of {len(results)} calibration queries keeps the error within the bound"
    return _closed(max_error, len(results), reason)


def exceedance_p_value(
    values: Sequence[float], bound: float, largest: float, significance: float
) -> float:
    """Return a p-value for "the mean error is above the bound", errors being in [0, largest].

    The p-value is the inverse of a bettor's best capital: under the hypothesis it exceeds 1/p with
    probability p at most (Ville). Stakes follow the variance seen so far (Waudby-Smith and Ramdas,
    section 4, as used for risk control by Bates et al., 2021).
    """
    level = bound / largest
    if level >= 1:
        return 0.0
    capital = best = 1.0
    total, spread = 0.5, 0.25
    boldness = 2 * math.log(1 / significance) / max(1, len(values))
    for number, error in enumerate(values, start=1):
        loss = min(error / largest, 1.0)
        stake = min(0.9 / (1 - level), math.sqrt(boldness * number / spread))
        capital *= 1 + stake * (level - loss)
        best = max(best, capital)
        total += loss
        spread += (loss - total / (number + 1)) ** 2
    return 1 / best


def _calibration_errors(
    rows: Sequence[LabelledRow], modalities: Modalities
) -> Iterator[tuple[Estimate, float]]:
    """Yield estimates of students that were trained without the query, with their errors.

    A query's fold depends on its key. Stops after the fold that completes 1,000 queries.
    """
    tried = 0
    for fold in range(FOLDS):
        unseen = [row for row in rows if row[0] % FOLDS == fold]
        seen = [row for row in rows if row[0] % FOLDS != fold]
        if not seen or tried >= _ENOUGH_QUERIES:
            return
        student = index_rows(seen, modalities)
        for _, query, label in unseen:
            estimate = student.estimate(query)
            if estimate is not None:
                tried += 1
                yield estimate, mean(errors(estimate.weights, label))


def _closed(max_error: float, queries: int, reason: str) -> Gate:
    return Gate(math.inf, 0.0, max_error, CONFIDENCE, queries, closed=True, reason=reason)

"""Scores: examples by hand, and no gain from invalid answers."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.intervals import Resampling
from search_router.domain.lifecycle.evaluation import Scores
from search_router.domain.lifecycle.scoring import latency, percentile, rubric
from search_router.domain.lifecycle.scoring import score as score_rows
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.weights import Weights, normalise
from tests.records import MODALITIES, PRIOR, a_decision

REFERENCE = (0.5, 0.3, 0.1, 0.1)
INVALID = a_decision(PRIOR, status=Status.FALLBACK, tier=Tier.FALLBACK)
WEIGHTS = st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(lambda w: normalise(tuple(w)))


def score(model: str, decisions: list[Decision], references: Sequence[Weights]) -> Scores:
    return score_rows(model, decisions, references, MODALITIES, Resampling(len(references)))


@pytest.mark.parametrize(
    ("weights", "grade"),
    [
        ((0.5, 0.3, 0.1, 0.1), 5),
        ((0.55, 0.25, 0.1, 0.1), 5),
        ((0.45, 0.35, 0.15, 0.05), 5),
        ((0.56, 0.24, 0.1, 0.1), 4),
        ((0.4, 0.4, 0.1, 0.1), 4),
        ((0.6, 0.2, 0.1, 0.1), 4),
        ((0.65, 0.15, 0.1, 0.1), 3),
        ((0.75, 0.25, 0.0, 0.0), 3),
        ((0.3, 0.5, 0.1, 0.1), 2),
        ((0.85, 0.0, 0.05, 0.1), 2),
        ((0.0, 0.3, 0.1, 0.6), 2),
        ((0.0, 0.0, 0.0, 1.0), 1),
    ],
)
def test_the_rubric_by_hand(weights: Weights, grade: int) -> None:
    assert rubric(a_decision(weights), REFERENCE) == grade


def test_an_unparseable_answer_grades_one_even_if_the_prior_is_right() -> None:
    assert rubric(INVALID, PRIOR) == 1
    assert rubric(a_decision(PRIOR), PRIOR) == 5


def test_a_small_holdout_by_hand() -> None:
    decisions = [
        a_decision((0.5, 0.3, 0.1, 0.1), latency_ms=100),
        a_decision((0.4, 0.4, 0.1, 0.1), latency_ms=200, status=Status.REPAIRED),
        a_decision((0.1, 0.7, 0.1, 0.1), latency_ms=300),
        a_decision(PRIOR, latency_ms=400, status=Status.FALLBACK, tier=Tier.FALLBACK),
    ]

    scores = score("model", decisions, [REFERENCE] * 4)

    assert (scores.model, scores.n, scores.invalid, scores.repaired) == ("model", 4, 1, 1)
    assert scores.mae == pytest.approx((0 + 0.2 + 0.8 + 0.2) / 16)
    assert scores.dominant_agreement == 0.75
    assert (scores.within_005, scores.within_010) == (0.25, 0.75)
    assert scores.rubric == pytest.approx((5 + 4 + 2 + 1) / 4)
    assert (scores.latency_ms.mean, scores.latency_ms.p50, scores.latency_ms.p95) == (250, 200, 400)
    assert (scores.input_tokens, scores.output_tokens) == (240, 120)
    assert scores.cost_usd == pytest.approx(4 * 0.0000063)


def test_the_cost_of_a_model_without_a_price_is_unknown() -> None:
    priced, free = a_decision(REFERENCE), a_decision(REFERENCE, cost_usd=0.0)
    silent = a_decision(PRIOR, cost_usd=0.0, input_tokens=0, output_tokens=0)

    assert score("m", [priced, silent], [REFERENCE] * 2).cost_usd == pytest.approx(6.3e-6)
    unknown = score("m", [priced, free], [REFERENCE] * 2)
    assert (unknown.cost_usd, unknown.cost_usd_per_million) == (None, None)


def test_invalid_answers_are_scored_by_the_prior_and_never_left_out() -> None:
    wrong = a_decision((0.1, 0.1, 0.1, 0.7))

    answered = score("m", [wrong, wrong], [REFERENCE] * 2)
    silent = score("m", [wrong, INVALID], [REFERENCE] * 2)

    assert silent.n == 2
    assert silent.invalid == 1
    assert silent.mae == pytest.approx((answered.mae + 0.05) / 2), "0.05 is the prior's error"


def test_where_the_label_has_a_tie_either_leader_is_right() -> None:
    tied = (0.4, 0.4, 0.1, 0.1)

    for weights in ((0.5, 0.3, 0.1, 0.1), (0.3, 0.5, 0.1, 0.1)):
        assert score("m", [a_decision(weights)], [tied]).dominant_agreement == 1.0
    assert score("m", [a_decision((0.2, 0.2, 0.5, 0.1))], [tied]).dominant_agreement == 0.0


def test_an_answer_without_a_leader_is_not_right_everywhere() -> None:
    """A model that always answers 0.25 has no dominant modality."""
    uniform = a_decision((0.25, 0.25, 0.25, 0.25))
    labels = [
        (0.7, 0.1, 0.1, 0.1),
        (0.1, 0.7, 0.1, 0.1),
        (0.1, 0.1, 0.7, 0.1),
        (0.1, 0.1, 0.1, 0.7),
    ]

    assert score("m", [uniform] * 4, labels).dominant_agreement == 0.25


@given(st.lists(st.tuples(WEIGHTS, WEIGHTS), min_size=1, max_size=20))
def test_scores_stay_in_their_ranges_and_perfection_is_perfect(
    rows: list[tuple[Weights, Weights]],
) -> None:
    references = [reference for _, reference in rows]

    scores = score("m", [a_decision(weights) for weights, _ in rows], references)
    perfect = score("m", [a_decision(reference) for reference in references], references)

    assert 0 <= scores.mae <= 0.5
    assert 1 <= scores.rubric <= 5
    assert scores.within_005 <= scores.within_010 <= 1
    assert (perfect.mae, perfect.dominant_agreement, perfect.within_005, perfect.rubric) == (
        0,
        1,
        1,
        5,
    )


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=50), st.floats(0, 1))
def test_a_percentile_is_a_value_with_that_share_at_or_below_it(
    values: list[int], share: float
) -> None:
    ordered = sorted(values)

    found = percentile(ordered, share)

    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-9


def test_latencies_may_be_in_any_order() -> None:
    assert latency([300, 100, 200]).p50 == 200

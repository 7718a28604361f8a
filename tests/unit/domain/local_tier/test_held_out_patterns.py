"""Held-out patterns: the measured scores are near those on patterns that are really new."""

from search_router.domain.grading import errors, mean
from search_router.domain.local_tier.held_out_patterns import (
    LEAST_PATTERNS,
    hold_out_patterns,
    patterns_of,
)
from search_router.domain.local_tier.local_model import Gate
from tests.unit.domain.local_examples import MODALITIES, labelled, of_new_patterns, trained

EXAMPLES = labelled(seed=1, count=800)
FILLERS = ("Aisha", "Grace", "Carlos", "Emma", "Noah", "Mia")


def of_patterns(*patterns: str) -> list[str]:
    return [pattern.format(filler) for pattern in patterns for filler in FILLERS]


def test_the_scores_are_near_those_on_new_patterns() -> None:
    # GIVEN a student and queries of patterns that really are new
    tried = [
        (trained(800).neighbourhood.estimate(query), label)
        for query, label in of_new_patterns(seed=4, count=400)
    ]
    off = [mean(errors(estimate.weights, label)) for estimate, label in tried if estimate]
    gate = trained(800).gate
    answered = [estimate for estimate, _ in tried if estimate and gate.admits(estimate)]
    # WHEN patterns are held out of the labelled queries alone
    measured = hold_out_patterns(EXAMPLES, MODALITIES, gate)
    # THEN the error is about the same, far above that on seen patterns, and few are answered
    assert measured is not None
    assert abs(measured.mae - mean(off)) <= 0.05
    assert measured.mae > 3 * (gate.error or 0)
    assert len(answered) / len(tried) <= measured.answered <= 0.2


def test_the_order_of_the_examples_changes_nothing() -> None:
    measured = hold_out_patterns(EXAMPLES, MODALITIES, trained(800).gate)

    assert hold_out_patterns(EXAMPLES[::-1], MODALITIES, trained(800).gate) == measured


def test_a_closed_gate_answers_none_of_them() -> None:
    measured = hold_out_patterns(EXAMPLES, MODALITIES, Gate(0.0, 1.0, 0.045, 0.95, closed=True))

    assert measured is not None
    assert (measured.answered, measured.answered_mae) == (0, None)


def test_too_few_patterns_give_no_scores() -> None:
    patterns = [f"{chr(97 + n)}sking {{}} {chr(97 + n)}bout" for n in range(LEAST_PATTERNS)]
    rows = [(query, (0.7, 0.1, 0.1, 0.1)) for query in of_patterns(*patterns)]

    assert hold_out_patterns(rows[len(FILLERS) :], MODALITIES, trained(800).gate) is None
    assert hold_out_patterns(rows, MODALITIES, trained(800).gate) is not None


def test_queries_of_one_wording_are_one_pattern() -> None:
    queries = of_patterns("{} riding a boat", "interview with {} on stage", "{}さんの料理")

    patterns = patterns_of(queries)

    groups = [patterns[at : at + len(FILLERS)] for at in range(0, len(queries), len(FILLERS))]
    assert [len(set(group)) for group in groups] == [1, 1, 1]
    assert len(set(patterns)) == 3


def test_queries_that_share_nothing_share_no_pattern() -> None:
    queries = ["red sails", "guitar solo", "breaking news", ""]

    assert len(set(patterns_of(queries))) == len(queries)

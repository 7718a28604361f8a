"""Drift: nothing for equal histograms, one bit for disjoint ones, chance told from change."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.logs.drift import (
    Drift,
    chance_divergence,
    jensen_shannon,
    weight_drift,
    without_prior,
)
from search_router.domain.weights import weight_bin, weight_histograms
from tests.records import MODALITIES, PRIOR

COUNTS = st.lists(st.integers(0, 1_000), min_size=10, max_size=10).filter(any)


@given(COUNTS, COUNTS, st.integers(2, 9))
def test_the_divergence_is_symmetric_bounded_and_blind_to_size(
    left: list[int], right: list[int], factor: int
) -> None:
    divergence = jensen_shannon(left, right)

    assert 0 <= divergence <= 1
    assert divergence == pytest.approx(jensen_shannon(right, left), abs=1e-12)
    assert divergence == pytest.approx(jensen_shannon([n * factor for n in left], right), abs=1e-12)


@given(COUNTS)
def test_a_histogram_does_not_differ_from_itself(counts: list[int]) -> None:
    assert jensen_shannon(counts, counts) == pytest.approx(0, abs=1e-12)


def test_known_divergences() -> None:
    assert jensen_shannon([7, 0], [0, 3]) == 1
    # By hand: m = (3/4, 1/4); ½·[log2(4/3)] + ½·[½·log2(2/3) + ½·log2(2)].
    by_hand = 0.5 * math.log2(4 / 3) + 0.25 * math.log2(2 / 3) + 0.25
    assert jensen_shannon([4, 0], [5, 5]) == pytest.approx(by_hand)


@pytest.mark.parametrize(("distinct", "trained"), [(500, 4_000), (2_000, 2_000), (20_000, 900)])
def test_the_divergence_expected_by_chance_is_predicted(distinct: int, trained: int) -> None:
    rng = random.Random(5)  # noqa: S311 - the same samples in every run
    shares = [0.02, 0.1, 0.2, 0.25, 0.2, 0.1, 0.06, 0.04, 0.02, 0.01]

    def sample(size: int) -> list[int]:
        drawn = rng.choices(range(10), shares, k=size)
        return [drawn.count(place) for place in range(10)]

    pairs = [(sample(distinct), sample(trained)) for _ in range(40)]
    mean = sum(jensen_shannon(*pair) for pair in pairs) / len(pairs)

    assert chance_divergence(*pairs[0], distinct) == pytest.approx(mean, rel=0.3)


def test_a_log_of_other_queries_has_a_large_drift() -> None:
    training = weight_histograms([PRIOR] * 50 + [(0.1, 0.6, 0.2, 0.1)] * 50, MODALITIES)
    answers = weight_histograms([(0.1, 0.6, 0.2, 0.1)] * 100, MODALITIES)

    shifts = {"visual": -0.15, "audio": 0.15, "transcription": 0.0, "metadata": 0.0}
    drift = weight_drift(answers, training, shifts, distinct=100)

    assert isinstance(drift, Drift)
    assert drift.largest in ("visual", "audio")
    assert drift.modalities["visual"].divergence > 10 * drift.expected_by_chance
    assert drift.modalities["transcription"].divergence == 0
    assert drift.modalities["visual"].mean_shift == -0.15


@pytest.mark.parametrize(
    "training",
    [{}, {"visual": [1] * 10}, dict.fromkeys(MODALITIES, [0] * 10)],
    ids=["unknown", "other modalities", "unlabelled"],
)
def test_without_training_labels_there_is_no_drift(training: dict[str, list[int]]) -> None:
    assert weight_drift(weight_histograms([PRIOR], MODALITIES), training, {}, distinct=1) is None


def test_rows_with_the_prior_are_no_judgement() -> None:
    judged = [(0.1, 0.6, 0.2, 0.1)] * 3 + [PRIOR]
    histograms = weight_histograms([*judged, PRIOR, PRIOR], MODALITIES)

    assert without_prior(histograms, PRIOR, MODALITIES, rows=2) == weight_histograms(
        judged, MODALITIES
    )
    assert histograms["visual"][weight_bin(0.4)] == 3, "the summary's own stay as they are"


def test_a_log_without_routed_rows_has_no_drift() -> None:
    assert weight_drift({}, {}, {}, 0) is None

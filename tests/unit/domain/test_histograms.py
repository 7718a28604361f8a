"""Histograms: a weight on a bin's edge belongs to the bin above it, 1 to the last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.weights import (
    BINS,
    histogram_means,
    normalise,
    weight_bin,
    weight_histograms,
)
from tests.records import MODALITIES


@pytest.mark.parametrize(
    ("weight", "place"),
    [
        (0.0, 0),
        (0.0999, 0),
        (0.1, 1),
        (0.1 + 0.2, 3),
        (0.3, 3),
        (0.7, 7),
        (0.999, 9),
        (1.0, 9),
        (1 - 0.9, 1),
    ],
)
def test_the_bin_of_a_weight(weight: float, place: int) -> None:
    assert weight_bin(weight) == place


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=30))
def test_every_row_is_counted_once_per_modality(rows: list[tuple[float, float]]) -> None:
    histograms = weight_histograms(rows, ("visual", "audio"))

    assert list(histograms) == ["visual", "audio"]
    assert all(len(bins) == BINS and sum(bins) == len(rows) for bins in histograms.values())


def test_the_mean_of_labels_on_a_grid_is_exact() -> None:
    rows = [(0.6, 0.1, 0.1, 0.2), (0.1, 0.6, 0.2, 0.1), (0.4, 0.3, 0.2, 0.1)]

    means = histogram_means(weight_histograms(rows, MODALITIES))

    assert list(means.values()) == pytest.approx([1.1 / 3, 1.0 / 3, 0.5 / 3, 0.4 / 3], abs=1e-4)


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), min_size=1, max_size=20))
def test_estimated_means_sum_to_one_and_are_never_a_bin_off(rows: list[list[float]]) -> None:
    scaled = [normalise(tuple(row)) for row in rows]

    means = histogram_means(weight_histograms(scaled, MODALITIES))

    assert sum(means.values()) == pytest.approx(1.0, abs=0.001)
    for mean, column in zip(means.values(), zip(*scaled, strict=True), strict=True):
        assert mean == pytest.approx(sum(column) / len(column), abs=0.1)


def test_without_rows_there_is_no_mean() -> None:
    assert histogram_means({}) == {}
    assert histogram_means(weight_histograms([], MODALITIES)) == {}

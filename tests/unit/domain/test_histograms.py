"""Histograms: a weight on a bin's edge belongs to the bin above it, 1 to the last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.histograms import BINS, weight_bin, weight_histograms


@pytest.mark.parametrize(
    ("weight", "place"),
    [(0.0, 0), (0.0999, 0), (0.1, 1), (0.1 + 0.2, 3), (0.3, 3), (0.7, 7), (0.999, 9), (1.0, 9)],
)
def test_the_bin_of_a_weight(weight: float, place: int) -> None:
    assert weight_bin(weight) == place


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=30))
def test_every_row_is_counted_once_per_modality(rows: list[tuple[float, float]]) -> None:
    histograms = weight_histograms(rows, ("visual", "audio"))

    assert list(histograms) == ["visual", "audio"]
    assert all(len(bins) == BINS and sum(bins) == len(rows) for bins in histograms.values())

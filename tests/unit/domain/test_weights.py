"""The weight contract, grids, and histograms, whose bins include their lower edge."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.errors import InvalidInputError
from search_router.domain.weights import (
    BINS,
    GRID_STEPS,
    Weights,
    default_system_prompt,
    dominant,
    grid_step,
    leaders,
    mean_weights,
    normalise,
    parse_modalities,
    snap,
    weight_bin,
    weight_histograms,
    weights_from_object,
)
from tests.records import MODALITIES, SIXTEEN

POSITIVE = st.lists(st.floats(0.001, 1.0), min_size=2, max_size=16).map(tuple)


def on_grid(step: float) -> st.SearchStrategy[Weights]:
    """Draw weights that lie on a grid and sum to 1."""
    units = round(1 / step)
    cuts = st.lists(st.integers(0, units), min_size=3, max_size=3).map(sorted)
    return cuts.map(
        lambda c: tuple((b - a) / units for a, b in zip([0, *c], [*c, units], strict=True))
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([0.5, 0.5], "not a JSON object"),
        (None, "not a JSON object"),
        ({"visual": 1.0}, "missing audio"),
        ({**dict.fromkeys(MODALITIES, 0.25), "mood": 0.0}, "unexpected mood"),
        (dict(zip(MODALITIES, (True, 0, 0, 0), strict=True)), "visual is not a number"),
        (dict(zip(MODALITIES, (1, None, 0, 0), strict=True)), "audio is not a number"),
        (dict(zip(MODALITIES, ("1", 0, 0, 0), strict=True)), "visual is not a number"),
        (dict(zip(MODALITIES, (1.2, -0.2, 0, 0), strict=True)), "visual is not in [0, 1]"),
        (dict(zip(MODALITIES, (math.nan, 0, 0, 1), strict=True)), "visual is not in [0, 1]"),
        (dict(zip(MODALITIES, (math.inf, 0, 0, 1), strict=True)), "visual is not in [0, 1]"),
        (dict(zip(MODALITIES, (10**350, 0, 0, 0), strict=True)), "visual is not in [0, 1]"),
        (dict(zip(MODALITIES, (0.5, 0.5, 0.011, 0), strict=True)), "sum to 1.0110"),
        (dict(zip(MODALITIES, (0.5, 0.489, 0, 0), strict=True)), "sum to 0.9890"),
        (dict.fromkeys(MODALITIES, 0), "sum to 0.0000"),
    ],
)
def test_what_breaks_the_contract_is_rejected(value: object, reason: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        weights_from_object(value, MODALITIES)

    assert reason in str(raised.value)


@pytest.mark.parametrize(
    "weights", [(1, 0, 0, 0), (0.25, 0.25, 0.25, 0.25), (0.5, 0.5, 0.01, 0), (0.5, 0.49, 0, 0)]
)
def test_what_meets_the_contract_comes_back_as_it_is(weights: tuple[float, ...]) -> None:
    value = {**dict(zip(MODALITIES, weights, strict=True)), "reasoning": "because"}

    assert weights_from_object(dict(reversed(value.items())), MODALITIES) == weights


def test_zero_has_no_sign() -> None:
    value = dict(zip(MODALITIES, (1.0, -0.0, 0.0, 0.0), strict=True))

    assert repr(weights_from_object(value, MODALITIES)) == "(1.0, 0.0, 0.0, 0.0)"


@given(POSITIVE)
def test_normalised_weights_sum_to_one_and_keep_their_proportions(weights: Weights) -> None:
    scaled = normalise(weights)

    assert abs(math.fsum(scaled) - 1.0) <= 1e-9
    assert all(
        math.isclose(a * weights[0], b * scaled[0]) for a, b in zip(scaled, weights, strict=True)
    )


@given(POSITIVE, st.sampled_from(GRID_STEPS))
def test_snapping_keeps_the_sum_the_grid_and_the_neighbourhood(
    weights: Weights, step: float
) -> None:
    snapped = snap(weights, step)

    assert abs(math.fsum(snapped) - 1.0) <= 1e-9
    assert all(abs(w / step - round(w / step)) < 1e-9 for w in snapped)
    assert all(abs(a - b) <= step for a, b in zip(snapped, normalise(weights), strict=True))


@given(st.sampled_from(GRID_STEPS).flatmap(lambda s: st.tuples(st.just(s), on_grid(s))))
def test_what_lies_on_the_grid_stays(step_and_weights: tuple[float, Weights]) -> None:
    step, weights = step_and_weights

    assert snap(weights, step) == pytest.approx(weights)
    assert grid_step([weights]) is not None
    assert (grid_step([weights]) or 0) >= step


def test_without_a_grid_weights_are_only_scaled() -> None:
    assert grid_step([(0.123, 0.877)]) is None
    assert snap((0.123, 0.367), None) == pytest.approx((0.251020, 0.748980), abs=1e-6)


def test_the_coarsest_grid_that_fits_all_labels_is_found() -> None:
    assert grid_step([(0.5, 0.5), (0.3, 0.7)]) == 0.1
    assert grid_step([(0.5, 0.5), (0.35, 0.65)]) == 0.05
    assert grid_step([(0.35, 0.65), (0.01, 0.99)]) == 0.01
    assert grid_step([]) == 0.1


def test_snapping_gives_the_spare_unit_to_the_largest_remainder_and_ties_to_the_first() -> None:
    assert snap((0.26, 0.28, 0.46), 0.1) == (0.2, 0.3, 0.5)
    assert snap((0.25, 0.25, 0.25, 0.25), 0.1) == (0.3, 0.3, 0.2, 0.2)


def test_the_first_of_equals_dominates_and_all_of_them_lead() -> None:
    assert dominant((0.1, 0.4, 0.4, 0.1), MODALITIES) == "audio"
    assert leaders((0.1, 0.4, 0.4, 0.1)) == {1, 2}
    assert leaders((0.1 + 0.2, 0.3, 0.4, 0.0)) == {2}
    assert leaders((0.1 + 0.2, 0.3, 0.2, 0.2)) == {0, 1}, "0.30000000000000004 is a tie"


def test_the_mean_is_by_component() -> None:
    assert mean_weights([(1.0, 0.0), (0.5, 0.5)]) == (0.75, 0.25)


def test_modalities_are_read_from_one_setting() -> None:
    assert parse_modalities("visual, audio,transcription ,metadata") == MODALITIES
    assert len(parse_modalities(",".join(SIXTEEN))) == 16


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("visual", "Name 2 to 16"),
        (",".join(f"m{n}" for n in range(17)), "Name 2 to 16"),
        ("visual,audio,visual", "named twice"),
        ("visual,Audio", "not a modality name"),
        ("visual,", "not a modality name"),
        ("visual,reasoning", "not a modality name"),
        ("visual,camera angle", "not a modality name"),
        (f"visual,{'x' * 33}", "not a modality name"),
    ],
)
def test_bad_modalities_are_rejected(text: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        parse_modalities(text)


def test_the_default_prompt_names_the_modalities() -> None:
    assert default_system_prompt(MODALITIES) == (
        "Return JSON with visual, audio, transcription, metadata weights (sum=1.0) and reasoning "
        "for the given video search query."
    )


@pytest.mark.parametrize(
    ("weight", "index"),
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
def test_the_bin_of_a_weight(weight: float, index: int) -> None:
    assert weight_bin(weight) == index


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=30))
def test_every_row_is_counted_once_per_modality(rows: list[tuple[float, float]]) -> None:
    histograms = weight_histograms(rows, ("visual", "audio"))

    assert list(histograms) == ["visual", "audio"]
    assert all(len(bins) == BINS and sum(bins) == len(rows) for bins in histograms.values())

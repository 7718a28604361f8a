"""Calibration: floors from pairs of segments, and bounds from the rarity of terms."""

import math
from array import array
from random import Random

import pytest

from search_router.domain.search.calibration import (
    Calibration,
    SampledSegment,
    calibrated,
)


def sample(count: int, together: float, video: str = "v{}") -> list[SampledSegment]:
    """Return segments whose vectors share a direction of length `together`."""
    draw = Random(7)  # noqa: S311 - not for security
    segments = []
    for number in range(count):
        noise = [draw.gauss(0, 1) for _ in range(32)]
        length = math.hypot(*noise)
        vector = array("f", [together, *(value / length for value in noise)])
        texts = {"visual": "a door" if number % 2 else "a dog"}
        segments.append(SampledSegment(video.format(number), texts, {"visual": vector}))
    return segments


def test_the_floor_is_the_95th_percentile_of_unrelated_pairs() -> None:
    spread, close = (
        calibrated(sample(200, together)).of("visual").floor for together in (0.0, 1.0)
    )

    # Of random directions in 32 dimensions, 1.645 standard deviations: 1.645 / sqrt(32).
    assert spread == pytest.approx(0.29, abs=0.02)
    assert close == pytest.approx((1 + 0.29) / 2, abs=0.02)


def test_segments_of_one_video_are_no_unrelated_pairs() -> None:
    assert calibrated(sample(200, 1.0, video="the same")).of("visual").floor == 0


def test_few_segments_have_no_floor() -> None:
    assert calibrated(sample(1, 1.0)).of("visual").floor == 0
    assert calibrated([]) == Calibration()


def test_rarer_terms_have_a_higher_bound() -> None:
    calibration = calibrated(sample(100, 0.0)).of("visual")

    bounds = [calibration.bm25_bound(terms) for terms in ([], ["door"], ["unicorn"])]

    assert bounds == sorted(bounds)
    assert bounds[0] == 0
    assert calibration.bm25_bound(["door", "unicorn"]) == pytest.approx(bounds[1] + bounds[2])


def test_equal_samples_give_equal_calibrations() -> None:
    first, second = calibrated(sample(60, 0.5)), calibrated(sample(60, 0.5))

    assert first.model_dump_json() == second.model_dump_json()
    assert Calibration.model_validate_json(first.model_dump_json()) == first

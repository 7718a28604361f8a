"""Pace: never faster than allowed, slower when throttled, back again when calm."""

from itertools import count, groupby, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.serving.pacing import (
    BATCH_BURST_SECONDS,
    SAVED_SECONDS,
    Pace,
    worker_rate,
)

RATES = st.sampled_from([0.5, 1.0, 6.67, 13.3, 40.0])


def test_the_quota_is_divided_over_the_workers() -> None:
    assert worker_rate(2_000, 0.8, 2) == pytest.approx(13.333, abs=0.001)
    assert worker_rate(2_000, 0.2, 1) == pytest.approx(6.667, abs=0.001)


@given(
    RATES,
    st.sampled_from([0.0, BATCH_BURST_SECONDS]),
    st.lists(st.tuples(st.floats(0, 3), st.booleans()), min_size=1, max_size=80),
)
def test_no_window_sees_more_starts_than_the_rate_and_what_was_saved(
    per_second: float, burst: float, steps: list[tuple[float, bool]]
) -> None:
    pace, now, starts = Pace(per_second, burst), 0.0, list[float]()
    for pause, throttled in steps:
        now += pause
        if throttled:
            pace.throttled(now)
        starts.append(now + pace.reserve(now))

    starts.sort()
    for first, start in enumerate(starts):
        for last in range(first, len(starts)):
            window = starts[last] - start
            assert last - first <= per_second * (window + burst + SAVED_SECONDS) + 1e-6


def test_a_busy_worker_gets_exactly_its_rate() -> None:
    pace, now, starts = Pace(10.0), 100.0, 0
    while now < 160.0:
        now += pace.reserve(now)
        starts += 1

    assert starts == pytest.approx(600, abs=2)


def test_calls_that_are_due_within_one_burst_start_together_and_none_of_them_early() -> None:
    pace, even = Pace(40.0, burst_seconds=0.25), Pace(40.0)

    starts = [pace.reserve(100.0) for _ in range(400)]
    due = [even.reserve(100.0) for _ in range(400)]

    assert starts[0] == 0.0
    assert [len(list(group)) for _, group in groupby(starts[1:])][:-1] == [10] * 39
    assert all(-1e-6 < start - at < 0.25 for start, at in zip(starts, due, strict=True))


def test_an_idle_minute_saves_up_no_more_than_a_few_seconds() -> None:
    pace = Pace(10.0)
    pace.reserve(0.0)

    waits = [pace.reserve(60.0) for _ in range(70)]

    assert sum(wait < 1e-9 for wait in waits) == 10 * SAVED_SECONDS + 1
    assert waits[-1] == pytest.approx(6.9 - SAVED_SECONDS)


def test_the_pause_between_two_splits_is_made_up_for() -> None:
    # GIVEN a worker that has used its share up to now, then pauses for three seconds
    pace, now = Pace(10.0), 0.0
    while now < 60.0:
        now += pace.reserve(now)
    now += 3.0
    # WHEN it goes on with at most 12 calls a second
    starts = 0
    while now < 90.0:
        now += max(1 / 12, pace.reserve(now))
        starts += 1
    # THEN half a minute later it has used its share of the pause too
    assert starts == pytest.approx(300, abs=3)


def test_throttling_lowers_the_rate_by_a_quarter_once_a_second() -> None:
    pace = Pace(10.0)

    for now in (0.0, 0.0, 0.1, 0.5, 0.99):
        pace.throttled(now)
    assert pace.rate == pytest.approx(7.5)

    pace.throttled(1.0)
    assert pace.rate == pytest.approx(7.5 * 0.75)


def test_throttled_requests_are_counted_until_the_count_is_popped() -> None:
    pace = Pace(10.0)
    for now in (0.0, 0.1, 5.0):
        pace.throttled(now)

    assert (pace.pop_throttle_count(), pace.pop_throttle_count()) == (3, 0)


def test_throttling_drops_the_unused_share() -> None:
    pace = Pace(10.0)
    pace.reserve(0.0)
    pace.throttled(60.0)

    assert [pace.reserve(60.0) for _ in range(2)] == [0.0, pytest.approx(1 / 7.5)]


def test_the_rate_recovers_a_twentieth_per_calm_second_and_never_over_its_share() -> None:
    pace = Pace(10.0)
    pace.throttled(0.0)

    for now in (0.5, 1.0, 2.0):
        pace.reserve(now)
    assert pace.rate == pytest.approx(7.5 + 2 * 0.5)

    pace.reserve(3_600.0)
    assert pace.rate == 10.0


def test_the_rate_never_falls_below_a_twentieth_of_its_share() -> None:
    pace = Pace(10.0)
    for now in range(100):
        pace.throttled(float(now))

    assert pace.rate == pytest.approx(0.5)


def test_the_rate_does_not_recover_in_a_second_with_throttling() -> None:
    """A worker goes on reserving while it is being throttled, and must not speed up by that."""
    pace = Pace(10.0)
    rates = []
    for now in takewhile(lambda t: t < 30.0, (n / 10 for n in count())):
        pace.reserve(now)
        pace.throttled(now)
        rates.append(pace.rate)

    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.5), "a twentieth of the share"


def test_the_rate_converges_to_the_services_limit() -> None:
    pace, now, allowed, refused, served = Pace(13.3), 0.0, 6.0, 0, 0
    credit = allowed
    while now < 300.0:
        before = now
        now += pace.reserve(now)
        credit = min(allowed, credit + (now - before) * allowed)
        if credit >= 1:
            credit -= 1
            served += 1
        else:
            refused += 1
            pace.throttled(now)

    assert served >= 0.85 * allowed * 300
    assert refused <= 0.15 * served

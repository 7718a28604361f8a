"""Ratios and growth of measured CPU time: slow samples are found, a slow machine is not."""

import time

import pytest

from benchmarks.timing import cpu_seconds, current_usage, doubled, interleaved, ratio, slope


def work() -> int:
    return sum(range(300_000))


def test_ways_are_measured_in_turn() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    figures = interleaved({"a": lambda: measure("a"), "b": lambda: measure("b")}, rounds=2)

    assert order == ["a", "b", "a", "b"]
    assert figures == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_a_ratio_does_not_depend_on_the_speed_of_the_machine() -> None:
    # GIVEN a machine that becomes three times slower, and is disturbed in one round
    speeds = [1, 1, 3, 3, 3]
    ours = [1.5 * speed for speed in speeds]
    plain = [1.0 * speed for speed in speeds]
    ours[1] *= 10

    assert ratio(ours, plain) == pytest.approx(1.5)
    assert ratio([2 * seconds for seconds in ours], plain) == pytest.approx(3.0)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_slope_is_the_exponent_of_growth(exponent: float) -> None:
    sizes = (1_000.0, 2_000.0, 4_000.0, 8_000.0)
    speeds = (1.0, 3.0, 1.5)

    figures = {size: [speed * size**exponent for speed in speeds] for size in sizes}

    assert slope(figures) == pytest.approx(exponent)


def test_a_doubled_function_returns_the_same_and_takes_twice_the_cpu_time() -> None:
    slow = doubled(work)

    figures = interleaved({"slow": lambda: cpu_seconds(slow), "work": lambda: cpu_seconds(work)})

    assert slow() == work()
    assert 1.5 < ratio(figures["slow"], figures["work"]) < 3


def test_cpu_seconds_do_not_count_sleep() -> None:
    assert cpu_seconds(lambda: time.sleep(0.2)) < 0.1


def test_current_usage_is_of_this_process() -> None:
    usage = current_usage()

    assert usage.cpu_seconds > 0
    assert 2**20 < usage.peak_bytes < 2**40

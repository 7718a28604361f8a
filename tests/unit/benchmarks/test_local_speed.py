"""The local tier's speed is judged by ratios: a planted slowdown misses the goal."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.local_speed import Speed, import_goal, measure_speed, speed_goals, speed_rows
from benchmarks.timing import doubled, ratio
from search_router.domain.local_tier.neighbours import Neighbourhood

SIZES = (3_750.0, 7_500.0, 15_000.0, 30_000.0)
SPEED = Speed(
    usual_rows=15_000,
    answer={size: [240e-6, 480e-6] for size in SIZES},
    scan=[6_000e-6, 12_000e-6],
    json_row=[5e-6, 10e-6],
    load=[0.05],
    artifact_bytes={size: int(60 * size) for size in SIZES},
    same_as_scan=0.98,
)


def missed(speed: Speed) -> list[str]:
    return [goal.name for goal in speed_goals(speed) if not goal.met]


def scaled(factor: float) -> Speed:
    """Return the figures of a machine that takes `factor` times as long for everything."""
    return replace(
        SPEED,
        answer={size: [factor * s for s in found] for size, found in SPEED.answer.items()},
        scan=[factor * s for s in SPEED.scan],
        json_row=[factor * s for s in SPEED.json_row],
    )


@pytest.mark.parametrize("factor", [0.2, 1.0, 10.0])
def test_a_slow_machine_misses_no_goal(factor: float) -> None:
    assert missed(scaled(factor)) == []


def test_slow_answers_miss_the_goal() -> None:
    slow = {size: [2 * s for s in found] for size, found in SPEED.answer.items()}

    assert missed(replace(SPEED, answer=slow)) == [
        "local answer / json.loads of the row",
        "local answer / plain scan",
    ]


def test_every_speed_goal_can_be_missed() -> None:
    starts = {"local tier": [0.03, 0.06], "its standard modules": [0.01, 0.02]}
    worst = replace(
        SPEED,
        answer={size: [1e-3 * (size / 3_750)] for size in SIZES},
        scan=[1e-3],
        json_row=[1e-6],
        artifact_bytes=dict.fromkeys(SIZES, 10**9),
        same_as_scan=0.5,
    )

    assert not any(goal.met for goal in [*speed_goals(worst), import_goal(starts)])


def test_absolute_times_are_shown_and_not_judged() -> None:
    units = {goal.unit for goal in speed_goals(SPEED)}

    assert units == {"times", "exponent", "%", "bytes"}
    assert speed_rows(SPEED)[0]["CPU µs/query"] == pytest.approx(240)


def test_a_planted_slowdown_doubles_the_measured_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (50, 100, 200, 400)
    plain = measure_speed(sizes, rounds=3, count=100)
    hood: Any = Neighbourhood
    monkeypatch.setattr(hood, "estimate", doubled(hood.estimate))

    planted = measure_speed(sizes, rounds=3, count=100)

    assert ratio(planted.usual, planted.scan) > 1.5 * ratio(plain.usual, plain.scan)

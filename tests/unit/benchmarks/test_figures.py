"""The exit code follows the goals, and the JSON file holds every figure of the tables."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.figures import Goal, Row, conclude


@pytest.mark.parametrize(
    ("figure", "bound", "at_least", "met"),
    [
        (1.0, 1.0, False, True),
        (1.1, 1.0, False, False),
        (1.0, 1.0, True, True),
        (0.9, 1, True, False),
    ],
)
def test_a_goal_is_met_on_its_bound_and_missed_beyond(
    figure: float, bound: float, at_least: bool, met: bool
) -> None:
    assert Goal("speed", figure, bound, "s", at_least).met is met


def test_one_missed_goal_is_exit_code_one_and_stays_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results" / "table.json"
    goals = [Goal("work", 0.5, 1.0, "s"), Goal("memory", 300, 128, "MiB")]
    assert conclude("intake", [{"way": "ours", "seconds": 0.5}], goals, out) == 1
    assert "MISSED" in capsys.readouterr().out
    written = json.loads(out.read_text(encoding="utf-8"))
    assert [goal["met"] for goal in written["goals"]] == [True, False]
    assert written["rows"] == [{"way": "ours", "seconds": 0.5}]


def test_all_goals_met_is_exit_code_zero() -> None:
    assert conclude("t", [{"way": "ours"}], [Goal("work", 1, 1, "s")], None) == 0


def test_a_figure_that_is_not_a_number_misses_its_goal() -> None:
    assert conclude("t", [{"way": "ours"}], [Goal("error", math.nan, 1, "")], None) == 1


def test_a_wide_table_is_split_at_100_columns_and_nothing_wraps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {f"figure number {n}": float(n) for n in range(8)}
    rows: list[Row] = [{"way": "ours", **figures}, {"way": "another", "figure number 0": 0.5}]

    conclude("t", rows, [], None)

    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if "way" in line]
    assert len(heads) == 2
    assert all(sum(name in head for head in heads) == 1 for name in list(figures)[2:])
    assert sum("ours" in line for line in lines) == 2
    assert sum("another" in line for line in lines) == 1  # it has no figure of the second part
    assert max(map(len, lines)) <= 100

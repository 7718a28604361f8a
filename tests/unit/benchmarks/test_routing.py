"""The routing benchmark: its row check, its figures, and goals that slow samples miss."""

import json
from dataclasses import replace

import pytest

from benchmarks.cloud import Quota, function_settings, jsonl
from benchmarks.log_runs import LogRun, RowCheck, Sample, check_rows
from benchmarks.plain_calls import SampledWay
from benchmarks.routing import Measured, first_rows, goals, rate, table
from benchmarks.timing import Usage
from search_router.settings import Settings
from tests.records import MODALITIES

QUOTA = Quota(requests_per_minute=6_000, batch_share=0.8, workers=2)
LOG = jsonl([{"query": "a dog", "id": 1}, {"query": "a cat"}, {"query": "a dog"}])


def run(
    rows: int, cpu_seconds: float, calls: int = 0, throttled: int = 0, ended: float = 2.0
) -> LogRun:
    answered = [(0.0, 0), (1.0, calls // 10), (ended, calls)]
    samples = [Sample(at, 10 + n, 1 + throttled * (n == calls)) for at, n in answered]
    usage, summary = Usage(cpu_seconds, 100 * 2**20), {"rows_in": rows, "cost_usd": 0.5}
    return LogRun("log-1", 2, 10.0, usage, samples, summary)


MEASURED = Measured(
    quota=QUOTA,
    distinct=100,
    main=run(1_000, 0.3, calls=100),
    check=RowCheck(1_000, 0, 0),
    call=[2.7e-3, 5.4e-3, 2.7e-3],
    plain_call=[2.0e-3, 4.0e-3, 2.0e-3],
    cached={rows: [50e-6 * rows] * 2 for rows in (100.0, 200.0, 400.0, 800.0)},
    json_row=[6e-6, 6e-6],
    pool=SampledWay(800, 8.0, 2.0, throttled=100, failed=0, cost_usd=0.003),
    peak_bytes=120 * 2**20,
)


def scaled(measured: Measured, factor: float) -> Measured:
    """Return the figures of a machine whose CPU takes `factor` times as long."""
    return replace(
        measured,
        call=[factor * s for s in measured.call],
        plain_call=[factor * s for s in measured.plain_call],
        cached={rows: [factor * s for s in found] for rows, found in measured.cached.items()},
        json_row=[factor * s for s in measured.json_row],
    )


def missed(measured: Measured) -> list[str]:
    return [goal.name for goal in goals(measured) if not goal.met]


def results(log: bytes = LOG) -> list[dict[str, object]]:
    rows, offset = [], 0
    for line in log.splitlines(keepends=True):
        weights = dict.fromkeys(MODALITIES, 0.25)
        rows.append({**json.loads(line), **weights, "byte_offset": offset, "status": "ok"})
        offset += len(line)
    return rows


def lost(rows: list[dict[str, object]]) -> int:
    return check_rows(LOG, [jsonl(rows[:1]), jsonl(rows[1:])], MODALITIES).lost


def test_a_complete_result_loses_nothing() -> None:
    assert check_rows(LOG, [jsonl(results())], MODALITIES) == RowCheck(3, 0, 0)


@pytest.mark.parametrize(
    ("row", "change"),
    [
        (0, {"query": "another dog"}),
        (0, {"id": 2}),
        (1, {"byte_offset": 0}),
        (1, {"visual": 0.5}),
        (2, {"visual": None}),
    ],
)
def test_a_changed_row_is_lost(row: int, change: dict[str, object]) -> None:
    rows = results()
    rows[row] = {name: v for name, v in {**rows[row], **change}.items() if v is not None}

    assert lost(rows) == 1


def test_missing_and_duplicated_rows_are_lost() -> None:
    rows = results()

    assert lost(rows[:2]) == 1
    assert lost([*rows, rows[2]]) == 1
    assert lost(rows[1:]) == 3


def test_the_rate_counts_between_two_numbers_of_answers() -> None:
    # GIVEN nothing for a second, 80 a second for two seconds, then hardly anything
    samples = [Sample(t, 5 + n, 0) for t, n in [(0, 0), (1, 1), (2, 81), (3, 161), (60, 170)]]
    whole = replace(MEASURED.main, samples=samples)

    assert rate(whole, 0, 161) == pytest.approx(80.0)
    assert rate(whole, 81, 161) == pytest.approx(80.0)
    assert rate(whole, 0, 170) == pytest.approx(169 / 59)
    assert rate(replace(whole, samples=samples[:1]), 0, 10) == 0.0


@pytest.mark.parametrize("factor", [0.2, 1.0, 10.0])
def test_a_slow_machine_misses_no_goal(factor: float) -> None:
    assert missed(scaled(MEASURED, factor)) == []


def test_a_model_call_of_twice_the_cpu_time_misses_its_goal() -> None:
    slow = replace(MEASURED, call=[2 * seconds for seconds in MEASURED.call])

    assert missed(slow) == ["CPU of a model call / plain boto3 converse"]


def test_a_row_of_twice_the_cpu_time_misses_its_goal() -> None:
    cached = {rows: [2 * seconds for seconds in found] for rows, found in MEASURED.cached.items()}

    assert missed(replace(MEASURED, cached=cached)) == ["CPU of a row without a call / json of it"]


def test_the_rate_is_judged_beside_the_plain_pool_on_a_machine_too_slow_for_the_quota() -> None:
    slow = replace(MEASURED, main=run(1_000, 0.3, calls=100, ended=3.0))  # 45 calls a second
    pool = replace(MEASURED.pool, seconds=18.0)

    assert missed(slow) == ["batch rate used, 10% to 95% of queries"]
    assert missed(replace(slow, pool=pool)) == []


def test_every_goal_can_be_missed() -> None:
    worst = replace(
        MEASURED,
        main=run(1_000, 60.0, calls=200, throttled=50, ended=9.0),
        check=RowCheck(1_000, 1, 1),
        call=[1.0],
        plain_call=[0.1],
        cached={rows: [rows**2] * 2 for rows in (100.0, 200.0, 400.0, 800.0)},
        peak_bytes=2**30,
    )

    assert not any(goal.met for goal in goals(worst))


def test_the_table_marks_extrapolated_figures() -> None:
    sample = SampledWay(
        rows=50, seconds=25.0, cpu_seconds=0.2, throttled=10, failed=5, cost_usd=0.00045
    )

    in_turn, _, ours, limit, call, *_ = table(MEASURED, sample)

    assert in_turn["figures"] == "from 50 rows"
    assert in_turn["rows/s"] == pytest.approx(1.8)
    assert in_turn["model calls"] == 1_100  # throttled attempts are repeated
    assert in_turn["rows lost"] == 100
    assert in_turn["$ per million rows"] == pytest.approx(10.0)
    assert ours["figures"] == "measured"
    assert ours["$ per million rows"] == pytest.approx(500.0)
    assert limit["rows/s"] == pytest.approx(800.0)
    assert call["CPU ms"] == pytest.approx(2.7)


def test_first_rows_are_whole_lines() -> None:
    assert first_rows(LOG, 2) == b"".join(LOG.splitlines(keepends=True)[:2])
    assert first_rows(LOG, 10) == LOG


def test_the_environment_has_every_setting() -> None:
    environment = function_settings("http://127.0.0.1:1/queue", QUOTA)
    names = {name: environment[name.upper()] for name in Settings.model_fields}

    assert Settings.model_validate(names).batch_worker_rate == QUOTA.batch_per_second / 2

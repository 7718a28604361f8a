"""The routing benchmark's own arithmetic and checks."""

import json
from dataclasses import replace

import pytest

from benchmarks.cloud import Quota, function_settings, jsonl
from benchmarks.lambda_process import Usage, current_usage
from benchmarks.large_log import LargeLog, RepeatedUpload
from benchmarks.other_ways import SampledWay
from benchmarks.query_log_run import LogRun, Sample
from benchmarks.routed_rows import RowCheck, check_rows
from benchmarks.routing import Measured, first_rows, goals, rate, table
from search_router.domain.uploads import ObjectRef
from search_router.settings import Settings
from tests.records import MODALITIES

QUOTA = Quota(requests_per_minute=6_000, batch_share=0.8, workers=2)
LOG = jsonl([{"query": "a dog", "id": 1}, {"query": "a cat"}, {"query": "a dog"}])
UPLOAD = ObjectRef("uploads", "query-logs/large.jsonl", "v1")


def run(rows: int, cpu_seconds: float, calls: int = 0, throttled: int = 0) -> LogRun:
    samples = [Sample(0.0, 10, 1), Sample(1.0, 10 + calls, 1 + throttled)]
    usage, summary = Usage(cpu_seconds, 100 * 2**20), {"rows_in": rows, "cost_usd": 0.5}
    return LogRun("log-1", 2, 10.0, usage, samples, summary)


MEASURED = Measured(
    quota=QUOTA,
    distinct=100,
    main=run(1_000, 0.3, calls=100),
    check=RowCheck(1_000, 0, 0),
    fresh=run(100, 0.2, calls=80),
    small=run(100, 0.005),
    medium=run(500, 0.025),
    large=LargeLog(2.0, 9_000, 90 * 2**20, 10_000, 120 * 2**20),
)


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


def test_a_missing_row_and_a_doubled_row_are_seen() -> None:
    rows = results()

    assert lost(rows[:2]) == 1
    assert lost([*rows, rows[2]]) == 1
    assert lost(rows[1:]) == 3


def test_the_rate_counts_between_two_numbers_of_answers() -> None:
    # GIVEN nothing for a second, 80 a second for two seconds, then hardly anything
    samples = [Sample(t, 5 + n, 0) for t, n in [(0, 0), (1, 1), (2, 81), (3, 161), (60, 170)]]

    assert rate(samples, 0, 161) == pytest.approx(80.0)
    assert rate(samples, 81, 161) == pytest.approx(80.0)
    assert rate(samples, 0, 170) == pytest.approx(169 / 59)
    assert rate(samples[:1], 0, 10) == 0.0


def test_rows_with_and_without_a_call_are_measured_apart() -> None:
    assert MEASURED.other_row_us == pytest.approx(50.0)
    assert MEASURED.call_ms == pytest.approx(1_000 * 0.2 / 80)
    assert MEASURED.peak_mib == 120


def test_every_goal_can_be_missed() -> None:
    worst = replace(
        MEASURED,
        main=run(1_000, 60.0, calls=200, throttled=50),
        check=RowCheck(1_000, 1, 1),
        fresh=run(100, 0.3, calls=100),
        small=run(100, 0.005),
        medium=run(500, 1.0),
        large=LargeLog(20.0, 9_000, 0, 10_000, 2**30),
    )

    assert not any(goal.met for goal in goals(worst))


def test_the_table_tells_what_is_extrapolated() -> None:
    sample = SampledWay(
        rows=50, seconds=25.0, cpu_seconds=0.2, throttled=10, failed=5, cost_usd=0.00045
    )

    in_turn, _, ours, limit = table(MEASURED, sample, sample)

    assert in_turn["figures"] == "extrapolated from 50 rows"
    assert in_turn["rows/s"] == pytest.approx(1.8)
    assert in_turn["model calls"] == 1_100  # refused attempts are asked again
    assert in_turn["rows lost"] == 100
    assert in_turn["$ per million rows"] == pytest.approx(10.0)
    assert ours["figures"] == "measured"
    assert ours["$ per million rows"] == pytest.approx(500.0)
    assert limit["rows/s"] == pytest.approx(800.0)


def test_the_local_tier_stands_beside_the_run_without_it() -> None:
    sample = SampledWay(
        rows=50, seconds=25.0, cpu_seconds=0.2, throttled=0, failed=0, cost_usd=0.0002
    )
    run_with_it = run(1_000, 0.4, calls=60)
    counted = replace(run_with_it, summary={**run_with_it.summary, "tiers": {"local": 40}})
    measured = replace(MEASURED, tiered=(counted, RowCheck(1_000, 1, 0)))

    without, with_it = table(measured, sample, sample)[2:4]

    assert (without["model calls"], with_it["model calls"]) == (100, 60)
    assert with_it["figures"] == "measured; the local tier answered 40 times"
    assert not goals(measured)[2].met, "a row lost with the tier is lost too"


def test_a_repeated_upload_serves_any_range() -> None:
    upload = RepeatedUpload(LOG, 100_000)
    whole = b"".join(upload.read(UPLOAD))

    assert whole == (LOG * (100_000 // len(LOG) + 1))[:100_000]
    for start, end in [(0, 10), (99_990, None), (50_001, 60_007), (99_000, 200_000)]:
        assert b"".join(upload.read(UPLOAD, start, end)) == whole[start:end]
    assert upload.info(UPLOAD).size == 100_000


def test_first_rows_are_whole_lines() -> None:
    assert first_rows(LOG, 2) == b"".join(LOG.splitlines(keepends=True)[:2])
    assert first_rows(LOG, 10) == LOG


def test_the_functions_are_told_everything_they_ask_for() -> None:
    environment = function_settings("http://127.0.0.1:1/queue", QUOTA)
    names = {name: environment[name.upper()] for name in Settings.model_fields}

    assert Settings.model_validate(names).batch_worker_rate == QUOTA.batch_per_second / 2


def test_a_process_knows_its_own_peak() -> None:
    usage = current_usage()

    assert usage.cpu_seconds > 0
    assert 2**20 < usage.peak_bytes < 2**40

"""Benchmark the routing of a query log: `make bench-routing`.

The real handlers and adapters run in one process per routing worker of the template. ministack
serves S3, DynamoDB, SQS and EventBridge. The Bedrock fake answers after the mean latency of the
reference post, within a continuous token bucket. Beside it stand the two plain ways, on samples.

CPU time is that of the workers only. Model calls alternate with plain boto3 calls from as many
threads, on queries that were never asked; rows without a call alternate with `json` on the same
rows. `--plant` doubles the CPU time of each model call of the workers: the exit code becomes 1.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.cloud import Cloud, Quota, jsonl, running_cloud
from benchmarks.figures import Goal, Row, conclude, options
from benchmarks.log_runs import (
    LogRun,
    RowCheck,
    Workers,
    check_rows,
    warm_workers,
)
from benchmarks.plain_calls import PlainCalls, SampledWay
from benchmarks.timing import cpu_seconds, interleaved, ratio, slope
from router_cli import synthesis

REFERENCE_LATENCY_MS = 833.0
# Shares of the distinct queries between which the rate is read: idle workers catch up before, and
# a split holds too few new queries to fill the rate after.
RATE_FROM, RATE_TO = 0.10, 0.95
MIB = 1024 * 1024
_SEED, _NEW_QUERIES_SEED = 7, 100
_CALL_ROUNDS, _CALLS = 5, 300
_CALL_THREADS = 60  # at 833 ms, 72 calls a second: below the quota's 100
_ROW_ROUNDS = 3
_GROWTH = (16, 8, 4, 2)  # fractions of the log whose cost per row must be the same


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of this system; CPU times by round, in seconds."""

    quota: Quota
    distinct: int
    main: LogRun
    check: RowCheck
    call: Sequence[float]  # per model call
    plain_call: Sequence[float]
    cached: Mapping[float, Sequence[float]]  # whole logs without model calls, by rows
    json_row: Sequence[float]  # per row
    pool: SampledWay
    peak_bytes: int

    @property
    def rate_percent(self) -> float:
        """Return the share of the request rate that was used while distinct queries lasted.

        The rate is batch's share of the quota, or the plain thread pool's if the machine allows
        less than that.
        """
        first, last = int(self.distinct * RATE_FROM), int(self.distinct * RATE_TO)
        possible = min(self.quota.batch_per_second, self.pool.rows_per_second)
        return 100 * rate(self.main, first, last) / possible

    @property
    def cached_row(self) -> list[float]:
        """Return the CPU seconds per row of the largest log without model calls."""
        rows = max(self.cached)
        return [seconds / rows for seconds in self.cached[rows]]


def rate(run: LogRun, first: int, last: int) -> float:
    """Return answers per second between the first so many and the last; 0 if there are none."""
    before = run.samples[0].answered

    def at(answered: int) -> tuple[float, int]:
        reached = (s for s in run.samples if s.answered - before >= answered)
        sample = next(reached, run.samples[-1])
        return sample.at, sample.answered

    (began, one), (ended, other) = at(max(1, first)), at(last)
    return (other - one) / (ended - began) if ended > began else 0.0


def table(measured: Measured, in_turn: SampledWay) -> list[Row]:
    """Return one row per way for the same log, then the CPU time per call and per row."""
    run, quota = measured.main, measured.quota
    at_quota = run.rows * quota.batch_per_second / measured.distinct
    cost = 1e6 * run.summary["cost_usd"] / run.rows
    return [
        _sampled_row("one call per row, in turn", in_turn, run.rows),
        _sampled_row("one call per row, thread pool", measured.pool, run.rows),
        _own_row(f"this system, {quota.workers} workers", run, measured.check),
        {
            "way": "limit: each query once, full rate",
            "figures": "computed",
            "rows/s": at_quota,
            "hours": run.rows / at_quota / 3_600,
            "model calls": measured.distinct,
            "$ per million rows": cost * measured.distinct / max(1, run.calls),
        },
        _cpu_row("model call, all included", measured.call, 1e3, "CPU ms"),
        _cpu_row("plain boto3 converse", measured.plain_call, 1e3, "CPU ms"),
        _cpu_row("row without a model call", measured.cached_row, 1e6, "CPU µs"),
        _cpu_row("json.loads and json.dumps of a row", measured.json_row, 1e6, "CPU µs"),
    ]


def _cpu_row(way: str, seconds: Sequence[float], factor: float, unit: str) -> Row:
    return {"way": way, unit: factor * median(seconds)}


def _own_row(way: str, run: LogRun, check: RowCheck) -> Row:
    return {
        "way": way,
        "figures": "measured",
        "rows/s": run.rows / run.seconds,
        "hours": run.seconds / 3_600,
        "model calls": run.calls,
        "throttled %": run.throttled_percent,
        "rows lost": check.lost,
        "CPU s": run.usage.cpu_seconds,
        "$ per million rows": 1e6 * run.summary["cost_usd"] / run.rows,
    }


def _sampled_row(way: str, sample: SampledWay, rows: int) -> Row:
    return {
        "way": way,
        "figures": f"from {sample.rows:,} rows",
        "rows/s": sample.rows_per_second,
        "hours": rows / sample.rows_per_second / 3_600,
        "model calls": round(rows * sample.attempts / sample.rows),
        "throttled %": 100 * sample.throttled / max(1, sample.attempts),
        "rows lost": round(rows * sample.failed / sample.rows),
        "CPU s": rows * sample.cpu_seconds / sample.rows,
        "$ per million rows": sample.cost_per_million_rows,
    }


def goals(measured: Measured) -> list[Goal]:
    """Return the goals; times are judged against what stood beside them in the same run."""
    run = measured.main
    span = f"{RATE_FROM:.0%} to {RATE_TO:.0%}"
    return [
        Goal(f"batch rate used, {span} of queries", measured.rate_percent, 97.0, "%", True),
        Goal("throttled calls", run.throttled_percent, 1.0, "%"),
        Goal("rows lost, duplicated or changed", measured.check.lost, 0, "rows"),
        Goal("rows with the fallback's answer", measured.check.fallback, 0, "rows"),
        Goal("model calls per distinct query", run.calls / measured.distinct, 1.05, ""),
        Goal(
            "CPU of a model call / plain boto3 converse",
            *(ratio(measured.call, measured.plain_call), 1.6, "times"),
        ),
        Goal(
            "CPU of a row without a call / json of it",
            *(ratio(measured.cached_row, measured.json_row), 12.0, "times"),
        ),
        Goal("growth of CPU with rows (1: linear)", slope(measured.cached), 1.1, "exponent"),
        Goal("peak memory of the largest worker", measured.peak_bytes / MIB, 256.0, "MiB"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    given = _parser().parse_args(arguments)
    quota = Quota.deployed(given.requests_per_minute)
    log = jsonl(synthesis.query_log_rows(_SEED, given.rows, given.distinct))
    with running_cloud(quota, given.latency_ms) as cloud:
        in_turn, pool = _plain_ways(cloud, log, given)
        with warm_workers(cloud, *(["--plant"] if given.plant else [])) as workers:
            measured = _measure(cloud, workers, log, given.distinct, pool)
    title = f"{given.rows:,} rows, {given.distinct:,} distinct queries"
    limit = f"{given.requests_per_minute:,} requests a minute, {given.latency_ms:.0f} ms"
    rows = table(measured, in_turn)
    return conclude(f"{title}; {limit}", rows, goals(measured), given.json)


def _plain_ways(
    cloud: Cloud, log: bytes, given: argparse.Namespace
) -> tuple[SampledWay, SampledWay]:
    """Measure samples of about `sample_seconds` each."""
    per_second = given.requests_per_minute / 60
    in_turn = max(5, int(given.sample_seconds * 1_000 / max(10.0, given.latency_ms)))
    queries = _queries(first_rows(log, max(in_turn, int(given.sample_seconds * per_second))))
    # As many threads as the quota takes calls a second: at 833 ms per call, a few too many.
    threads = max(2, int(per_second))
    return (
        PlainCalls(cloud, 1).ask_all(queries[:in_turn]),
        PlainCalls(cloud, threads).ask_all(queries),
    )


def _queries(log: bytes) -> list[str]:
    return [json.loads(line)["query"] for line in log.splitlines()]


def _measure(
    cloud: Cloud, workers: Workers, log: bytes, distinct: int, pool: SampledWay
) -> Measured:
    main_run = workers.route("query-logs/main.jsonl", log)
    check = check_rows(log, workers.parts(main_run), synthesis.DEFAULT_MODALITIES)
    calls = _measure_calls(cloud, workers)
    json_row, cached = _measure_cached_rows(workers, log, main_run.rows)
    return Measured(
        quota=cloud.quota,
        distinct=distinct,
        main=main_run,
        check=check,
        call=calls["ours"],
        plain_call=calls["plain"],
        cached=cached,
        json_row=json_row,
        pool=pool,
        peak_bytes=workers.usage.peak_bytes,
    )


def _measure_calls(cloud: Cloud, workers: Workers) -> dict[str, list[float]]:
    """Return the CPU seconds per model call, ours and plain, on queries that are all new."""
    plain_calls = PlainCalls(cloud, _CALL_THREADS)
    logs = _new_logs()

    def ours() -> float:
        run = workers.route("query-logs/new.jsonl", next(logs))
        return run.usage.cpu_seconds / max(1, run.calls)

    def plain() -> float:
        sample = plain_calls.ask_all(_queries(next(logs)))
        return sample.cpu_seconds / sample.attempts

    plain()  # opens the connections
    return interleaved({"ours": ours, "plain": plain}, _CALL_ROUNDS)


def _new_logs() -> Iterator[bytes]:
    for number in range(2 * _CALL_ROUNDS + 1):
        yield jsonl(synthesis.query_log_rows(_NEW_QUERIES_SEED + number, _CALLS, _CALLS))


def _measure_cached_rows(
    workers: Workers, log: bytes, rows: int
) -> tuple[list[float], dict[float, list[float]]]:
    """Return the CPU seconds of `json` per row, and of whole logs that are cached, by rows."""
    lines = first_rows(log, rows // _GROWTH[0]).splitlines()
    logs = {str(rows // part): first_rows(log, rows // part) for part in _GROWTH}

    def route(size: str) -> float:
        return workers.route("query-logs/cached.jsonl", logs[size]).usage.cpu_seconds

    def plain() -> float:
        seconds = cpu_seconds(lambda: [json.dumps(json.loads(line)) for line in lines])
        return seconds / len(lines)

    sizes = {size: partial(route, size) for size in logs}
    figures = interleaved({"json": plain, **sizes}, _ROW_ROUNDS)
    return figures["json"], {float(size): figures[size] for size in logs}


def first_rows(log: bytes, count: int) -> bytes:
    """Return the first so many lines of a log."""
    end = 0
    for _ in range(count):
        end = log.find(b"\n", end) + 1
        if not end:
            return log
    return log[:end]


def _parser() -> argparse.ArgumentParser:
    parser = options("routing", __doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--distinct", type=int, default=2_400, help="distinct queries in the rows")
    parser.add_argument("--requests-per-minute", type=int, default=6_000, help="Bedrock's quota")
    parser.add_argument("--latency-ms", type=float, default=REFERENCE_LATENCY_MS)
    parser.add_argument("--sample-seconds", type=float, default=8.0, help="per plain way")
    parser.add_argument("--plant", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())

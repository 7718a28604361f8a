"""`make bench-routing`: a query log as deployed, against the obvious ways and the quota's limit.

Ours: the real handlers over the real adapters, one process per routing worker of the template,
S3, DynamoDB, SQS and EventBridge by ministack, Bedrock by the double at the seed's mean latency
with a continuous token bucket. The workers' CPU is theirs alone (getrusage of their processes), so
the services beside them cost nothing but wall time on a small machine.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cloud import Cloud, Quota, jsonl, running_cloud
from benchmarks.figures import Goal, Row, conclude
from benchmarks.large_log import LargeLog, measure_large_log
from benchmarks.other_ways import SampledWay, one_after_another, thread_pool
from benchmarks.query_log_run import LogRun, Sample, Workers, warm_workers
from benchmarks.routed_rows import RowCheck, check_rows, part_bodies
from router_cli import synthesis

SEED_LATENCY_MS = 833.0
# Of the distinct queries: before, warm workers make up for having been idle; after, a split holds
# too few new ones to fill the rate.
SETTLED, LASTING = 0.10, 0.95
MIB = 1024 * 1024
_SEED, _FRESH_SEED = 7, 8
_FRESH_ROWS = 4_000
_LARGE_GIGABYTES = 10.0
_SAMPLE_SECONDS = 20.0
_SMALL, _MEDIUM = 10, 2  # the sizes that must cost the same per row: a tenth and a half


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured of our way."""

    quota: Quota
    distinct: int
    main: LogRun
    check: RowCheck
    fresh: LogRun
    small: LogRun
    medium: LogRun
    large: LargeLog
    tiered: tuple[LogRun, RowCheck] | None = None

    @property
    def rate_used(self) -> float:
        """Per cent of batch's request rate that was used while distinct queries lasted."""
        span = int(self.distinct * SETTLED), int(self.distinct * LASTING)
        return 100 * rate(self.main.samples, *span) / self.quota.batch_per_second

    @property
    def other_row_us(self) -> float:
        """Microseconds of CPU for a row that took no model call."""
        return cpu_us_per_row(self.medium)

    @property
    def call_ms(self) -> float:
        """Milliseconds of CPU for a row that took a model call, with all that belongs to it."""
        return 1_000 * self.fresh.usage.cpu_seconds / max(1, self.fresh.calls)

    @property
    def peak_mib(self) -> float:
        """The largest worker, over all logs."""
        runs = (self.main, self.fresh, self.small, self.medium)
        return max(self.large.peak_bytes, *(run.usage.peak_bytes for run in runs)) / MIB


def rate(samples: Sequence[Sample], first: int, last: int) -> float:
    """Return answers per second between the first so many and the last; 0 if there were none."""
    began, ended = (_sample_at(samples, answered) for answered in (max(1, first), last))
    seconds = ended.at - began.at
    return (ended.answered - began.answered) / seconds if seconds else 0.0


def _sample_at(samples: Sequence[Sample], answered: int) -> Sample:
    before = samples[0].answered
    return next((s for s in samples if s.answered - before >= answered), samples[-1])


def cpu_us_per_row(run: LogRun) -> float:
    """Return microseconds of CPU of the workers per row."""
    return 1e6 * run.usage.cpu_seconds / run.rows


def table(measured: Measured, seed: SampledWay, pool: SampledWay) -> list[Row]:
    """Return one row per way, for the same log."""
    run, quota = measured.main, measured.quota
    at_quota = run.rows * quota.batch_per_second / measured.distinct
    cost = 1e6 * run.summary["cost_usd"] / run.rows
    return [
        _sampled_row("one call per row, in turn", seed, run.rows),
        _sampled_row("one call per row, thread pool", pool, run.rows),
        *_own_rows(measured),
        {
            "way": "the limit: each distinct query once, at batch's rate",
            "rows/s": at_quota,
            "hours": run.rows / at_quota / 3_600,
            "model calls": measured.distinct,
            "throttled %": 0.0,
            "rows lost": 0,
            "$ per million rows": cost * measured.distinct / max(1, run.calls),
            "figures": "computed",
        },
    ]


def _own_rows(measured: Measured) -> list[Row]:
    name = f"this system, {measured.quota.workers} workers"
    rows = [_own_row(name, measured.main, measured.check, "measured")]
    if measured.tiered is not None:
        run, check = measured.tiered
        local = run.summary["tiers"].get("local", 0)
        figures = f"measured; the local tier answered {local:,} times"
        rows.append(_own_row(f"{name}, local tier on", run, check, figures))
    return rows


def _own_row(way: str, run: LogRun, check: RowCheck, figures: str) -> Row:
    return {
        "way": way,
        "rows/s": run.rows / run.seconds,
        "hours": run.seconds / 3_600,
        "model calls": run.calls,
        "throttled %": _throttled(run),
        "rows lost": check.lost,
        "CPU s": run.usage.cpu_seconds,
        "$ per million rows": 1e6 * run.summary["cost_usd"] / run.rows,
        "figures": figures,
    }


def _throttled(run: LogRun) -> float:
    return 100 * run.throttled / max(1, run.calls + run.throttled)


def goals(measured: Measured) -> list[Goal]:
    """Return what the figures must keep."""
    run = measured.main
    checks = [measured.check, *(() if measured.tiered is None else measured.tiered[1:])]
    growth = cpu_us_per_row(measured.medium) / cpu_us_per_row(measured.small)
    return [
        Goal(
            f"rate used from {SETTLED:.0%} to {LASTING:.0%} of the distinct queries",
            *(measured.rate_used, 97.0, "%"),
            at_least=True,
        ),
        Goal("calls that were throttled", _throttled(run), 1.0, "%"),
        Goal("rows lost, doubled or changed", sum(c.lost for c in checks), 0, "rows"),
        Goal("rows that only got the fallback", sum(c.fallback for c in checks), 0, "rows"),
        Goal("model calls per distinct query", run.calls / measured.distinct, 1.05, ""),
        Goal("CPU per model call, all in", measured.call_ms, 2.5, "ms"),
        Goal("CPU per other row", measured.other_row_us, 100.0, "µs"),
        Goal("the largest worker", measured.peak_mib, 256.0, "MiB"),
        Goal(f"planning {_LARGE_GIGABYTES:.0f} GB", measured.large.seconds, 10.0, "s"),
        Goal(
            f"CPU per row, {measured.medium.rows:,} rows against {measured.small.rows:,}",
            *(growth, 1.1, "times"),
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything and conclude."""
    options = _parser().parse_args(arguments)
    quota = Quota.deployed(options.requests_per_minute)
    log = jsonl(synthesis.query_log_rows(_SEED, options.rows, options.distinct))
    with running_cloud(quota, options.latency_ms) as cloud:
        seed, pool = _other_ways(cloud, log, options)
        with warm_workers(cloud) as workers:
            measured = _measure(cloud, workers, log, options.distinct)
        if options.local_tier == "on":
            measured = replace(measured, tiered=_with_local_tier(cloud, log))
    title = f"{options.rows:,} rows, {options.distinct:,} distinct queries"
    limit = f"{options.requests_per_minute:,} requests a minute, {options.latency_ms:.0f} ms"
    return conclude(f"{title}; {limit}", table(measured, seed, pool), goals(measured), options.out)


def _other_ways(
    cloud: Cloud, log: bytes, options: argparse.Namespace
) -> tuple[SampledWay, SampledWay]:
    """Measure samples that take about `sample_seconds` each."""
    in_turn = max(5, int(options.sample_seconds * 1_000 / max(10.0, options.latency_ms)))
    per_second = options.requests_per_minute / 60
    at_once = int(options.sample_seconds * per_second)
    lines = first_rows(log, max(in_turn, at_once)).splitlines()
    queries = [json.loads(line)["query"] for line in lines]
    return (
        one_after_another(cloud, queries[:in_turn]),
        # As many threads as the quota takes calls a second: at under a second each, a few too many.
        thread_pool(cloud, queries[:at_once], threads=max(2, int(per_second))),
    )


def _measure(cloud: Cloud, workers: Workers, log: bytes, distinct: int) -> Measured:
    main_run = workers.route("query-logs/main.jsonl", log)
    check = check_rows(
        log, part_bodies(cloud, main_run.log_id, main_run.splits), synthesis.DEFAULT_MODALITIES
    )
    # Nothing of this log was ever asked: it shows what a row costs that takes a model call.
    fresh_rows = min(_FRESH_ROWS, distinct)
    fresh = workers.route(
        "query-logs/fresh.jsonl",
        jsonl(synthesis.query_log_rows(_FRESH_SEED, fresh_rows, fresh_rows)),
    )
    # Every answer of these is in the cache: they show what a row costs that asks no model.
    tenth, half = (first_rows(log, main_run.rows // part) for part in (_SMALL, _MEDIUM))
    small = workers.route("query-logs/small.jsonl", tenth)
    medium = workers.route("query-logs/medium.jsonl", half)
    large = measure_large_log(cloud, tenth, _LARGE_GIGABYTES)
    return Measured(cloud.quota, distinct, main_run, check, fresh, small, medium, large)


def _with_local_tier(cloud: Cloud, log: bytes) -> tuple[LogRun, RowCheck]:
    """Route the log once more, by new workers, from an empty cache, with the local tier serving."""
    cloud.train_local_tier()
    with warm_workers(cloud, LOCAL_TIER="on") as workers:
        run = workers.route("query-logs/local-tier.jsonl", log)
    parts = part_bodies(cloud, run.log_id, run.splits)
    return run, check_rows(log, parts, synthesis.DEFAULT_MODALITIES)


def _sampled_row(way: str, sample: SampledWay, rows: int) -> Row:
    per_row = sample.attempts / max(1, sample.rows)
    return {
        "way": way,
        "rows/s": sample.rows_per_second,
        "hours": rows / sample.rows_per_second / 3_600,
        "model calls": round(rows * per_row),
        "throttled %": 100 * sample.throttled / max(1, sample.attempts),
        "rows lost": round(rows * sample.failed / sample.rows),
        "CPU s": rows * sample.cpu_seconds / sample.rows,
        "$ per million rows": sample.cost_per_million_rows,
        "figures": f"extrapolated from {sample.rows:,} rows",
    }


def first_rows(log: bytes, count: int) -> bytes:
    """Return the first so many lines of a log."""
    end = 0
    for _ in range(count):
        end = log.find(b"\n", end) + 1
        if not end:
            return log
    return log[:end]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench-routing", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--distinct", type=int, default=20_000)
    parser.add_argument("--requests-per-minute", type=int, default=6_000)
    parser.add_argument("--latency-ms", type=float, default=SEED_LATENCY_MS)
    parser.add_argument("--sample-seconds", type=float, default=_SAMPLE_SECONDS)
    parser.add_argument("--local-tier", choices=["off", "on"], default="off")
    parser.add_argument("--out", type=Path, default=Path("bench-results/routing.json"))
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The figures of a routed log, recomputed from its raw rows by independent code."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router_cli.stack import Stack
from tests.fakes import reply
from tests.records import MODALITIES, label
from tests.unit.router_cli.conftest import route_log
from tests.unit.use_cases.world import World

ROWS = [pytest.param(200_000, marks=pytest.mark.sweep), 4_000]


def weights_of(query: str) -> tuple[float, ...]:
    number = int(query.rsplit(maxsplit=1)[-1])
    first = (number * 37 % 100) / 100
    return (first, round((1 - first) * 0.7, 3), round((1 - first) * 0.3, 3), 0.0)


@pytest.mark.parametrize("rows", ROWS)
def test_every_figure_of_a_log_equals_that_of_its_rows(
    world: World, stack: Stack, answer: Callable[..., Any], tmp_path: Path, rows: int
) -> None:
    # GIVEN a log with repeats, unusable answers and rejected rows
    world.model.answering = lambda _, query: (
        reply("no idea") if query.endswith("13")
        else reply(label(*weights_of(query)), latency_ms=100 + 13 * len(query))
    )  # fmt: skip
    lines = [
        "broken" if n % 97 == 5 else json.dumps({"query": f"query {n * n % 1_009}"})
        for n in range(rows)
    ]
    log_id = route_log(world, "\n".join([*lines, ""]).encode())
    out = tmp_path / "rows.jsonl"

    summary = answer("results", log_id, "--out", str(out))

    # THEN every figure is that of the rows
    raw = [json.loads(line) for line in out.read_bytes().splitlines()]
    rejected = sum(line == "broken" for line in lines)
    prior = [row for row in raw if row["status"] == "fallback"]
    calls = [row for row in raw if row["latency_ms"]]
    assert (summary["rows_in"], summary["rejected"]) == (rows, rejected)
    assert (summary["routed"], summary["fallback"]) == (len(raw) - len(prior), len(prior))
    assert summary["fallback_share"] == pytest.approx(len(prior) / len(raw), abs=5e-7)
    assert summary["tiers"] == dict(Counter(row["tier"] for row in raw))
    assert summary["answered_by"] == {
        "local": 0, "distilled": len(raw) - len(prior), "fallback": len(prior),
    }  # fmt: skip
    assert summary["distinct"] == len({row["query"] for row in raw})
    assert summary["repeats"] == len(raw) - summary["distinct_per_split"]
    assert summary["model_calls"] == len(calls)
    for name in ("input_tokens", "output_tokens"):
        assert summary[name] == sum(row[name] for row in raw)
    cost = math.fsum(row["cost_usd"] for row in raw)
    assert summary["cost_usd"] == pytest.approx(cost, abs=1e-9 * len(calls))
    assert summary["cost_usd_per_million_rows"] == pytest.approx(cost / len(raw) * 1e6, abs=1e-3)
    for name in MODALITIES:
        mean = math.fsum(row[name] for row in raw) / len(raw)
        assert summary["weight_means"][name] == pytest.approx(mean, abs=5.1e-5)
        assert sum(summary["weight_histograms"][name]) == len(raw)
    latencies = sorted(row["latency_ms"] for row in calls)
    mean = sum(latencies) / len(latencies)
    assert summary["latency_ms"]["mean"] == pytest.approx(mean, abs=0.051)
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        exact = latencies[math.ceil(share * len(latencies)) - 1]
        assert summary["latency_ms"][name] == pytest.approx(exact, rel=0.051)
    reasons = answer("results", log_id, "--rejected")
    assert (reasons["rejected"], len(reasons["reasons"])) == (rejected, 1)

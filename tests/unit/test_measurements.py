"""The list of metrics is what is emitted, all of it, and nothing of a query."""

import ast
import json
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from search_router import measurements
from search_router.domain.errors import ModelUnusableError, UnavailableError
from search_router.domain.intake.selection import IntakeCounts
from search_router.domain.lifecycle.runs import RunState
from search_router.domain.lifecycle.tracking import Tracking
from search_router.domain.logs.query_logs import LogState
from search_router.domain.logs.results import PartStats, latency_bucket
from search_router.domain.search.replies import SearchReply
from search_router.domain.search.segment_uploads import SegmentCounts
from search_router.domain.serving.decisions import Decision, Status, Tier, prior_decision
from search_router.domain.serving.local_tier import LocalTierStats
from search_router.measurements import Measurement, Metric
from search_router.observability import measure, metrics
from tests.conftest import TESTS
from tests.fakes import START
from tests.records import a_dataset, a_decision, a_run

PROJECT = TESTS.parent
PRODUCT = [*PROJECT.glob("layers/shared/search_router/**/*.py"), *PROJECT.glob("functions/*/*.py")]
STATS = PartStats(
    rows_in=1_000,
    routed=940,
    fallback=40,
    rejected=20,
    repaired=3,
    model_calls=300,
    input_tokens=18_000,
    output_tokens=9_000,
    cost_usd=0.01,
    tiers={"cache": 640, "distilled": 300, "fallback": 40},
    latency={latency_bucket(100): 270, latency_bucket(1_000): 30},
    weight_sums={"mood": 196.0, "place": 784.0},
    weights={
        "mood": [490, 0, 0, 0, 490, 0, 0, 0, 0, 0],
        "place": [0, 0, 0, 0, 0, 0, 490, 0, 0, 490],
    },
)


def values(measured: Iterable[Measurement]) -> dict[tuple[Metric, str], list[float]]:
    found: dict[tuple[Metric, str], list[float]] = {}
    for metric, value, place in measured:
        found.setdefault((metric, place), []).append(value)
    return found


def everything() -> list[Measurement]:
    tracking = Tracking(runs=Counter(PROMOTED=1), errors=[UnavailableError("no")])
    run = a_run(RunState.SHARDED)
    return [
        *measurements.intake_metrics(run),
        *measurements.split_metrics(STATS),
        *measurements.batch_metrics([ModelUnusableError()], 2),
        *measurements.answer_metrics(a_decision()),
        *measurements.local_tally_metrics(
            LocalTierStats(asked=1, microseconds=90, compared=1, agreeing=1)
        ),
        *measurements.local_model_errors_metrics(1),
        *measurements.no_answer_metrics(),
        *measurements.segment_metrics(SegmentCounts(rows_in=2, indexed=1, rejected=1)),
        *measurements.index_batch_metrics([UnavailableError("no")]),
        *measurements.tracking_metrics(tracking),
        *measurements.search_metrics(a_search_reply()),
        *measurements.no_hits_metrics(),
    ]


def a_search_reply(**changes: object) -> SearchReply:
    reply = {"late": False, "degraded": [], "timings": {"total_ms": 210.0}} | changes
    return cast("SearchReply", reply)


def test_every_metric_of_the_list_is_measured_somewhere() -> None:
    assert {metric for metric, _, _ in everything()} == set(Metric)


def test_late_weights_and_failed_lists_are_counted() -> None:
    measured = values(measurements.search_metrics(a_search_reply(late=True, degraded=["audio"])))

    assert measured[Metric.SEARCH_WEIGHTS_LATE, ""] == measured[Metric.SEARCHES_DEGRADED, ""] == [1]
    assert measured[Metric.SEARCH_LATENCY, ""] == [210.0]


def test_a_metric_has_a_place_exactly_if_it_has_a_dimension() -> None:
    assert all(bool(place) == bool(metric.dimension) for metric, _, place in everything())


def test_names_are_unique() -> None:
    labels = [metric.label for metric in Metric]

    assert len(labels) == len(set(labels)) == len(Metric.__members__)


def test_a_prompt_file_is_counted_in_rows() -> None:
    counts = IntakeCounts(rows_in=12, accepted=9, rejected=3)
    run = a_run(RunState.SHARDED, dataset=a_dataset(counts=counts))

    assert values(measurements.intake_metrics(run)) == {
        (Metric.PROMPT_ROWS_IN, ""): [12],
        (Metric.PROMPTS_ACCEPTED, ""): [9],
        (Metric.PROMPTS_REJECTED, ""): [3],
    }


def test_a_split_tells_rows_tiers_money_and_means() -> None:
    found = values(measurements.split_metrics(STATS))

    assert found[Metric.ROWS_IN, ""] == [1_000]
    assert found[Metric.ROWS_BY_TIER, "cache"] == [640]
    assert found[Metric.BATCH_FALLBACK_SHARE, ""] == [pytest.approx(100 * 40 / 980)]
    assert found[Metric.COST_USD, ""] == [0.01]
    assert found[Metric.WEIGHT_MEAN, "mood"] == [0.2]
    assert found[Metric.WEIGHT_MEAN, "place"] == [0.8]


def test_a_splits_latencies_keep_their_percentiles_in_few_values() -> None:
    latencies = sorted(values(measurements.split_metrics(STATS))[Metric.MODEL_LATENCY, ""])

    assert len(latencies) == measurements.LATENCY_VALUES
    assert latencies[len(latencies) // 2] == pytest.approx(100, rel=0.05)
    assert latencies[int(len(latencies) * 0.95)] == pytest.approx(1_000, rel=0.05)


def test_a_few_calls_are_all_told() -> None:
    stats = PartStats(latency={latency_bucket(100): 2, latency_bucket(1_000): 1})

    assert len(values(measurements.split_metrics(stats))[Metric.MODEL_LATENCY, ""]) == 3


def test_a_split_without_any_answer_has_no_share_no_means_and_no_latency() -> None:
    found = values(
        measurements.split_metrics(PartStats(rows_in=3, rejected=3, weights={"a": [0] * 10}))
    )

    silent = {Metric.BATCH_FALLBACK_SHARE, Metric.WEIGHT_MEAN, Metric.MODEL_LATENCY}
    assert not silent & {metric for metric, _ in found}


def test_an_answer_of_the_api_is_counted_with_its_call() -> None:
    found = values(measurements.answer_metrics(a_decision(latency_ms=800)))

    assert found[Metric.QUERIES_BY_TIER, "distilled"] == [1]
    assert found[Metric.API_FALLBACK_SHARE, ""] == [0]
    assert found[Metric.MODEL_LATENCY, ""] == [800]


@pytest.mark.parametrize(
    ("decision", "share"),
    [
        (prior_decision((0.5, 0.5), "unreachable"), 100),
        (Decision((0.5, 0.5), Tier.CACHE, Status.OK, "model"), 0),
    ],
)
def test_an_answer_without_a_call_adds_no_call(decision: Decision, share: int) -> None:
    found = values(measurements.answer_metrics(decision))

    assert found[Metric.API_FALLBACK_SHARE, ""] == [share]
    assert Metric.MODEL_CALLS not in {metric for metric, _ in found}


def test_a_tick_tells_every_state_also_the_empty_ones() -> None:
    found = values(measurements.tracking_metrics(Tracking(runs=Counter(PROMOTED=2))))

    for metric, states in ((Metric.RUNS_BY_STATE, RunState), (Metric.LOGS_BY_STATE, LogState)):
        assert {place for measured, place in found if measured is metric} == set(states)
    assert found[Metric.RUNS_BY_STATE, "PROMOTED"] == [2]
    assert found[Metric.RUNS_BY_STATE, "FAILED"] == [0]


# ---------------------------------------------------------------------------------------
# Emission
# ---------------------------------------------------------------------------------------


def emitted(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def test_measurements_become_lines_of_the_embedded_metric_format(
    capsys: pytest.CaptureFixture[str],
) -> None:
    measure(measurements.split_metrics(STATS))
    metrics.flush_metrics()

    *singles, together = emitted(capsys.readouterr().out)
    (directive,) = together["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "SearchRouter"
    assert directive["Dimensions"] == [["service"]]
    assert {"Name": "CostUsd", "Unit": "None"} in directive["Metrics"]
    assert len(together["ModelLatency"]) == measurements.LATENCY_VALUES
    by_tier = [line for line in singles if "RowsByTier" in line]
    assert [line["Tier"] for line in by_tier] == ["cache", "distilled", "fallback"]
    assert all(
        set(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]) == {"service", "Tier"}
        for line in by_tier
    )


def test_everything_that_is_emitted_is_on_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    measure(everything())
    metrics.flush_metrics()

    listed = {
        (metric.label, metric.unit.value, frozenset({"service", metric.dimension or "service"}))
        for metric in Metric
    }
    found = {
        (entry["Name"], entry["Unit"], frozenset(directive["Dimensions"][0]))
        for line in emitted(capsys.readouterr().out)
        for directive in line["_aws"]["CloudWatchMetrics"]
        for entry in directive["Metrics"]
    }
    assert found == listed


def adds_metrics(source: str) -> bool:
    names = {
        "add_metric",
        "single_metric",
        "add_dimension",
        "add_metadata",
        "set_default_dimensions",
    }
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    return bool(names & used)


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(PROJECT)))
def test_nobody_adds_a_metric_past_the_list(path: Path) -> None:
    assert adds_metrics(path.read_text("utf-8")) == (path.name == "observability.py")


# ---------------------------------------------------------------------------------------
# Failures that are news
# ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "minutes", "news"),
    [
        (RunState.FAILED, 14, 1),
        (RunState.STOPPED, 14, 1),
        (RunState.FAILED, 15, 0),
        (RunState.REJECTED, 1, 0),
    ],
)
def test_a_failed_run_is_news_for_three_ticks(state: RunState, minutes: int, news: int) -> None:
    tracking = Tracking()

    tracking.count_run(a_run(state), START + timedelta(minutes=minutes))

    assert tracking.runs_failed == news

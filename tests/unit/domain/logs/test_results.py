"""Parts: rows that keep every byte of the input, statistics that add up and stay small."""

import json
import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.logs.results import (
    PartBuilder,
    PartMarker,
    PartStats,
    bucket_latency,
    latency_bucket,
    latency_sample,
    latency_summary,
    result_line,
    total_stats,
)
from search_router.domain.logs.rows import LogRow
from search_router.domain.queries import normalised_query
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.splits.ledger import packed, unpacked
from search_router.domain.weights import Modalities, normalise
from tests.records import MODALITIES, PRIOR, SIXTEEN, a_decision

LOG = "log-0123456789ab"
OURS = [
    "row_id", "query", *MODALITIES, "dominant", "tier", "status", "model", "latency_ms",
    "input_tokens", "output_tokens", "cost_usd", "byte_offset",
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
NAMES = st.sampled_from([*OURS, "ts", "q", "input_query", "input_tier", "input_input_tier"])
COLUMNS = st.dictionaries(NAMES | st.text(st.characters(codec="utf-8")), VALUES, max_size=8)
FALLBACK = a_decision(PRIOR, tier=Tier.FALLBACK, status=Status.FALLBACK)
DECISIONS = st.sampled_from(
    [
        a_decision(),
        a_decision((0.1, 0.6, 0.2, 0.1), status=Status.REPAIRED, latency_ms=1_234),
        FALLBACK,
        Decision(PRIOR, Tier.CACHE, Status.OK, "champion"),
    ]
)


def a_row(query: str = "dogs", offset: int = 0, columns: dict[str, object] | None = None) -> LogRow:
    return LogRow(offset, query, columns or {})


def parsed(row: LogRow, decision: Decision | None = None) -> dict[str, Any]:
    line = result_line(row, f"{LOG}.0", decision or a_decision(), MODALITIES)
    value: dict[str, Any] = json.loads(line)
    return value


def test_a_result_has_the_input_first_and_then_our_columns() -> None:
    columns: dict[str, object] = {"ts": "2026-12-01", "user": {"id": 7}, "query": "dogs"}

    result = parsed(a_row("dogs", 17, columns))

    assert list(result) == ["ts", "user", *OURS]
    assert result == {
        "ts": "2026-12-01",
        "user": {"id": 7},
        "row_id": f"{LOG}.0",
        "query": "dogs",
        **dict(zip(MODALITIES, PRIOR, strict=True)),
        "dominant": "visual",
        "tier": "distilled",
        "status": "ok",
        "model": "champion",
        "latency_ms": 800,
        "input_tokens": 60,
        "output_tokens": 30,
        "cost_usd": 0.0000063,
        "byte_offset": 17,
    }


def test_a_column_that_clashes_is_renamed() -> None:
    columns: dict[str, object] = {
        "q": "dogs",
        "tier": "gold",
        "visual": 1,
        "input_tokens": 9,
        "query": "other",
    }

    result = parsed(a_row("dogs", 0, columns))

    assert (result["q"], result["input_tier"], result["input_visual"]) == ("dogs", "gold", 1)
    assert (result["input_input_tokens"], result["input_query"]) == (9, "other")
    assert (result["query"], result["tier"], result["input_tokens"]) == ("dogs", "distilled", 60)


@pytest.mark.parametrize(
    "columns",
    [
        {"tier": "gold", "input_tier": "silver"},
        {"input_tier": "silver", "tier": "gold"},
        {"tier": "gold", "input_tier": "silver", "input_input_tier": "bronze"},
        {"input_tokens": 1, "input_input_tokens": 2},
    ],
)
def test_no_column_is_lost_when_its_new_name_is_taken(columns: dict[str, object]) -> None:
    result = parsed(a_row(columns=columns))

    assert list(result.values())[: len(columns)] == list(columns.values())
    assert all(result[name] == value for name, value in columns.items() if name not in OURS)


@given(COLUMNS, st.text(st.characters(codec="utf-8"), min_size=1))
def test_every_input_column_is_kept_byte_for_byte_on_one_line(
    columns: dict[str, object], query: str
) -> None:
    line = result_line(LogRow(0, query, columns), f"{LOG}.0", a_decision(), MODALITIES)
    result = json.loads(line)

    kept = {name: value for name, value in columns.items() if (name, value) != ("query", query)}
    assert list(result.values())[: len(kept)] == list(kept.values())
    assert len(result) == len(kept) + len(OURS)
    assert result["query"] == query
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    for name, value in kept.items():
        assert name in OURS or result[name] == value
        assert json.dumps(name, ensure_ascii=False).encode()[1:] in line


@pytest.mark.parametrize(
    "text",
    [
        "=HYPERLINK(\"http://evil\",\"x\")",
        "<script>alert(1)</script>",
        "\x1b[31mred\x1b[0m\x07",
        "line\nbreak\r\u2028\u0085\x00",
        "\u202eright to left",
        '{"visual": 1}, "tier": "gold"',
        "\\ud800 \\n \\",
        "{{7*7}} ${jndi:ldap://x} '; DROP TABLE x; --",
    ],
)  # fmt: skip
def test_hostile_text_comes_out_exactly_as_it_went_in(text: str) -> None:
    result = parsed(a_row(text, 0, {"note": text, text: text}))

    assert (result["query"], result["note"], result[text]) == (text, text, text)
    assert list(result)[2:] == OURS


@given(st.lists(st.tuples(st.sampled_from("abcdef"), DECISIONS), max_size=40), st.integers(0, 5))
def test_the_sums_over_the_rows_are_the_sums_of_the_part(
    drawn: list[tuple[str, Decision]], rejected: int
) -> None:
    part = PartBuilder(LOG, MODALITIES)
    decisions: dict[str, Decision] = {}
    for offset, (query, decision) in enumerate(drawn):
        part.add(a_row(query, offset), query, decisions.setdefault(query, decision))
    for _ in range(rejected):
        part.reject()

    rows = [json.loads(line) for line in part.body().splitlines()]
    marker = part.marker(3)
    stats = marker.stats
    statuses = Counter(row["status"] for row in rows)
    assert (marker.log_id, marker.split, marker.rows) == (LOG, 3, len(drawn))
    assert stats.rows_in == stats.routed + stats.fallback + stats.rejected
    assert stats.rows_in == len(drawn) + rejected
    assert (stats.fallback, stats.repaired) == (statuses["fallback"], statuses["repaired"])
    assert stats.distinct == len(decisions)
    assert stats.tiers == Counter(row["tier"] for row in rows)
    assert stats.input_tokens == sum(row["input_tokens"] for row in rows)
    assert stats.output_tokens == sum(row["output_tokens"] for row in rows)
    assert stats.cost_usd == pytest.approx(math.fsum(row["cost_usd"] for row in rows))
    assert stats.model_calls == sum(row["latency_ms"] > 0 for row in rows)
    assert sum(stats.latency.values()) == stats.model_calls
    assert all(sum(bins) == len(rows) for bins in stats.weights.values())


def test_a_repeated_query_costs_nothing_and_counts_as_cache_unless_it_fell_back() -> None:
    part = PartBuilder(LOG, MODALITIES)
    for offset, (query, decision) in enumerate([("a", a_decision()), ("b", FALLBACK)] * 2):
        part.add(a_row(query, offset), query, decision)

    rows = [json.loads(line) for line in part.body().splitlines()]
    assert [row["tier"] for row in rows] == ["distilled", "fallback", "cache", "fallback"]
    assert [row["cost_usd"] for row in rows] == [0.0000063, 0.0000063, 0, 0]
    assert [row["latency_ms"] for row in rows] == [800, 800, 0, 0]
    assert [row["visual"] for row in rows] == [0.4] * 4


def stats_of(drawn: list[tuple[str, Decision]]) -> PartStats:
    part = PartBuilder(LOG, MODALITIES)
    for offset, (query, decision) in enumerate(drawn):
        part.add(a_row(query, offset), query, decision)
    return part.marker(0).stats


STATS = st.lists(st.tuples(st.sampled_from("abc"), DECISIONS), max_size=5).map(stats_of)


def rounded(stats: PartStats) -> PartStats:
    return stats.model_copy(update={"cost_usd": round(stats.cost_usd, 12)})


@given(st.lists(STATS, max_size=6), st.randoms(use_true_random=False))
def test_statistics_add_up_in_any_order(parts: list[PartStats], order: random.Random) -> None:
    shuffled = order.sample(parts, len(parts))

    total = total_stats(parts)

    assert rounded(total_stats(shuffled)) == rounded(total)
    for name in ("rows_in", "routed", "fallback", "model_calls", "input_tokens", "distinct"):
        assert getattr(total, name) == sum(getattr(part, name) for part in parts)
    assert total.tiers == dict(sum((Counter(part.tiers) for part in parts), Counter()))
    assert sum(total.latency.values()) == total.model_calls


def test_nothing_adds_up_to_nothing() -> None:
    stats = stats_of([("a", a_decision())])

    assert total_stats([]) == PartStats()
    assert total_stats([stats]) == stats


def test_the_identity_depends_on_rows_but_not_on_answers() -> None:
    def identity(*rows: tuple[int, str, Decision]) -> str:
        part = PartBuilder(LOG, MODALITIES)
        for offset, query, decision in rows:
            part.add(a_row(query, offset), normalised_query(query), decision)
        return part.marker(0).identity

    first = identity((0, "dogs", a_decision()), (9, "cats", a_decision()))

    assert first == identity((0, "dogs", FALLBACK), (9, "cats", a_decision(latency_ms=1)))
    assert first != identity((0, "dogs", a_decision()), (8, "cats", a_decision()))
    assert first != identity((0, "dogs", a_decision()), (9, "bats", a_decision()))
    assert first != identity((0, "dogs", a_decision()))


@pytest.mark.parametrize("modalities", [MODALITIES, SIXTEEN], ids=["4", "16"])
def test_a_marker_stays_below_one_kilobyte(modalities: Modalities) -> None:
    rng = random.Random(1)  # noqa: S311 - the same part in every run
    part = PartBuilder(LOG, modalities)
    for n in range(2_000):
        weights = normalise(tuple(rng.random() ** 3 + 1e-6 for _ in modalities))
        decision = a_decision(weights, latency_ms=int(rng.lognormvariate(6.7, 0.3)))
        part.add(a_row(f"{n}", n * 20), f"{n}", decision)
    marker = part.marker(99_999)

    stored = marker.model_dump_json()

    assert len(stored) <= 1_024
    assert PartMarker.model_validate_json(stored) == marker


@pytest.mark.parametrize("modalities", [MODALITIES, SIXTEEN], ids=["4", "16"])
def test_statistics_fit_into_s3_metadata_at_their_worst(modalities: Modalities) -> None:
    """Half a million rows in flat histograms, which hardly compress, up to 15 minutes wide."""
    rows = 500_000
    rng = random.Random(2)  # noqa: S311 - the same histograms in every run

    def flat(bins: int) -> list[int]:
        return [rng.randint(rows // bins // 2, rows // bins * 2) for _ in range(bins)]

    buckets = range(latency_bucket(50), latency_bucket(900_000) + 1)
    stats = PartStats(
        rows_in=rows,
        routed=rows - 1,
        distinct=rows - 2,
        model_calls=rows - 3,
        input_tokens=rows * 61,
        output_tokens=rows * 31,
        cost_usd=rows * 0.0000063,
        local_asked=rows - 5,
        local_us=rows * 113,
        local_abstained=rows // 3,
        compared=rows // 7,
        agreeing=rows // 9,
        difference=12345.678912,
        tiers={tier.value: rows for tier in Tier},
        latency=dict(zip(buckets, flat(len(buckets)), strict=True)),
        weights={name: flat(10) for name in modalities},
    )

    text = packed(stats)

    assert text.isascii()
    assert len(text) <= 2_048 - 250, "the other metadata take less than 250 bytes"
    assert unpacked(PartStats, text) == stats


@given(st.integers(1, 10**6))
def test_a_latency_read_back_from_its_bucket_is_off_by_at_most_five_percent(ms: int) -> None:
    assert bucket_latency(latency_bucket(ms)) == pytest.approx(ms, rel=0.0501, abs=0.06)


def test_percentiles_are_read_from_the_buckets() -> None:
    buckets = Counter(latency_bucket(ms) for ms in [100] * 90 + [1_000] * 10)

    summary = latency_summary(buckets, 19_000)

    assert summary["p50"] == pytest.approx(100, rel=0.05)
    assert summary["p95"] == pytest.approx(1_000, rel=0.05)
    assert summary["mean"] == 190
    assert latency_summary({}, 0) == {}


@given(st.dictionaries(st.integers(0, 100), st.integers(1, 500), max_size=20), st.integers(1, 60))
def test_a_sample_of_latencies_keeps_their_median(buckets: dict[int, int], size: int) -> None:
    sample = latency_sample(buckets, size)

    assert len(sample) == min(size, sum(buckets.values()))
    assert sample == sorted(sample)
    assert set(sample) <= {bucket_latency(bucket) for bucket in buckets}
    if size % 2 and sum(buckets.values()) % 2 and sample:
        assert sample[len(sample) // 2] == latency_summary(buckets, 0)["p50"]

"""Limits: the last value that passes and the first that does not.

The figures are literal: a changed constant fails a test here. Those of Bedrock are its quotas.
"""

import re
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from search_router.domain import naming
from search_router.domain.errors import BudgetExceededError, InvalidInputError
from search_router.domain.intake.prompt_files import PromptFile, read_prompts
from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.intake.selection import IntakeBuilder, IntakeRules, Selection
from search_router.domain.intake.training_records import TrainingRow, shards, training_line
from search_router.domain.lifecycle.budget import Purchase, Spending
from search_router.domain.lifecycle.distillation import (
    MAX_TEACHER_RESPONSE_TOKENS,
    ModelLifecycle,
    check_lifecycle,
)
from search_router.domain.lifecycle.judging import dataset
from search_router.domain.lifecycle.runs import RunState
from search_router.domain.lifecycle.tracking import expiry_reason, is_overdue
from search_router.domain.logs.dialects import Dialect
from search_router.domain.logs.rows import LogRow, read_row
from search_router.domain.splits.formats import RowFormat
from search_router.domain.splits.rows import RejectedRow
from search_router.domain.streams import Line, lines_at, split_lines
from search_router.domain.weights import normalise
from search_router.settings import read_settings
from tests.fakes import START
from tests.integration.world import ENVIRONMENT
from tests.records import MODALITIES, a_run

EVEN = (0.25, 0.25, 0.25, 0.25)


# --- names and keys ------------------------------------------------------------------------------


def test_a_name_has_at_most_63_characters() -> None:
    longest = "m" * 55  # and "-serving"

    assert naming.deployment_name(longest) == f"{longest}-serving"
    with pytest.raises(InvalidInputError):
        naming.deployment_name(f"{longest}m")


def test_a_key_has_at_most_900_characters() -> None:
    longest = "x" * (900 - len("runs/run-1/"))

    assert len(naming.run_key("run-1", longest)) == 900
    with pytest.raises(InvalidInputError):
        naming.run_key("run-1", f"{longest}x")


def test_an_identity_is_long_enough_to_be_unique() -> None:
    identity = naming.training_identity("data", "0" * 64, "teacher", "student", "prompt")

    assert re.fullmatch("run-[0-9a-f]{16}", naming.run_id("bucket", "key", "v1"))
    assert re.fullmatch("log-[0-9a-f]{16}", naming.log_id("bucket", "key", "v1"))
    assert re.fullmatch("[0-9a-f]{32}", identity)
    assert naming.job_name(identity, 2) == f"search-router-{identity}-2"
    assert naming.deployment_name("model") == "model-serving"


def test_every_part_of_an_evaluation_is_in_its_jobs_name() -> None:
    parts: dict[str, Any] = {
        "data_bucket": "data",
        "judge": "judge",
        "model": "candidate",
        "dataset": b"rows",
        "rubric": "rubric",
    }
    names = {naming.evaluation_job_name(**parts)}
    for part, value in parts.items():
        names.add(naming.evaluation_job_name(**{**parts, part: value + value[:1]}))

    assert len(names) == 6
    assert all(re.fullmatch("search-router-judge-[0-9a-f]{32}", name) for name in names)


# --- money and time ------------------------------------------------------------------------------


def a_purchase(job_name: str, usd: float, days: float = 0) -> Purchase:
    return Purchase(job_name=job_name, usd=usd, started_at=START + timedelta(days=days))


def test_a_purchase_counts_for_30_days_and_not_a_second_longer() -> None:
    spending = Spending().plus(a_purchase("job-1", 12.34), 100)

    assert spending.spent(START + timedelta(days=30, seconds=-1)) == 12.34
    assert spending.spent(START + timedelta(days=30)) == 0


def test_the_last_cent_of_a_budget_can_be_spent() -> None:
    spending = Spending().plus(a_purchase("job-1", 12.34), 100)

    assert spending.plus(a_purchase("job-2", 87.66), 100).spent(START) == 100
    with pytest.raises(BudgetExceededError, match=r"12\.34 of \$100\.00 booked, .* up to \$87\.67"):
        spending.plus(a_purchase("job-2", 87.67), 100)


def test_each_change_of_the_spending_is_a_revision() -> None:
    spending = Spending().plus(a_purchase("job-1", 1), 100)

    assert (Spending().revision, spending.revision) == (0, 1)
    assert spending.minus("job-1") == Spending(revision=2)


def test_a_job_is_paid_for_only_under_its_own_name() -> None:
    spending = Spending().plus(a_purchase("job-5", 1), 100).plus(a_purchase("job-7", 1), 100)

    paid = [n for n in range(10) if spending.includes(f"job-{n}")]
    left = [purchase.job_name for purchase in spending.minus("job-6").minus("job-7").purchases]

    assert paid == [5, 7]
    assert left == ["job-5"]


@pytest.mark.parametrize(
    ("state", "limit", "reason"),
    [
        (RunState.SHARDED, timedelta(days=7), "still SHARDED after 7 days: waits"),
        (
            RunState.TRAINING,
            timedelta(days=7),
            "still TRAINING after 7 days: waits; the job is InProgress",
        ),
        (
            RunState.DEPLOYING,
            timedelta(hours=6),
            "still DEPLOYING after 6 hours: waits; the job is InProgress",
        ),
        (
            RunState.EVALUATING,
            timedelta(hours=24),
            "still EVALUATING after 24 hours: waits; the job is InProgress",
        ),
        (RunState.AWAITING_APPROVAL, timedelta(days=14), "not approved within 14 days"),
    ],
)
def test_a_run_may_stay_in_a_state_until_its_deadline(
    state: RunState, limit: timedelta, reason: str
) -> None:
    run = a_run(state, reason="waits")

    assert not is_overdue(run, START + limit - timedelta(microseconds=1))
    assert is_overdue(run, START + limit)
    assert expiry_reason(run) == reason


@pytest.mark.parametrize("state", [RunState.PROMOTED, RunState.REJECTED, RunState.FAILED])
def test_a_run_that_ended_has_no_deadline(state: RunState) -> None:
    assert not is_overdue(a_run(state), START + timedelta(days=1_000))


@pytest.mark.parametrize("seconds", [0, 1, 86_400])
def test_a_model_is_retired_from_the_second_of_its_end_of_life(seconds: int) -> None:
    model = ModelLifecycle("amazon.nova-pro-v1:0", "ACTIVE", START)

    check_lifecycle(model, START - timedelta(seconds=1))
    with pytest.raises(InvalidInputError, match="model retired on"):
        check_lifecycle(model, START + timedelta(seconds=seconds))


@pytest.mark.parametrize("status", ["", "ABSENT", "LEGACY"])
def test_only_an_active_model_takes_new_jobs(status: str) -> None:
    with pytest.raises(InvalidInputError, match="lifecycle state"):
        check_lifecycle(ModelLifecycle("amazon.nova-pro-v1:0", status, None), START)


# --- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("cut", [0, 1, 7, 8, 9])
def test_a_line_of_exactly_the_limit_is_whole(end: bytes, cut: int) -> None:
    def lines(body: bytes) -> list[Line]:
        return list(split_lines([body[:cut], body[cut:]], 8))

    assert lines(b"x" * 8 + end) == [Line(1, 0, b"x" * 8, 8)]
    (over,) = lines(b"x" * 9 + end)
    assert (over.number, over.offset, over.data) == (1, 0, None)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_of_exactly_the_limit_is_found_at_its_offset(end: bytes) -> None:
    body = b"a\n" + b"x" * 8 + end + b"b\n"

    for cut in range(len(body)):
        found = list(lines_at([body[:cut], body[cut:]], [2, 10 + len(end)], 8))
        assert [(line.number, line.data) for line in found] == [(2, b"x" * 8), (3, b"b")]


def test_a_query_of_a_log_has_at_most_4000_bytes() -> None:
    dialect = Dialect(format=RowFormat.TEXT, query_field="query")

    for query, fits in (("é" * 2_000, True), ("é" * 2_000 + "x", False)):
        data = query.encode("utf-8")
        row = read_row(Line(1, 0, data, len(data)), dialect)
        assert isinstance(row, LogRow if fits else RejectedRow)


def test_a_training_record_has_at_most_16000_bytes() -> None:
    def accepted(size: int) -> int:
        around = len(training_line("dogs", "", MODALITIES, EVEN, None)) - 1
        line = training_line("dogs", "x" * (size - around), MODALITIES, EVEN, None)
        assert len(line) == size + 1
        file = PromptFile("", read=lambda: [line])
        return len(list(read_prompts(file, MODALITIES)))

    assert accepted(16_000) == 1
    assert accepted(16_001) == 0


def selected(rows: int) -> Selection:
    builder = IntakeBuilder(IntakeRules(MODALITIES, 0.0))
    builder.begin("a.jsonl")
    records = [PromptRecord(n, f"query {n}", EVEN, None, None) for n in range(rows)]
    for n, record in enumerate(records):
        builder.add(record, n)
    return builder.select(lambda positions: ((n, records[n]) for n in positions))


def test_a_job_needs_100_training_rows() -> None:
    assert selected(100).rejection == ""
    assert selected(99).rejection == (
        "too few training rows: 99 without duplicates and holdout. "
        "Add queries: Bedrock needs at least 100."
    )


def test_a_shard_holds_1000_rows_and_4_mib() -> None:
    def sizes(*lines: bytes) -> list[int]:
        cut = list(shards([TrainingRow("", None, line) for line in lines]))
        assert b"".join(cut) == b"".join(lines)
        return [len(shard) for shard in cut]

    mib = b"x" * 1024 * 1024
    assert sizes(*[b"x"] * 2_001) == [1_000, 1_000, 1]
    assert sizes(*[mib] * 4) == [4 * 1024 * 1024]
    assert sizes(*[mib] * 4, b"x", *[mib] * 4) == [
        4 * 1024 * 1024,
        3 * 1024 * 1024 + 1,
        1024 * 1024,
    ]
    assert sizes() == []


def test_weights_within_a_billionth_of_one_are_not_rescaled() -> None:
    assert normalise((0.5, 0.5 + 5e-10)) == (0.5, 0.5 + 5e-10)
    assert normalise((0.5, 0.5 + 5e-9)) != (0.5, 0.5 + 5e-9)


def test_a_teacher_answers_with_at_most_300_tokens() -> None:
    assert MAX_TEACHER_RESPONSE_TOKENS == 300


def test_a_judge_is_given_1000_prompts() -> None:
    labels = {f"query {n}": EVEN for n in range(1_001)}
    responses = dict.fromkeys(labels, "{}")

    rows = dataset(labels, responses, "candidate", MODALITIES).splitlines()

    assert len(rows) == 1_000
    assert b'"query 999"' in rows[-1]


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "accepted", "rejected"),
    [
        ("BUDGET_USD_PER_30_DAYS", ["0", "0.01"], ["-0.01"]),
        ("MAX_OUTPUT_TOKENS", ["1", "5000"], ["0", "5001"]),
        ("REQUESTS_PER_MINUTE", ["1"], ["0"]),
        ("ROUTE_CONCURRENCY", ["1"], ["0"]),
        ("CACHE_TTL_DAYS", ["1"], ["0"]),
        ("LOCAL_TIER_MAX_ERROR", ["0.001", "0.999"], ["0", "1"]),
        ("SHADOW_FRACTION", ["0", "1"], ["-0.01", "1.01"]),
        ("PROMOTION_MARGIN", ["0", "0.999"], ["-0.01", "1"]),
        ("HOLDOUT_FRACTION", ["0.001", "0.999"], ["0", "1"]),
        ("BATCH_QUOTA_SHARE", ["0.001", "0.999"], ["0", "1"]),
    ],
)
def test_a_setting_is_accepted_within_its_bounds(
    monkeypatch: pytest.MonkeyPatch, name: str, accepted: list[str], rejected: list[str]
) -> None:
    for variable, value in {**ENVIRONMENT, "SPLIT_QUEUE_URL": "http://queue"}.items():
        monkeypatch.setenv(variable, value)
    for value in accepted:
        monkeypatch.setenv(name, value)
        assert getattr(read_settings(), name.lower()) == float(value)
    for value in rejected:
        monkeypatch.setenv(name, value)
        with pytest.raises(ValidationError, match=name.lower()):
            read_settings()

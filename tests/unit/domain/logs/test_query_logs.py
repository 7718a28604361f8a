"""Plans: what a split may hold, the messages it becomes, and where a log may stand."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_router.domain.logs.query_logs import (
    LogPlan,
    LogState,
    QueryLog,
    SplitMessage,
    split_messages,
    split_rows,
)
from search_router.domain.splits.formats import MAX_ROW_BYTES
from search_router.domain.splits.plan import (
    MAX_SPLIT_BYTES,
    MIN_SPLIT_BYTES,
    SAMPLE_BYTES,
    Layout,
    mean_row_bytes,
    plan_splits,
)
from tests.fakes import START
from tests.records import JSONL


@given(
    size=st.integers(1, 3 * 10**7),
    row_bytes=st.integers(2, 5_000),
    requests_per_minute=st.integers(1, 100_000),
    workers=st.integers(1, 50),
)
@example(size=1, row_bytes=100, requests_per_minute=1_600, workers=50)
def test_a_plan_covers_the_log_without_gap_or_overlap(
    size: int, row_bytes: int, requests_per_minute: int, workers: int
) -> None:
    rows = split_rows(requests_per_minute, workers)

    split_bytes, splits = plan_splits(size, row_bytes, rows, workers)

    messages = list(split_messages(a_plan(size=size, split_bytes=split_bytes, splits=splits)))
    assert [message.split for message in messages] == list(range(splits))
    assert (messages[0].start, messages[-1].end) == (0, size)
    assert all(one.end == other.start for one, other in pairwise(messages))
    limit = min(MAX_SPLIT_BYTES, max(MIN_SPLIT_BYTES, rows * row_bytes))
    assert all(0 < message.end - message.start <= limit for message in messages)


def test_a_split_takes_half_of_what_a_worker_may_ask_in_its_time() -> None:
    assert split_rows(1_600, 2) == 6_000
    assert split_rows(0.1, 50) == 1
    assert plan_splits(10**9, 80, 6_000, 2)[0] == pytest.approx(6_000 * 80, rel=0.001)
    assert plan_splits(10**9, 80, 375_000, 2)[0] <= MAX_SPLIT_BYTES
    assert plan_splits(10**9, 80, 1, 50)[0] == pytest.approx(MIN_SPLIT_BYTES, rel=0.001)


def test_a_small_log_is_spread_over_the_workers_but_not_into_crumbs() -> None:
    assert plan_splits(200_000, 80, 6_000, 2) == (100_000, 2)
    assert plan_splits(MIN_SPLIT_BYTES, 80, 6_000, 2) == (MIN_SPLIT_BYTES, 1)
    assert plan_splits(1, 80, 6_000, 2) == (1, 1)


@pytest.mark.parametrize(
    ("sample", "mean"),
    [
        (b"12345\n123\n", 5.0),
        (b"12345\n123\n12", 5.0),
        (b"12345", 6.0),
        (b"\n" * 1_000 + b"12345\n", 6.0),
        (b"x" * (MAX_ROW_BYTES + 9), 100.0),
        (b"x" * (MAX_ROW_BYTES + 9) + b"\n12345\n", 6.0),
        (b"\n \n", 100.0),
    ],
)
def test_blank_and_oversized_lines_do_not_spoil_the_mean(sample: bytes, mean: float) -> None:
    assert mean_row_bytes(sample) == mean


def test_the_plan_says_how_long_the_worst_case_takes() -> None:
    plan = a_plan(rows=1_400_000, requests_per_minute=2_000)

    assert plan.hours_if_distinct == 11.67
    assert '"hours_if_distinct":11.67' in plan.model_dump_json()
    assert LogPlan.model_validate_json(plan.model_dump_json()) == plan
    assert a_plan(rows=5).hours_if_distinct == 0.0
    log = QueryLog(
        log_id=plan.log_id, state=LogState.PLANNED, source_bucket="b", source_key="k",
        source_version=None, splits=234, rows=plan.rows, hours_if_distinct=11.67,
        created_at=START, updated_at=START,
    )  # fmt: skip
    assert log.outlook.startswith("about 1,400,000 rows in 234 splits; 11.67 hours at the batch")
    counted = log.model_copy(update={"rows_are_counted": True})
    assert counted.outlook.startswith("1,400,000 rows in 234 splits")


def test_a_plan_with_cuts_gives_splits_of_whole_rows() -> None:
    plan = a_plan(cuts=(10, 25, 26), layout=Layout.COPY, splits=3)

    messages = list(split_messages(plan))

    assert [(m.split, m.start, m.end) for m in messages] == [(0, 0, 10), (1, 10, 25), (2, 25, 26)]
    assert {m.layout for m in messages} == {Layout.COPY}


def test_the_same_plan_gives_the_same_messages_and_never_the_text() -> None:
    plan = a_plan(size=100, split_bytes=34, splits=3)

    assert list(split_messages(plan)) == list(split_messages(plan))
    assert [(m.start, m.end) for m in split_messages(plan)] == [(0, 34), (34, 68), (68, 100)]
    assert all(message.source == plan.source for message in split_messages(plan))
    assert all(len(message.model_dump_json()) < 512 for message in split_messages(plan))


def a_plan(**changes: object) -> LogPlan:
    plan = LogPlan(
        log_id="log-0123456789ab",
        bucket="uploads",
        key="query-logs/a.jsonl",
        version_id="v1",
        size=0,
        dialect=JSONL,
        champion_version=1,
        split_bytes=1,
        splits=1,
    )
    return plan.model_copy(update=changes)


def test_a_log_only_moves_forward_and_its_end_is_the_end() -> None:
    moves = {(before, after) for after in LogState for before in after.predecessors}

    assert moves == {
        (LogState.PLANNED, LogState.ROUTING),
        (LogState.PLANNED, LogState.ROUTED),
        (LogState.ROUTING, LogState.ROUTED),
        (LogState.PLANNED, LogState.FAILED),
        (LogState.ROUTING, LogState.FAILED),
    }


def test_a_message_that_newer_code_sent_can_be_read_after_a_rollback() -> None:
    [message] = split_messages(a_plan(size=1))
    newer = {**message.model_dump(mode="json"), "added_later": 1}

    assert SplitMessage.model_validate(newer) == message


def test_a_message_that_older_code_sent_is_a_byte_range() -> None:
    [message] = split_messages(a_plan(size=1))
    older = message.model_dump(mode="json", exclude={"layout"})

    assert SplitMessage.model_validate(older).layout is Layout.RANGE


def test_a_row_may_be_as_long_as_a_sample_at_least() -> None:
    assert SAMPLE_BYTES >= MAX_ROW_BYTES

"""The tally of a tick: recent failures, stuck logs and due retries."""

from datetime import timedelta

import pytest

from search_router.domain.lifecycle.runs import RunState
from search_router.domain.lifecycle.tracking import UPLOAD_DEADLINE, Tracking, is_due
from search_router.domain.logs.query_logs import LogState, QueryLog
from tests.fakes import START, UPLOAD_BUCKET
from tests.records import a_run

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def a_log(state: LogState) -> QueryLog:
    return QueryLog(
        log_id="log-0123456789ab",
        state=state,
        source_bucket=UPLOAD_BUCKET,
        source_key="query-logs/a.jsonl",
        source_version="v1",
        splits=3,
        created_at=START,
        updated_at=START,
    )


@pytest.mark.parametrize(
    ("minutes", "due"),
    [(0, False), (19, False), (20, True), (39, True), (40, False), (600, False),
     (24 * 60 + 19, False), (24 * 60 + 20, True), (24 * 60 + 40, False)],
)  # fmt: skip
def test_a_retry_is_due_after_the_patience_and_then_once_a_day(minutes: int, due: bool) -> None:
    assert is_due(minutes * MINUTE, 20 * MINUTE) is due


def test_a_retry_is_due_for_four_ticks() -> None:
    ticks = [minutes for minutes in range(0, 24 * 60, 5) if is_due(minutes * MINUTE, 20 * MINUTE)]

    assert ticks == [20, 25, 30, 35]


def test_two_lost_ticks_and_a_late_one_do_not_miss_the_retry() -> None:
    ticks = [timedelta(seconds=seconds) for seconds in (1_199.9, 2_100.5)]

    assert any(is_due(waited, 20 * MINUTE) for waited in ticks)


def test_runs_are_counted_by_state_and_failures_while_they_are_recent() -> None:
    tracking = Tracking()
    for state in (RunState.FAILED, RunState.STOPPED, RunState.PROMOTED):
        tracking.count_run(a_run(state), START + 14 * MINUTE)
        tracking.count_run(a_run(state), START + 15 * MINUTE)

    assert dict(tracking.runs) == {"FAILED": 2, "STOPPED": 2, "PROMOTED": 2}
    assert tracking.runs_failed == 2


def test_unfinished_logs_are_stuck_after_the_deadline() -> None:
    tracking = Tracking()
    for state in LogState:
        tracking.count_log(a_log(state), START + UPLOAD_DEADLINE - MINUTE)
    assert (tracking.logs_stuck, tracking.logs_failed) == ([], 0)

    for state in LogState:
        tracking.count_log(a_log(state), START + UPLOAD_DEADLINE)
    assert len(tracking.logs_stuck) == 2, "PLANNED and ROUTING"
    assert tracking.logs.total() == 8


def test_a_failed_log_is_recent_for_15_minutes() -> None:
    tracking = Tracking()
    tracking.count_log(a_log(LogState.FAILED), START + 14 * MINUTE)
    tracking.count_log(a_log(LogState.FAILED), START + HOUR)

    assert tracking.logs_failed == 1

"""On schedule: poll what sends no event, and repeat what an event may have lost.

Bedrock sends no event when a deployment becomes Active, and calls its job events best effort.
"""

from collections import Counter
from datetime import datetime, timedelta

from search_router.domain.errors import SearchRouterError
from search_router.domain.events import QueryLogPartsComplete
from search_router.domain.query_logs import LogState, QueryLog
from search_router.domain.runs import Run, RunState
from search_router.ports import (
    Clock,
    EventPublisher,
    ModelCustomizer,
    QueryLogLedger,
    RunRepository,
)
from search_router.use_cases.run_lifecycle import RunLifecycle

PATIENCE = timedelta(minutes=20)  # longer than any of our functions may run
_UNFINISHED_LOGS = frozenset({LogState.PLANNED, LogState.ROUTING})


def track_runs(
    *,
    runs: RunRepository,
    ledger: QueryLogLedger,
    customizer: ModelCustomizer,
    events: EventPublisher,
    clock: Clock,
) -> tuple[Counter[str], list[SearchRouterError]]:
    """Look after every open run and log once; return runs by state, and what went wrong.

    One run's trouble does not keep the others waiting.
    """
    lifecycle = RunLifecycle(runs, events, clock)
    states: Counter[str] = Counter()
    errors: list[SearchRouterError] = []
    for run in runs.all():
        after = run
        try:
            after = _track(run, lifecycle, customizer)
        except SearchRouterError as error:
            errors.append(error)
        states[after.state.value] += 1
    for log in ledger.all():
        if _is_stuck(log, clock.now()):
            events.publish(QueryLogPartsComplete(log_id=log.log_id))
    return states, errors


def _track(run: Run, lifecycle: RunLifecycle, customizer: ModelCustomizer) -> Run:
    if run.state is RunState.TRAINING:
        return lifecycle.follow_job(run, customizer.job(run.job_arn), customizer)
    if run.state is RunState.DEPLOYING:
        return lifecycle.follow_deployment(run, customizer.deployment(run.deployment_arn))
    if run.is_open and lifecycle.clock.now() - run.updated_at >= PATIENCE:
        waiting = lifecycle.note(run)  # so that the next repetition waits as long
        lifecycle.announce(waiting)
        return waiting
    return lifecycle.tear_down_rejected(run, customizer)


def _is_stuck(log: QueryLog, now: datetime) -> bool:
    overdue = now - log.updated_at >= PATIENCE
    return log.state in _UNFINISHED_LOGS and log.is_complete and overdue

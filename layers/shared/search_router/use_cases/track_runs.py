"""On schedule: poll what sends no event, and repeat what an event may have lost.

Bedrock sends no event when a deployment becomes Active, and calls its job events best effort. S3's
and our own events get lost rarely, and then nobody else would notice.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from search_router.domain import naming
from search_router.domain.errors import SearchRouterError
from search_router.domain.events import QueryLogPartsComplete, RouterEvent, UploadMissed
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.lifecycle.tracking import RECENT, Tracking, is_due, is_unfinished
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.uploads import (
    PROMPTS_PREFIX,
    QUERY_LOGS_PREFIX,
    ObjectRef,
    ignored_prompts,
    is_folder,
)
from search_router.ports import (
    ChampionRepository,
    Clock,
    EventPublisher,
    ObjectStore,
    QueryLogLedger,
    RunRepository,
    UploadStore,
)
from search_router.use_cases.deployment_slots import free_deployment_slots
from search_router.use_cases.open_runs import PATIENCE, Bedrock, RunTracker
from search_router.use_cases.run_lifecycle import RunLifecycle

UPLOAD_PATIENCE = timedelta(minutes=15)  # S3's events take seconds, seldom minutes
UPLOAD_HORIZON = timedelta(days=7)  # what is older is a person's business: the alarm has rung


def track_runs(
    upload_bucket: str,
    *,
    runs: RunRepository,
    champions: ChampionRepository,
    ledger: QueryLogLedger,
    uploads: UploadStore,
    bedrock: Bedrock,
    objects: ObjectStore,
    events: EventPublisher,
    clock: Clock,
) -> Tracking:
    """Look after every open run, log and upload once; return the tally.

    One run's trouble does not keep the others waiting: it is in the tally's errors. What is closed
    is settled when it is no news any more; no tick reads it again.
    """
    tracker = RunTracker(RunLifecycle(runs, events, clock), bedrock, objects)
    tracking = Tracking()
    for run in runs.open():
        _track_run(run, tracker, runs, tracking)
    try:
        versions = _track_logs(ledger, events, clock.now(), tracking)
        if tracking.runs[RunState.TRAINING.value]:
            free_deployment_slots(champions, bedrock.deployments, versions)
        for source, uploaded in _missed(upload_bucket, uploads, runs, ledger, clock.now()):
            tracking.uploads_missed += 1
            if is_due(clock.now() - uploaded, UPLOAD_PATIENCE):
                events.publish(UploadMissed.of(source))
    except SearchRouterError as error:
        tracking.errors.append(error)
    return tracking


def _track_run(run: Run, tracker: RunTracker, runs: RunRepository, tracking: Tracking) -> None:
    now = tracker.lifecycle.clock.now()
    after = run
    try:
        after = tracker.track(run)
        if after.is_closed and not after.judging and now - after.updated_at >= RECENT:
            runs.close(after)
    except SearchRouterError as error:
        tracking.errors.append(error)
    tracking.count_run(after, now)


def _track_logs(
    ledger: QueryLogLedger, events: EventPublisher, now: datetime, tracking: Tracking
) -> set[int]:
    """Look after the open logs; return the champion versions that unfinished ones are routed by."""
    versions = set()
    for log in ledger.open():
        tracking.count_log(log, now)
        if is_unfinished(log):
            versions.add(log.champion_version)
        elif now - log.updated_at >= RECENT:
            ledger.close(log)
        if (event := _repeated(log, now)) is not None:
            events.publish(event)
    return versions


def _repeated(log: QueryLog, now: datetime) -> RouterEvent | None:
    """Return the event that a waiting log should have had: its last part's, or its upload's."""
    if not is_unfinished(log) or not is_due(now - log.updated_at, PATIENCE):
        return None
    if log.is_complete:
        return QueryLogPartsComplete(log_id=log.log_id)
    if log.state is LogState.PLANNED:  # the planner died before every split was queued
        return UploadMissed.of(ObjectRef(log.source_bucket, log.source_key, log.source_version))
    return None


def _missed(
    bucket: str,
    uploads: UploadStore,
    runs: RunRepository,
    ledger: QueryLogLedger,
    now: datetime,
) -> Iterator[tuple[ObjectRef, datetime]]:
    """Yield uploads that have waited too long without becoming a run or a log, and since when."""
    for prefix in (PROMPTS_PREFIX, QUERY_LOGS_PREFIX):
        find = runs.get if prefix == PROMPTS_PREFIX else ledger.get
        for source, uploaded, _ in uploads.latest(bucket, prefix):
            if UPLOAD_PATIENCE <= now - uploaded < UPLOAD_HORIZON:
                expected = _expected_id(source)
                if expected is not None and find(expected) is None:
                    yield source, uploaded


def _expected_id(source: ObjectRef) -> str | None:
    """Return what an upload becomes; None for one that is ignored on purpose."""
    if source.key.startswith(PROMPTS_PREFIX):
        return None if ignored_prompts(source.key) else naming.run_id(*source)
    return None if is_folder(source.key) else naming.log_id(*source)

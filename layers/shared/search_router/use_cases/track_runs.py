"""On schedule: poll what sends no event, and repeat what an event may have lost.

Bedrock sends no event when a deployment becomes Active, and calls its job events best effort. S3's
and our own events get lost rarely, and then nobody else would notice.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from search_router.domain import naming
from search_router.domain.errors import SearchRouterError
from search_router.domain.events import QueryLogPartsComplete, RouterEvent, UploadMissed
from search_router.domain.query_logs import LogState, QueryLog
from search_router.domain.runs import Run, RunState
from search_router.domain.tracking import Tracking, is_due, is_unfinished
from search_router.domain.uploads import (
    PROMPTS_PREFIX,
    QUERY_LOGS_PREFIX,
    ObjectRef,
    ignored_prompts,
    is_folder,
)
from search_router.ports import (
    Clock,
    Deployments,
    DistillationJobs,
    EventPublisher,
    QueryLogLedger,
    RunRepository,
    UploadStore,
)
from search_router.use_cases.run_lifecycle import RunLifecycle

PATIENCE = timedelta(minutes=20)  # longer than any of our functions may run
UPLOAD_PATIENCE = timedelta(minutes=15)  # S3's events take seconds, seldom minutes
UPLOAD_HORIZON = timedelta(days=7)  # what is older is a person's business: the alarm has rung


def track_runs(
    upload_bucket: str,
    *,
    runs: RunRepository,
    ledger: QueryLogLedger,
    uploads: UploadStore,
    jobs: DistillationJobs,
    deployments: Deployments,
    events: EventPublisher,
    clock: Clock,
) -> Tracking:
    """Look after every open run, log and upload once; return the tally.

    One run's trouble does not keep the others waiting: it is in the tally's errors.
    """
    lifecycle = RunLifecycle(runs, events, clock)
    tracking = Tracking()
    known: set[str] = set()
    for run in runs.all():
        known.add(run.run_id)
        after = run
        try:
            after = _track(run, lifecycle, jobs, deployments)
        except SearchRouterError as error:
            tracking.errors.append(error)
        tracking.count_run(after, clock.now())
    try:
        for log in ledger.all():
            known.add(log.log_id)
            tracking.count_log(log, clock.now())
            if (event := _repeated(log, clock.now())) is not None:
                events.publish(event)
        for source, uploaded in _missed(upload_bucket, uploads, known, clock.now()):
            tracking.uploads_missed += 1
            if is_due(clock.now() - uploaded, UPLOAD_PATIENCE):
                events.publish(UploadMissed.of(source))
    except SearchRouterError as error:
        tracking.errors.append(error)
    return tracking


def _track(
    run: Run, lifecycle: RunLifecycle, jobs: DistillationJobs, deployments: Deployments
) -> Run:
    if run.state is RunState.TRAINING:
        return lifecycle.follow_job(run, jobs.job(run.job_arn), deployments)
    if run.state is RunState.DEPLOYING:
        return lifecycle.follow_deployment(run, deployments.deployment(run.deployment_arn))
    if run.is_open and lifecycle.clock.now() - run.updated_at >= PATIENCE:
        waiting = lifecycle.note(run)  # so that the next repetition waits as long
        lifecycle.announce(waiting)
        return waiting
    return lifecycle.tear_down_rejected(run, deployments)


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
    bucket: str, uploads: UploadStore, known: set[str], now: datetime
) -> Iterator[tuple[ObjectRef, datetime]]:
    """Yield uploads that have waited too long without becoming a run or a log, and since when."""
    for prefix in (PROMPTS_PREFIX, QUERY_LOGS_PREFIX):
        for source, uploaded in uploads.latest(bucket, prefix):
            waited = now - uploaded
            if UPLOAD_PATIENCE <= waited < UPLOAD_HORIZON:
                expected = _expected_id(source)
                if expected is not None and expected not in known:
                    yield source, uploaded


def _expected_id(source: ObjectRef) -> str | None:
    """Return what an upload becomes; None for one that is ignored on purpose."""
    if source.key.startswith(PROMPTS_PREFIX):
        return None if ignored_prompts(source.key) else naming.run_id(*source)
    return None if is_folder(source.key) else naming.log_id(*source)

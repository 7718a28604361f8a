"""On schedule: poll statuses without events, and republish events that may have been lost.

Bedrock sends no event when a deployment becomes Active, and its job events are best effort. Events
of S3 and our own are rarely lost, and this is the only place where that is noticed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from search_router.domain import naming
from search_router.domain.errors import NotFoundError, SearchRouterError
from search_router.domain.events import (
    QueryLogPartsComplete,
    RouterEvent,
    SegmentPartsComplete,
    UploadMissed,
)
from search_router.domain.lifecycle.runs import Deployment, Run, RunState
from search_router.domain.lifecycle.tracking import (
    DEPLOYMENT_LISTED,
    RECENT,
    Tracking,
    expiry_reason,
    is_due,
    is_overdue,
)
from search_router.domain.splits.ledger import SplitMarker, UploadHead
from search_router.domain.uploads import (
    PROMPTS_PREFIX,
    QUERY_LOGS_PREFIX,
    SEGMENTS_PREFIX,
    ObjectRef,
    ignored_prompts,
    is_folder,
)
from search_router.ports import (
    ChampionRepository,
    DistillationJobs,
    QueryLogLedger,
    SegmentUploadLedger,
    UploadLedger,
    UploadStore,
)
from search_router.use_cases.deploy_model import RunDeployments
from search_router.use_cases.judging import Judge
from search_router.use_cases.run_lifecycle import RunLifecycle
from search_router.use_cases.split_upload import QUEUE_RETENTION

HeadT = TypeVar("HeadT", bound=UploadHead)
MarkerT = TypeVar("MarkerT", bound=SplitMarker)
ItemT = TypeVar("ItemT")

PATIENCE = timedelta(minutes=20)  # longer than the timeout of every function
UPLOAD_PATIENCE = timedelta(minutes=15)  # S3's events take seconds, rarely minutes
MAX_LOOKUPS = 2_000  # reads of records in one tick: some 20 seconds
_TICK_SECONDS = 300
UPLOAD_HORIZON = timedelta(days=7)  # older uploads are left to the operator; the alarm has fired


@dataclass(frozen=True, slots=True)
class TrackRuns:
    """Follows every open run, log and upload; one tick of the schedule."""

    upload_bucket: str
    lifecycle: RunLifecycle
    run_deployments: RunDeployments
    jobs: DistillationJobs
    judge: Judge
    champions: ChampionRepository
    ledger: QueryLogLedger
    segments: SegmentUploadLedger
    uploads: UploadStore

    def __call__(self) -> Tracking:
        """Return the tally; an error of one run is in it and does not stop the others."""
        tracking = Tracking()
        for run in self.lifecycle.runs.open():
            self._track_run(run, tracking)
        try:
            versions = self._track_logs(tracking)
            self._track_segments(tracking)
            if tracking.runs[RunState.TRAINING.value]:
                self.run_deployments.free_slots(self.champions, versions)
            self._track_uploads(tracking)
        except SearchRouterError as error:
            tracking.errors.append(error)
        return tracking

    def _track_run(self, run: Run, tracking: Tracking) -> None:
        now = self.lifecycle.now
        try:
            run = self._followed_or_expired(run)
            if run.is_closed and run.judging is None and now - run.updated_at >= RECENT:
                self.lifecycle.runs.close(run)
        except SearchRouterError as error:
            tracking.errors.append(error)
        tracking.count_run(run, now)

    def _followed_or_expired(self, run: Run) -> Run:
        """Move a run on as far as possible, and end it after its state's deadline.

        Raises SearchRouterError before the deadline only.
        """
        now = self.lifecycle.now
        try:
            after = self._followed(run)
        except SearchRouterError:
            if not is_overdue(run, now):
                raise
            after = run
        if after.state is not run.state or not is_overdue(after, now):
            return after
        awaits = after.state is RunState.AWAITING_APPROVAL
        end = RunState.REJECTED if awaits else RunState.FAILED
        return self.lifecycle.move(after.moved(end, now, expiry_reason(after)))

    def _followed(self, run: Run) -> Run:
        if run.state is RunState.TRAINING and run.training is not None:
            job = self.jobs.job(run.training.job_arn)
            return self.run_deployments.follow_job(run, job)
        if run.state is RunState.DEPLOYING and run.deployment is not None:
            return self._followed_deployment(run, run.deployment)
        if run.is_open:
            return self._republished(run)
        now = self.lifecycle.now
        if (evaluation := self.judge.follow(run, now)) is not None:
            run = self.lifecycle.update(run.evaluated(evaluation, None, now))
        return self.run_deployments.delete_unused(run)

    def _followed_deployment(self, run: Run, deployment: Deployment) -> Run:
        now = self.lifecycle.now
        try:
            view = self.run_deployments.deployments.deployment(deployment.arn)
        except NotFoundError:
            if now - run.state_since < DEPLOYMENT_LISTED:
                raise
            reason = "the deployment was deleted before the evaluation"
            deleted = deployment.replace(deleted=True)
            return self.lifecycle.move(run.moved(RunState.FAILED, now, reason, deployment=deleted))
        return self.run_deployments.follow_deployment(run, view)

    def _republished(self, run: Run) -> Run:
        """Publish the run's event again if its consumer was not invoked, or died."""
        now = self.lifecycle.now
        is_abandoned = run.evaluating_until is not None and run.evaluating_until <= now
        if not is_abandoned and now - run.updated_at < PATIENCE:
            return run
        # The update makes the next tick wait for PATIENCE again.
        return self.lifecycle.move(run.claimed(None, now))

    def _track_logs(self, tracking: Tracking) -> set[int]:
        """Follow the open logs; return the champion versions that unfinished ones use."""
        now, versions = self.lifecycle.now, set()
        for log in self.ledger.open():
            tracking.count_log(log, now)
            if log.state.is_unfinished:
                versions.add(log.champion_version)
            self._follow(self.ledger, log, QueryLogPartsComplete(log_id=log.log_id))
        return versions

    def _track_segments(self, tracking: Tracking) -> None:
        """Follow the open uploads of segments."""
        for upload in self.segments.open():
            tracking.count_segments(upload, self.lifecycle.now)
            complete = SegmentPartsComplete(upload_id=upload.upload_id)
            self._follow(self.segments, upload, complete)

    def _follow(
        self, ledger: UploadLedger[HeadT, MarkerT], head: HeadT, complete: RouterEvent
    ) -> None:
        """Close an upload that ended, or publish the event that an unfinished one missed."""
        now = self.lifecycle.now
        if not head.state.is_unfinished:
            if now - head.updated_at >= RECENT:
                ledger.close(head)
        elif is_due(now - head.updated_at, PATIENCE):
            if head.is_complete:
                self.lifecycle.events.publish(complete)
            elif head.state is head.planned or now - head.updated_at >= QUEUE_RETENTION:
                # The planner died before every split was queued, or the queue deleted the rest.
                self.lifecycle.events.publish(UploadMissed.of(head.source))

    def _track_uploads(self, tracking: Tracking) -> None:
        now = self.lifecycle.now
        for source, uploaded in self._missed_uploads(now):
            tracking.uploads_missed += 1
            if is_due(now - uploaded, UPLOAD_PATIENCE):
                self.lifecycle.events.publish(UploadMissed.of(source))

    def _missed_uploads(self, now: datetime) -> Iterator[tuple[ObjectRef, datetime]]:
        """Yield the uploads that are in no record, and their times."""
        finders: dict[str, Callable[[str], object]] = {
            PROMPTS_PREFIX: self.lifecycle.runs.get,
            QUERY_LOGS_PREFIX: self.ledger.get,
            SEGMENTS_PREFIX: self.segments.get,
        }
        due = [
            (source, uploaded, find)
            for prefix, find in finders.items()
            for source, uploaded, _ in self.uploads.latest(self.upload_bucket, prefix)
            if UPLOAD_PATIENCE <= now - uploaded < UPLOAD_HORIZON
        ]
        for source, uploaded, find in _share(due, now):
            expected = _expected_id(source)
            if expected is not None and find(expected) is None:
                yield source, uploaded


def _share(due: list[ItemT], now: datetime) -> list[ItemT]:
    """Return the uploads to look up in this tick; later ticks take the others in turn."""
    if len(due) <= MAX_LOOKUPS:
        return due
    start = int(now.timestamp() // _TICK_SECONDS) * MAX_LOOKUPS % len(due)
    return (due + due)[start : start + MAX_LOOKUPS]


def _expected_id(source: ObjectRef) -> str | None:
    """Return the id of an upload's record; None for an upload that is ignored."""
    if source.key.startswith(PROMPTS_PREFIX):
        return None if ignored_prompts(source.key) else naming.run_id(*source)
    if is_folder(source.key):
        return None
    if source.key.startswith(SEGMENTS_PREFIX):
        return naming.segments_id(*source)
    return naming.log_id(*source)

"""What the schedule does about one run that is not settled."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from search_router.domain.errors import NotFoundError, SearchRouterError
from search_router.domain.lifecycle.deadlines import DELETED, expiry_reason, is_overdue
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.ports import Deployments, DistillationJobs, EvaluationJobs, ObjectStore
from search_router.use_cases.judging import follow_judging
from search_router.use_cases.run_lifecycle import RunLifecycle

PATIENCE = timedelta(minutes=20)  # longer than any of our functions may run


@dataclass(frozen=True, slots=True)
class Bedrock:
    """The parts of Bedrock's control plane that the schedule looks into."""

    jobs: DistillationJobs
    deployments: Deployments
    judges: EvaluationJobs


@dataclass(frozen=True, slots=True)
class RunTracker:
    """Follows jobs and deployments, repeats lost events, ends what is overdue, tidies up."""

    lifecycle: RunLifecycle
    bedrock: Bedrock
    objects: ObjectStore

    def track(self, run: Run) -> Run:
        """Bring a run as far as it can come now; one whose time is up is ended with the reason.

        Raises SearchRouterError while there is still time for the trouble to pass.
        """
        try:
            after = self._followed(run)
        except SearchRouterError:
            if not is_overdue(run, self._now):
                raise
            after = run
        if after.state is run.state and is_overdue(after, self._now):
            return self._expired(after)
        return after

    def _followed(self, run: Run) -> Run:
        if run.state is RunState.TRAINING:
            return self.lifecycle.follow_job(
                run, self.bedrock.jobs.job(run.job_arn), self.bedrock.deployments
            )
        if run.state is RunState.DEPLOYING:
            return self._followed_deployment(run)
        if run.is_open:
            return self._reminded(run)
        judged = follow_judging(
            run, lifecycle=self.lifecycle, jobs=self.bedrock.judges, objects=self.objects
        )
        return self.lifecycle.tear_down_ended(judged, self.bedrock.deployments)

    def _followed_deployment(self, run: Run) -> Run:
        try:
            deployment = self.bedrock.deployments.deployment(run.deployment_arn)
        except NotFoundError:
            if self._now - run.in_state_since < DELETED:
                raise
            reason = "its deployment was deleted before the model was evaluated"
            return self.lifecycle.move(run, RunState.FAILED, reason=reason, torn_down=True)
        return self.lifecycle.follow_deployment(run, deployment)

    def _reminded(self, run: Run) -> Run:
        """Announce again what nobody seems to have heard, or what was killed at its work."""
        is_abandoned = run.evaluating_until is not None and run.evaluating_until <= self._now
        if not is_abandoned and self._now - run.updated_at < PATIENCE:
            return run
        waiting = self.lifecycle.update(run, evaluating_until=None)  # the next one waits as long
        self.lifecycle.publish(waiting)
        return waiting

    def _expired(self, run: Run) -> Run:
        awaits = run.state is RunState.AWAITING_APPROVAL
        end = RunState.REJECTED if awaits else RunState.FAILED
        return self.lifecycle.move(run, end, reason=expiry_reason(run))

    @property
    def _now(self) -> datetime:
        return self.lifecycle.clock.now()

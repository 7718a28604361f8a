"""The steps of a run that several functions take: they move it, and then say so on the bus.

A step that finds itself done, because the event came twice or the function died after the write,
says so again: what is announced is announced at least once.
"""

from dataclasses import dataclass
from typing import Unpack

from search_router.domain import naming
from search_router.domain.errors import QuotaExceededError
from search_router.domain.events import (
    ModelDeployed,
    ModelEvaluated,
    ModelPromoted,
    ModelRejected,
    PromptsSharded,
    RouterEvent,
    RunFailed,
)
from search_router.domain.lifecycle.distillation import DeploymentView, JobView
from search_router.domain.lifecycle.runs import (
    DeploymentStatus,
    JobStatus,
    Run,
    RunChanges,
    RunState,
)
from search_router.ports import Clock, Deployments, EventPublisher, RunRepository

_ENDED_JOBS = {
    JobStatus.FAILED.value: RunState.FAILED,
    JobStatus.STOPPED.value: RunState.STOPPED,
}
_WITHOUT_CHAMPION = frozenset({RunState.REJECTED, RunState.FAILED, RunState.STOPPED})


@dataclass(frozen=True, slots=True)
class RunLifecycle:
    """Moves runs by conditional writes; losing one raises ConflictError and publishes nothing."""

    runs: RunRepository
    events: EventPublisher
    clock: Clock

    def move(self, run: Run, state: RunState, **changes: Unpack[RunChanges]) -> Run:
        """Store the run in another state and announce it."""
        moved = run.moved(state, self.clock.now(), **changes)
        self.runs.replace(moved)
        self.publish(moved)
        return moved

    def update(self, run: Run, **changes: Unpack[RunChanges]) -> Run:
        """Store more about the run in the state it is in."""
        noted = run.updated(self.clock.now(), **changes)
        self.runs.replace(noted)
        return noted

    def publish(self, run: Run) -> None:
        """Publish what the run's state means to others, if anything."""
        event = announcement(run)
        if event is not None:
            self.events.publish(event)

    def follow_job(self, run: Run, job: JobView, deployments: Deployments) -> Run:
        """Move a TRAINING run to where its job is; an unknown status changes nothing."""
        if run.state in (RunState.FAILED, RunState.STOPPED):
            self.publish(run)
        if run.state is not RunState.TRAINING:
            return run
        if job.status == JobStatus.COMPLETED:
            return self._deploy(run, job, deployments)
        if job.status in _ENDED_JOBS:
            reason = job.failure or f"the distillation job is {job.status}"
            return self.move(run, _ENDED_JOBS[job.status], reason=reason, job_status=job.status)
        return run if job.status == run.job_status else self.update(run, job_status=job.status)

    def follow_deployment(self, run: Run, deployment: DeploymentView) -> Run:
        """Move a DEPLOYING run to where its deployment is; any other run stays."""
        if run.state is not RunState.DEPLOYING:
            return run
        if deployment.status == DeploymentStatus.ACTIVE:
            return self.move(run, RunState.EVALUATING, deployment_status=deployment.status)
        if deployment.status == DeploymentStatus.FAILED:
            reason = deployment.failure or "the deployment failed"
            return self.move(
                run, RunState.FAILED, reason=reason, deployment_status=deployment.status
            )
        return run

    def tear_down_ended(self, run: Run, deployments: Deployments) -> Run:
        """Delete the deployment of a run that ended without a champion, unless others need it.

        Runs of the same bytes share one: the last of them deletes it. The model is kept. It comes
        after the end; `track_runs` repeats it until it is noted.
        """
        if run.state not in _WITHOUT_CHAMPION or run.torn_down or not run.deployment_arn:
            return run
        others = (self.runs.get(other) for other in self.runs.runs_of_job(run.job_name))
        if any(_may_need(other, run.deployment_arn) for other in others if other is not None):
            return run
        deployments.tear_down(run.deployment_arn)
        return self.update(run, torn_down=True)

    def _deploy(self, run: Run, job: JobView, deployments: Deployments) -> Run:
        name = naming.deployment_name(job.name)
        try:
            arn = deployments.deploy(name, job.model_arn)
        except QuotaExceededError as error:  # track_runs tries again until a place is free
            return self.update(run, reason=str(error), job_status=job.status)
        return self.move(
            run,
            RunState.DEPLOYING,
            reason="",
            job_status=job.status,
            model_arn=job.model_arn,
            deployment_name=name,
            deployment_arn=arn,
            deployment_status=DeploymentStatus.CREATING.value,
        )


def _may_need(run: Run, deployment_arn: str) -> bool:
    """Tell whether a run serves by a deployment, or may come to."""
    serves = run.promoted and run.deployment_arn == deployment_arn
    return serves or run.is_open or run.state is RunState.AWAITING_APPROVAL


def announcement(run: Run) -> RouterEvent | None:
    """Return the event that a run's state stands for; TRAINING and DEPLOYING have none."""
    match run.state:
        case RunState.SHARDED:
            return PromptsSharded(run_id=run.run_id)
        case RunState.EVALUATING if run.evaluation is None:
            return ModelDeployed(run_id=run.run_id)
        case RunState.EVALUATING:
            return ModelEvaluated(run_id=run.run_id)
        case RunState.PROMOTED:
            version = run.champion_version or 0
            return ModelPromoted(run_id=run.run_id, champion_version=version)
        case RunState.REJECTED:
            return ModelRejected(run_id=run.run_id, reason=run.reason)
        case RunState.FAILED | RunState.STOPPED:
            return RunFailed(run_id=run.run_id, reason=run.reason)
    return None

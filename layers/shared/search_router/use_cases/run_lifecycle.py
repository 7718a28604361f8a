"""The steps of a run that several functions take: they move it, and then say so on the bus."""

from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.distillation import DeploymentView, JobView
from search_router.domain.errors import QuotaExceededError
from search_router.domain.events import ModelDeployed, ModelRejected, RunFailed
from search_router.domain.runs import DeploymentStatus, JobStatus, Run, RunState
from search_router.ports import Clock, EventPublisher, ModelCustomizer, RunRepository

_ENDED_JOBS = {
    JobStatus.FAILED.value: RunState.FAILED,
    JobStatus.STOPPED.value: RunState.STOPPED,
}


@dataclass(frozen=True, slots=True)
class RunLifecycle:
    """Moves runs by conditional writes; losing one raises ConflictError and publishes nothing."""

    runs: RunRepository
    events: EventPublisher
    clock: Clock

    def move(self, run: Run, state: RunState, **changes: object) -> Run:
        """Store the run in another state."""
        moved = run.moved(state, self.clock.now(), **changes)
        self.runs.replace(moved)
        return moved

    def note(self, run: Run, **changes: object) -> Run:
        """Store more about the run in the state it is in."""
        noted = run.noted(self.clock.now(), **changes)
        self.runs.replace(noted)
        return noted

    def fail(self, run: Run, reason: str, state: RunState = RunState.FAILED, **changes: str) -> Run:
        """End a run without a model."""
        ended = self.move(run, state, reason=reason, **changes)
        self.events.publish(RunFailed(run_id=run.run_id, reason=reason))
        return ended

    def reject(self, run: Run, reason: str) -> Run:
        """End a run whose model must not serve."""
        rejected = self.move(run, RunState.REJECTED, reason=reason)
        self.events.publish(ModelRejected(run_id=run.run_id, reason=reason))
        return rejected

    def follow_job(self, run: Run, job: JobView, customizer: ModelCustomizer) -> Run:
        """Move a TRAINING run to where its job is; any other run, or an unknown status, stays."""
        if run.state is not RunState.TRAINING:
            return run
        if job.status == JobStatus.COMPLETED:
            return self._deploy(run, job, customizer)
        if job.status in _ENDED_JOBS:
            reason = job.failure or f"the distillation job is {job.status}"
            return self.fail(run, reason, _ENDED_JOBS[job.status], job_status=job.status)
        return run if job.status == run.job_status else self.note(run, job_status=job.status)

    def follow_deployment(self, run: Run, deployment: DeploymentView) -> Run:
        """Move a DEPLOYING run to where its deployment is; any other run stays."""
        if run.state is not RunState.DEPLOYING:
            return run
        if deployment.status == DeploymentStatus.ACTIVE:
            moved = self.move(run, RunState.EVALUATING, deployment_status=deployment.status)
            self.events.publish(ModelDeployed(run_id=run.run_id))
            return moved
        if deployment.status == DeploymentStatus.FAILED:
            reason = deployment.failure or "the deployment failed"
            return self.fail(run, reason, deployment_status=deployment.status)
        return run

    def _deploy(self, run: Run, job: JobView, customizer: ModelCustomizer) -> Run:
        name = naming.deployment_name(job.name)
        try:
            arn = customizer.deploy(name, job.model_arn)
        except QuotaExceededError as error:  # track_runs tries again until a place is free
            return self.note(run, reason=str(error), job_status=job.status)
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

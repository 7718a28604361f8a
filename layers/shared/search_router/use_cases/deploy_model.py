"""Job state change: deploy the job's model; also the rest of a deployment's life."""

from collections.abc import Collection
from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    QuotaExceededError,
)
from search_router.domain.lifecycle.distillation import DeploymentView, JobView
from search_router.domain.lifecycle.runs import (
    Deployment,
    DeploymentStatus,
    JobStatus,
    Run,
    RunState,
    TrainingJob,
)
from search_router.domain.serving.champions import Champion
from search_router.ports import ChampionRepository, Deployments, DistillationJobs
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle

MAX_DEPLOYMENTS = 10  # Bedrock quota: custom model deployments per account
FREE_SLOTS = 2  # Bedrock creates two deployments at a time
_FAILED_JOBS = {
    JobStatus.FAILED.value: RunState.FAILED,
    JobStatus.STOPPED.value: RunState.STOPPED,
}
_WITHOUT_CHAMPION = frozenset({RunState.REJECTED, RunState.FAILED, RunState.STOPPED})


@dataclass(frozen=True, slots=True)
class RunDeployments:
    """Creates, follows and deletes the deployments of runs."""

    lifecycle: RunLifecycle
    deployments: Deployments

    def follow_job(self, run: Run, job: JobView) -> Run:
        """Move a TRAINING run on according to its job; a run that ended is published again."""
        if run.state in _FAILED_JOBS.values():
            self.lifecycle.publish(run)
        if run.state is not RunState.TRAINING or run.training is None:
            return run
        training, now = run.training.replace(job_status=job.status), self.lifecycle.now
        if job.status == JobStatus.COMPLETED:
            return self._deploy(run, training, job)
        if job.status in _FAILED_JOBS:
            reason = job.failure or f"the distillation job is {job.status}"
            moved = run.moved(_FAILED_JOBS[job.status], now, reason, training=training)
            return self.lifecycle.move(moved)
        if training == run.training:
            return run
        return self.lifecycle.update(run.updated(now, training=training))

    def follow_deployment(self, run: Run, view: DeploymentView) -> Run:
        """Move a DEPLOYING run on according to its deployment."""
        if run.state is not RunState.DEPLOYING or run.deployment is None:
            return run
        deployment, now = run.deployment.replace(status=view.status), self.lifecycle.now
        if view.status == DeploymentStatus.ACTIVE:
            return self.lifecycle.move(run.moved(RunState.EVALUATING, now, deployment=deployment))
        if view.status == DeploymentStatus.FAILED:
            reason = view.failure or "the deployment failed"
            moved = run.moved(RunState.FAILED, now, reason, deployment=deployment)
            return self.lifecycle.move(moved)
        return run

    def delete_unused(self, run: Run) -> Run:
        """Delete the deployment of a run that ended without becoming champion; keep the model.

        Runs of the same bytes share a deployment, which is deleted with the last of them. If the
        function dies before the deletion is recorded, track_runs repeats it.
        """
        deployment, training = run.deployment, run.training
        if run.state not in _WITHOUT_CHAMPION or deployment is None or training is None:
            return run
        if deployment.deleted or self._is_shared(deployment.arn, training.job_name):
            return run
        self.deployments.delete(deployment.arn)
        deleted = deployment.replace(deleted=True)
        return self.lifecycle.update(run.updated(self.lifecycle.now, deployment=deleted))

    def free_slots(self, champions: ChampionRepository, versions_in_use: Collection[int]) -> None:
        """Delete the oldest deployments of former champions until two slots are free.

        Exempt are the current champion, the one that a rollback returns to, and `versions_in_use`
        by unfinished query logs. Models are kept.
        """
        deployed = set(self.deployments.arns())
        surplus = len(deployed) - (MAX_DEPLOYMENTS - FREE_SLOTS)
        if surplus <= 0:
            return
        history = list(champions.history())
        removable = deployed - _needed(champions.current(), history, versions_in_use)
        former = dict.fromkeys(champion.serving.model_id for champion in history)
        for arn in [arn for arn in former if arn in removable][:surplus]:
            self.deployments.delete(arn)

    def _deploy(self, run: Run, training: TrainingJob, job: JobView) -> Run:
        name, now = naming.deployment_name(job.name), self.lifecycle.now
        try:
            arn = self.deployments.deploy(name, job.model_arn)
        except (ConflictError, InvalidInputError) as error:  # also a name that another model has
            failed = run.moved(RunState.FAILED, now, str(error), training=training)
            return self.lifecycle.move(failed)
        except QuotaExceededError as error:  # track_runs retries until a slot is free
            return self.lifecycle.update(run.updated(now, reason=str(error), training=training))
        moved = run.moved(
            RunState.DEPLOYING,
            now,
            training=training.replace(model_arn=job.model_arn),
            deployment=Deployment(name=name, arn=arn, status=DeploymentStatus.CREATING.value),
        )
        return self.lifecycle.move(moved)

    def _is_shared(self, arn: str, job_name: str) -> bool:
        """Whether another run of the same job uses the deployment, or may come to."""
        runs = self.lifecycle.runs
        others = (runs.get(run_id) for run_id in runs.runs_of_job(job_name))
        return any(_may_need(other, arn) for other in others if other is not None)


@dataclass(frozen=True, slots=True)
class DeployModel:
    """Follows a distillation job for every run that waits for it."""

    run_deployments: RunDeployments
    jobs: DistillationJobs

    def __call__(self, job_arn: str) -> list[Run] | Ignored:
        """Move the runs on according to the job's status, as Bedrock reports it."""
        try:
            job = self.jobs.job(job_arn)
        except (NotFoundError, InvalidInputError):  # a forged ARN may be malformed
            return Ignored("Bedrock has no such job")
        if not naming.is_our_job(job.name):
            return Ignored("not our job")
        runs = self.run_deployments.lifecycle.runs
        waiting = [run for run_id in runs.runs_of_job(job.name) if (run := runs.get(run_id))]
        if not waiting:
            return Ignored("no run waits for the job")
        return [self.run_deployments.follow_job(run, job) for run in waiting]


def _may_need(run: Run, deployment_arn: str) -> bool:
    is_own = run.deployment is not None and run.deployment.arn == deployment_arn
    serves = run.promoted and is_own
    return serves or run.is_open or run.state is RunState.AWAITING_APPROVAL


def _needed(
    current: Champion | None, history: list[Champion], versions_in_use: Collection[int]
) -> set[str]:
    versions = set(versions_in_use)
    if current is not None:
        versions |= {current.version, current.previous_version or 0}
    return {champion.serving.model_id for champion in history if champion.version in versions}

"""PromptsSharded: check that Bedrock accepts the models, then start the run's distillation job."""

from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.errors import PermanentError, QuotaExceededError
from search_router.domain.lifecycle.distillation import DistillationJob, check_lifecycle, check_pair
from search_router.domain.lifecycle.runs import Dataset, JobStatus, Run, RunState, TrainingJob
from search_router.ports import DistillationJobs, FoundationModels
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle
from search_router.use_cases.spending import Budget


@dataclass(frozen=True, slots=True)
class DistillationPlan:
    """The settings of every job."""

    teacher: str
    student: str
    max_output_tokens: int
    role_arn: str
    data_bucket: str
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StartDistillation:
    """Starts at most one job for the same training set, teacher, student and system prompt."""

    plan: DistillationPlan
    lifecycle: RunLifecycle
    budget: Budget
    models: FoundationModels
    jobs: DistillationJobs

    def __call__(self, run_id: str) -> Run | Ignored:
        """Move a run from SHARDED to TRAINING, or to FAILED with the reason.

        The job's name and request token are derived from its inputs, so a retry, or the same bytes
        uploaded again, adopts the existing job. Raises AccessDeniedError, which leaves the run
        SHARDED until the permission is granted.
        """
        run = self.lifecycle.runs.get(run_id)
        if run is None:
            return Ignored("unknown run")
        if run.state is RunState.FAILED:
            self.lifecycle.publish(run)
        if run.state is not RunState.SHARDED or run.dataset is None:
            return Ignored(f"the run is {run.state} already")
        try:
            training = self._start(run, run.dataset)
        except PermanentError as error:
            return self.lifecycle.move(run.moved(RunState.FAILED, self.lifecycle.now, str(error)))
        except QuotaExceededError as error:  # track_runs retries until the quota allows the job
            return self.lifecycle.update(run.updated(self.lifecycle.now, reason=str(error)))
        moved = run.moved(RunState.TRAINING, self.lifecycle.now, training=training)
        return self.lifecycle.move(moved)

    def _start(self, run: Run, dataset: Dataset) -> TrainingJob:
        """Start the job or adopt it; a job that cannot start is not charged to the budget."""
        check_pair(self.plan.teacher, self.plan.student)
        job = self._job(run, dataset)
        is_new = self.budget.book(
            job.name, dataset.job_at_most_usd, then_usd=dataset.evaluation_at_most_usd
        )
        try:
            for model_id in (job.teacher, job.student):
                check_lifecycle(self.models.lifecycle(model_id), self.lifecycle.now)
            self.lifecycle.runs.record_job(job.name, run.run_id)
            arn = self.jobs.start_job(job)
        except PermanentError:
            if is_new:
                self.budget.release(job.name)
            raise
        return TrainingJob(
            teacher=job.teacher,
            student=job.student,
            max_output_tokens=self.plan.max_output_tokens,
            job_name=job.name,
            job_arn=arn,
            job_status=JobStatus.IN_PROGRESS.value,
        )

    def _job(self, run: Run, dataset: Dataset) -> DistillationJob:
        plan, bucket = self.plan, self.plan.data_bucket
        identity = naming.training_identity(
            bucket, dataset.training_sha256, plan.teacher, plan.student, dataset.system_prompt
        )
        return DistillationJob(
            name=naming.job_name(identity, run.attempt),
            teacher=plan.teacher,
            student=plan.student,
            role_arn=plan.role_arn,
            training_uri=naming.s3_uri(bucket, naming.run_key(run.run_id, "training.jsonl")),
            output_uri=naming.s3_uri(bucket, naming.run_key(run.run_id, "distillation")),
            tags=(*plan.tags, ("Run", run.run_id)),
        )

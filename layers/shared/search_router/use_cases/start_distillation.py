"""A run is sharded: check that Bedrock would take it, then start its distillation job."""

from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.errors import PermanentError, QuotaExceededError
from search_router.domain.lifecycle.budget import Purchase
from search_router.domain.lifecycle.distillation import DistillationJob, check_lifecycle, check_pair
from search_router.domain.lifecycle.runs import JobStatus, Run, RunState
from search_router.ports import (
    Clock,
    DistillationJobs,
    EventPublisher,
    FoundationModels,
    RunRepository,
    SpendingLedger,
)
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle


@dataclass(frozen=True, slots=True)
class DistillationPlan:
    """The settings that every job shares."""

    teacher: str
    student: str
    max_output_tokens: int
    role_arn: str
    data_bucket: str
    stage: str
    budget_usd: float


def start_distillation(
    run_id: str,
    *,
    plan: DistillationPlan,
    runs: RunRepository,
    spending: SpendingLedger,
    models: FoundationModels,
    jobs: DistillationJobs,
    events: EventPublisher,
    clock: Clock,
) -> Run | Ignored:
    """Move a run from SHARDED to TRAINING, or to FAILED with Bedrock's or our reason.

    The job's name and request token are derived from what is bought, so a repeated call, or the
    same bytes uploaded again, meet the job that is already there. What exceeds the budget fails
    before Bedrock is asked anything. Raises AccessDeniedError, which leaves the run as it is until
    somebody grants what is missing.
    """
    run = runs.get(run_id)
    if run is None:
        return Ignored("unknown run")
    lifecycle = RunLifecycle(runs, events, clock)
    if run.state is RunState.FAILED:
        lifecycle.publish(run)
    if run.state is not RunState.SHARDED:
        return Ignored(f"the run is {run.state} already")
    try:
        check_pair(plan.teacher, plan.student)
        job = _job(run, plan)
        is_new = _spend(run, job.name, plan, spending, clock)
        try:
            arn = _bought(run, job, models, jobs, runs, clock)
        except PermanentError:
            if is_new:
                spending.replace(spending.read().minus(job.name))
            raise
    except PermanentError as error:
        return lifecycle.move(run, RunState.FAILED, reason=str(error))
    except QuotaExceededError as error:  # track_runs tries again until a place is free
        return lifecycle.update(run, reason=str(error))
    return lifecycle.move(
        run,
        RunState.TRAINING,
        reason="",
        teacher=plan.teacher,
        student=plan.student,
        max_output_tokens=plan.max_output_tokens,
        job_name=job.name,
        job_arn=arn,
        job_status=JobStatus.IN_PROGRESS.value,
    )


def _spend(
    run: Run, job_name: str, plan: DistillationPlan, spending: SpendingLedger, clock: Clock
) -> bool:
    """Note what a job costs and tell whether it was new; raises BudgetExceededError."""
    spent = spending.read()
    if spent.includes(job_name):
        return False
    purchase = Purchase(job_name=job_name, usd=run.estimated_usd, started_at=clock.now())
    spending.replace(spent.plus(purchase, plan.budget_usd))
    return True


def _bought(
    run: Run,
    job: DistillationJob,
    models: FoundationModels,
    jobs: DistillationJobs,
    runs: RunRepository,
    clock: Clock,
) -> str:
    """Start the job or adopt it; return its ARN. Raises PermanentError if it cannot start."""
    for model_id in (job.teacher, job.student):
        check_lifecycle(models.lifecycle(model_id), clock.now())
    runs.record_job(job.name, run.run_id)
    return jobs.start_job(job)


def _job(run: Run, plan: DistillationPlan) -> DistillationJob:
    identity = naming.training_identity(
        plan.data_bucket, run.training_sha256, plan.teacher, plan.student, run.system_prompt
    )
    return DistillationJob(
        name=naming.job_name(identity, run.attempt),
        teacher=plan.teacher,
        student=plan.student,
        role_arn=plan.role_arn,
        training_uri=naming.s3_uri(plan.data_bucket, naming.run_key(run.run_id, "training.jsonl")),
        output_uri=naming.s3_uri(plan.data_bucket, naming.run_key(run.run_id, "distillation")),
        tags=(("UseCase", naming.NAME_PREFIX), ("Stage", plan.stage), ("Run", run.run_id)),
    )

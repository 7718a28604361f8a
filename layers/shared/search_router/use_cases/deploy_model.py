"""A distillation job changed state: deploy what it made, or record why there is nothing."""

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.lifecycle.runs import Run
from search_router.ports import Clock, Deployments, DistillationJobs, EventPublisher, RunRepository
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle


def deploy_model(
    job_arn: str,
    *,
    runs: RunRepository,
    jobs: DistillationJobs,
    deployments: Deployments,
    events: EventPublisher,
    clock: Clock,
) -> list[Run] | Ignored:
    """Follow a job for every run that waits for it; a job of somebody else is ignored.

    The event is only a hint: the job's state is read from Bedrock.
    """
    try:
        job = jobs.job(job_arn)
    except (NotFoundError, InvalidInputError):  # a made-up name may be no name at all
        return Ignored("Bedrock does not know the job")
    if not naming.is_our_job(job.name):
        return Ignored("not our job")
    waiting = [run for run_id in runs.runs_of_job(job.name) if (run := runs.get(run_id))]
    if not waiting:
        return Ignored("no run waits for the job")
    lifecycle = RunLifecycle(runs, events, clock)
    return [lifecycle.follow_job(run, job, deployments) for run in waiting]

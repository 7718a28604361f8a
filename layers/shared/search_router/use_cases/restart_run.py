"""A person takes a run up again that ended without a model."""

from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.lifecycle.runs import JobStatus, Run, RunState
from search_router.ports import Deployments
from search_router.use_cases.run_lifecycle import RunLifecycle

_ENDED = (RunState.FAILED, RunState.STOPPED)
_LOST_JOBS = (JobStatus.FAILED, JobStatus.STOPPED)


def restart_run(
    run_id: str, *, again: bool, lifecycle: RunLifecycle, deployments: Deployments
) -> Run:
    """Bring a run back to SHARDED and announce it; one that is SHARDED is only announced.

    Without `again` nothing is bought twice: a job that lives or is completed is adopted. With
    `again` the attempt is raised, which is a new job and new money. Raises NotFoundError for an
    unknown run, InvalidInputError for one that cannot or need not be started again.
    """
    run = lifecycle.runs.get(run_id)
    if run is None:
        raise NotFoundError(f"there is no run {run_id}")
    if run.state is RunState.SHARDED:
        lifecycle.publish(run)
        return run
    _refuse_the_rest(run, again)
    tidy = lifecycle.tear_down_ended(run, deployments)
    restarted = tidy.moved(
        RunState.SHARDED,
        lifecycle.clock.now(),
        reason="",
        attempt=tidy.attempt + again,
        job_name="",
        job_arn="",
        job_status="",
        model_arn="",
        deployment_name="",
        deployment_arn="",
        deployment_status="",
        torn_down=False,
        evaluating_until=None,
        evaluation=None,
    )
    lifecycle.runs.reopen(restarted)
    lifecycle.publish(restarted)
    return restarted


def _refuse_the_rest(run: Run, again: bool) -> None:
    if run.state not in _ENDED:
        raise InvalidInputError(f"{run.run_id} is {run.state}: there is nothing to start again")
    if run.failed_at_intake:
        raise InvalidInputError(
            f"{run.run_id} never was a training set ({run.reason}); upload a better file"
        )
    if run.job_status in _LOST_JOBS and not again:
        raise InvalidInputError(
            f"the distillation job of {run.run_id} is {run.job_status} ({run.reason}); "
            "--again buys another one"
        )

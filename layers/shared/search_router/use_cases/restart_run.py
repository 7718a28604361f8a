"""Restart of a run that ended without a model, by an operator."""

from dataclasses import dataclass

from search_router.domain.errors import InvalidInputError
from search_router.domain.lifecycle.runs import ENDED_WITHOUT_MODEL, JobStatus, Run, RunState
from search_router.use_cases.deploy_model import RunDeployments

_FAILED_JOBS = (JobStatus.FAILED, JobStatus.STOPPED)


@dataclass(frozen=True, slots=True)
class RestartRun:
    """Returns a FAILED or STOPPED run to SHARDED."""

    run_deployments: RunDeployments

    def __call__(self, run_id: str, *, again: bool) -> Run:
        """Restart the run; one that is SHARDED already is only published.

        A job that runs or is completed is adopted unless `again` asks, and pays, for a new one.
        Raises NotFoundError for an unknown run, InvalidInputError for one that cannot be restarted.
        """
        lifecycle = self.run_deployments.lifecycle
        run = lifecycle.find(run_id)
        if run.state is RunState.SHARDED:
            lifecycle.publish(run)
            return run
        _check_restart(run, again=again)
        ended = self.run_deployments.delete_unused(run)
        restarted = ended.restarted(lifecycle.now, again=again)
        lifecycle.runs.reopen(restarted)
        lifecycle.publish(restarted)
        return restarted


def _check_restart(run: Run, *, again: bool) -> None:
    if run.state not in ENDED_WITHOUT_MODEL:
        raise InvalidInputError(
            f"run cannot be restarted: {run.run_id} is {run.state}, neither FAILED nor STOPPED"
        )
    if run.failed_at_intake:
        raise InvalidInputError(
            f"upload of {run.run_id} was rejected ({run.reason}). Upload a corrected file."
        )
    if run.training and run.training.job_status in _FAILED_JOBS and not again:
        raise InvalidInputError(
            f"distillation job of {run.run_id} is {run.training.job_status} ({run.reason}). "
            "Start and pay for a new one with --again."
        )

"""How long a run may stay in a state; then it ends with the reason, so that none waits for ever.

The bounds are ours: several times what the state takes. What was paid is not lost by them, because
a run that expired can be taken up again (`search-router distill`) and adopts its job and its model.
"""

from datetime import datetime, timedelta

from search_router.domain.lifecycle.runs import Run, RunState

DEADLINES = {
    RunState.SHARDED: timedelta(days=7),  # a quota or a permission that somebody has to see to
    RunState.TRAINING: timedelta(days=7),  # a job takes hours
    RunState.DEPLOYING: timedelta(hours=6),  # a deployment takes minutes
    RunState.EVALUATING: timedelta(hours=24),  # an evaluation takes minutes, a full quota longer
    RunState.AWAITING_APPROVAL: timedelta(days=14),
}
DELETED = timedelta(minutes=15)  # by then Bedrock would list a deployment that it has just made


def is_overdue(run: Run, now: datetime) -> bool:
    """Tell whether a run has been in its state for too long."""
    deadline = DEADLINES.get(run.state)
    return deadline is not None and now - run.in_state_since >= deadline


def expiry_reason(run: Run) -> str:
    """Say for how long nothing happened, and what was known last."""
    hours = DEADLINES[run.state] // timedelta(hours=1)
    waited = f"{hours // 24} days" if hours > 24 else f"{hours} hours"
    if run.state is RunState.AWAITING_APPROVAL:
        return f"nobody approved it within {waited}"
    known = [run.reason, f"the job is {run.job_status}" if run.job_status else ""]
    last = "; ".join(text for text in known if text)
    return f"it was {run.state} for {waited}" + (f": {last}" if last else "")

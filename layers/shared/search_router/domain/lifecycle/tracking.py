"""The deadlines and retry schedule of runs and logs, and the tally of one tick of the schedule."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from search_router.domain.errors import SearchRouterError
from search_router.domain.lifecycle.runs import ENDED_WITHOUT_MODEL, Run, RunState
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.splits.ledger import UploadHead

# Several times the usual duration. A run that expired can be restarted (`search-router distill`)
# and adopts the job and the model that were paid for.
RUN_DEADLINES = {
    RunState.SHARDED: timedelta(days=7),  # time to raise a quota or grant a permission
    RunState.TRAINING: timedelta(days=7),  # a job takes hours
    RunState.DEPLOYING: timedelta(hours=6),  # a deployment takes minutes
    RunState.EVALUATING: timedelta(hours=24),  # minutes, or longer at an exhausted quota
    RunState.AWAITING_APPROVAL: timedelta(days=14),
}
UPLOAD_DEADLINE = timedelta(hours=12)  # without a new part; a million queries take less
DEPLOYMENT_LISTED = timedelta(minutes=15)  # a new deployment is visible by then
RECENT = timedelta(minutes=15)  # three ticks: two lost ticks hide no failure
_RETRYING = timedelta(minutes=20)
_DAY = timedelta(days=1)


@dataclass(slots=True)
class Tracking:
    """The tally of one tick: open and recently ended runs and logs by state, and problems."""

    runs: Counter[str] = field(default_factory=Counter)
    logs: Counter[str] = field(default_factory=Counter)
    runs_failed: int = 0
    logs_failed: int = 0
    logs_stuck: list[str] = field(default_factory=list)
    segments_failed: int = 0
    segments_stuck: list[str] = field(default_factory=list)
    uploads_missed: int = 0
    errors: list[SearchRouterError] = field(default_factory=list)

    @property
    def runs_by_state(self) -> dict[str, int]:
        """The number of runs in every state, including zeros."""
        return {state.value: self.runs[state.value] for state in RunState}

    @property
    def logs_by_state(self) -> dict[str, int]:
        """The number of logs in every state, including zeros."""
        return {state.value: self.logs[state.value] for state in LogState}

    def count_run(self, run: Run, now: datetime) -> None:
        """Count a run, and whether it failed recently."""
        self.runs[run.state.value] += 1
        self.runs_failed += run.state in ENDED_WITHOUT_MODEL and now - run.updated_at < RECENT

    def count_log(self, log: QueryLog, now: datetime) -> None:
        """Count a log, and whether it failed recently or is stuck."""
        self.logs[log.state.value] += 1
        self.logs_failed += _has_failed(log, now)
        if _is_stuck(log, now):
            self.logs_stuck.append(log.log_id)

    def count_segments(self, upload: UploadHead, now: datetime) -> None:
        """Count whether an upload of segments failed recently or is stuck."""
        self.segments_failed += _has_failed(upload, now)
        if _is_stuck(upload, now):
            self.segments_stuck.append(upload.upload)


def _has_failed(upload: UploadHead, now: datetime) -> bool:
    return upload.state is upload.failed and now - upload.updated_at < RECENT


def _is_stuck(upload: UploadHead, now: datetime) -> bool:
    return upload.state.is_unfinished and now - upload.updated_at >= UPLOAD_DEADLINE


def is_due(waited: timedelta, patience: timedelta) -> bool:
    """Whether to retry now: after `patience`, then once a day.

    Each window is 20 minutes long, four ticks, so two lost ticks do not matter. Outside of it, a
    function that cannot succeed is not invoked again.
    """
    return waited >= patience and (waited - patience) % _DAY < _RETRYING


def is_overdue(run: Run, now: datetime) -> bool:
    """Whether a run has exceeded its state's deadline."""
    deadline = RUN_DEADLINES.get(run.state)
    return deadline is not None and now - run.state_since >= deadline


def expiry_reason(run: Run) -> str:
    """Return how long a run waited, and its last known cause."""
    hours = RUN_DEADLINES[run.state] // timedelta(hours=1)
    waited = f"{hours // 24} days" if hours > 24 else f"{hours} hours"
    if run.state is RunState.AWAITING_APPROVAL:
        return f"not approved within {waited}"
    causes = [run.reason, f"the job is {run.training.job_status}" if run.training else ""]
    last = "; ".join(cause for cause in causes if cause)
    return f"still {run.state} after {waited}" + (f": {last}" if last else "")

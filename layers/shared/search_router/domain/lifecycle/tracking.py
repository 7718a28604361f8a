"""What the schedule finds on a tick, and when something has waited long enough to be helped."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from search_router.domain.errors import SearchRouterError
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.logs.query_logs import LogState, QueryLog

LOG_DEADLINE = timedelta(hours=12)  # without a new part; longer than a million queries take
RECENT = timedelta(minutes=15)  # three ticks: a failure is seen even if two ticks are lost
_HELPING = timedelta(minutes=20)
_DAY = timedelta(days=1)
_UNFINISHED = frozenset({LogState.PLANNED, LogState.ROUTING})
_ENDED_BADLY = frozenset({RunState.FAILED, RunState.STOPPED})


@dataclass(slots=True)
class Tracking:
    """The tally of one tick: runs and logs by state, and what is not as it should be.

    Counted is what is open, and what ended so short a while ago that it is still news.
    """

    runs: Counter[str] = field(default_factory=Counter)
    logs: Counter[str] = field(default_factory=Counter)
    runs_failed: int = 0
    logs_failed: int = 0
    logs_stuck: list[str] = field(default_factory=list)
    uploads_missed: int = 0
    errors: list[SearchRouterError] = field(default_factory=list)

    @property
    def runs_by_state(self) -> dict[str, int]:
        """Every state there is, also those of no run."""
        return {state.value: self.runs[state.value] for state in RunState}

    @property
    def logs_by_state(self) -> dict[str, int]:
        """Every state there is, also those of no log."""
        return {state.value: self.logs[state.value] for state in LogState}

    def count_run(self, run: Run, now: datetime) -> None:
        """Count a run; one that failed a short while ago counts as news."""
        self.runs[run.state.value] += 1
        self.runs_failed += run.state in _ENDED_BADLY and now - run.updated_at < RECENT

    def count_log(self, log: QueryLog, now: datetime) -> None:
        """Count a log; one whose last part came before the deadline is stuck."""
        self.logs[log.state.value] += 1
        waited = now - log.updated_at
        self.logs_failed += log.state is LogState.FAILED and waited < RECENT
        if is_unfinished(log) and waited >= LOG_DEADLINE:
            self.logs_stuck.append(log.log_id)


def is_unfinished(log: QueryLog) -> bool:
    """Tell whether a log still has something before it."""
    return log.state in _UNFINISHED


def is_due(waited: timedelta, patience: timedelta) -> bool:
    """Tell whether to help something that has waited: when patience ends, then once a day.

    Each time lasts twenty minutes, which is four ticks, so that two lost in a row do not matter,
    and a function that cannot do its work is not called for ever.
    """
    return waited >= patience and (waited - patience) % _DAY < _HELPING

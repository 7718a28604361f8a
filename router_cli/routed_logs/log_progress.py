"""How far a query log is, and when it will be finished: by the quota and by its pace so far."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from router_cli.stack import Stack
from search_router.domain import naming
from search_router.domain.logs.query_logs import LogPlan, QueryLog
from search_router.domain.logs.results import total_stats

_STILL = timedelta(minutes=30)  # two receives of a split: longer without a part is worth a look


@dataclass(frozen=True, slots=True)
class LogProgress:
    """A log that is not finished; times are UTC, None while nothing is known yet.

    `rows_expected` is the plan's number, which may be an estimate. `calls_left` supposes that what
    is left repeats itself as much as what is done; before the first part that nothing is repeated.
    The quota is the batch share of the account's requests per minute.
    """

    log_id: str
    state: str
    parts: int
    splits: int
    rows_in: int
    rows_expected: int
    model_calls: int
    calls_left: int
    requests_per_minute: float
    started: datetime
    last_part: datetime
    end_at_quota: datetime
    end_at_pace: datetime | None
    is_still: bool

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self)

    def sentence(self) -> str:
        """Say it in words and numbers, and what to do."""
        share = 100 * self.parts / self.splits if self.splits else 0
        text = (
            f"{self.log_id} is not finished: {self.parts} of {self.splits} splits ({share:.0f} %), "
            f"{self.rows_in:,} of about {self.rows_expected:,} rows, {self.model_calls:,} model "
            f"calls since {_clock(self.started)}; {'about' if self.end_at_pace else 'at most'} "
            f"{self.calls_left:,} calls are left: expected end {_clock(self.end_at_quota)} at the "
            f"batch quota of {self.requests_per_minute:,.0f} requests a minute"
        )
        if self.end_at_pace:
            text += f", {_clock(self.end_at_pace)} at the pace so far"
        if self.is_still:
            text += (
                f"; its last part came at {_clock(self.last_part)}: "
                "`search-router redrive` shows whether splits were given up"
            )
        return text


def unfinished(stack: Stack, log: QueryLog, now: datetime | None = None) -> LogProgress:
    """Measure how far a log is from its ledger, and foretell its end."""
    now = now or datetime.now(UTC)
    total = total_stats(marker.stats for marker in stack.ledger.markers(log.log_id))
    plan = LogPlan.model_validate_json(stack.objects.get(naming.log_key(log.log_id, "plan.json")))
    left = log.splits - log.parts
    calls_left, at_pace = plan.rows, None
    if log.parts:
        calls_left = round(total.model_calls / log.parts * left)
        at_pace = now + (log.updated_at - log.created_at) / log.parts * left
    return LogProgress(
        log_id=log.log_id,
        state=log.state.value,
        parts=log.parts,
        splits=log.splits,
        rows_in=total.rows_in,
        rows_expected=plan.rows,
        model_calls=total.model_calls,
        calls_left=calls_left,
        requests_per_minute=plan.requests_per_minute,
        started=log.created_at,
        last_part=log.updated_at,
        end_at_quota=now + timedelta(minutes=calls_left / plan.requests_per_minute),
        end_at_pace=at_pace,
        is_still=left > 0 and now - log.updated_at >= _STILL,
    )


def _clock(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")

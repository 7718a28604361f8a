"""The budget: a bound on what uploaded prompts may spend in 30 days.

It covers jobs, evaluations, teacher labels, the baseline and the judge. A purchase counts with its
upper bound, once per name; retries and runs that share a job add nothing. It is recorded before the
first call, so two runs cannot both spend the last of the budget.
"""

from datetime import datetime, timedelta

from search_router.domain.errors import BudgetExceededError
from search_router.domain.records import Record

WINDOW = timedelta(days=30)
RUN_REMEDY = "Raise BudgetUsdPer30Days or wait, then restart the run with `search-router distill`."
LOG_REMEDY = "Raise LogBudgetUsdPer30Days or wait, then upload the log again."


class Purchase(Record):
    """One job or one model's answers, and the upper bound of the cost in US dollars."""

    job_name: str
    usd: float
    started_at: datetime


class Spending(Record):
    """The purchases of the last 30 days; writes are conditional on `revision`."""

    revision: int = 0
    purchases: tuple[Purchase, ...] = ()

    def spent(self, now: datetime) -> float:
        """Return the US dollars spent in the 30 days before now."""
        return sum(purchase.usd for purchase in self._recent(now))

    def includes(self, job_name: str) -> bool:
        """Whether a purchase is recorded."""
        return any(purchase.job_name == job_name for purchase in self.purchases)

    def plus(self, purchase: Purchase, budget_usd: float, remedy: str = RUN_REMEDY) -> "Spending":
        """Return the spending with another purchase; raises BudgetExceededError."""
        now = purchase.started_at
        spent = self.spent(now)
        if spent + purchase.usd > budget_usd:
            raise BudgetExceededError(
                f"30-day budget exceeded: ${spent:.2f} of ${budget_usd:.2f} booked, this step "
                f"costs up to ${purchase.usd:.2f}. {remedy}"
            )
        return self._next((*self._recent(now), purchase))

    def minus(self, job_name: str) -> "Spending":
        """Return the spending without a purchase that was not made."""
        return self._next(tuple(p for p in self.purchases if p.job_name != job_name))

    def _recent(self, now: datetime) -> tuple[Purchase, ...]:
        return tuple(p for p in self.purchases if now - p.started_at < WINDOW)

    def _next(self, purchases: tuple[Purchase, ...]) -> "Spending":
        return Spending(revision=self.revision + 1, purchases=purchases)

"""The money that jobs may cost in 30 days: an upload is authority to spend, but only so much.

What counts is the estimate at the start of a job, once per job name: runs that share a job, and
retries, buy nothing more. A purchase is noted before Bedrock is asked, so that two runs that start
together cannot both take the last of the budget.
"""

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from search_router.domain.errors import BudgetExceededError

WINDOW = timedelta(days=30)


class Purchase(BaseModel):
    """One job, its estimate in US dollars, and when it was started."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_name: str
    usd: float
    started_at: datetime


class Spending(BaseModel):
    """The purchases of the last 30 days; `revision` decides who may add one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    revision: int = 0
    purchases: tuple[Purchase, ...] = ()

    def spent(self, now: datetime) -> float:
        """Sum what was bought in the 30 days before now, in US dollars."""
        return sum(purchase.usd for purchase in self._recent(now))

    def includes(self, job_name: str) -> bool:
        """Tell whether a job is paid for already."""
        return any(purchase.job_name == job_name for purchase in self.purchases)

    def plus(self, purchase: Purchase, budget_usd: float) -> "Spending":
        """Return the spending with one purchase more; raises BudgetExceededError."""
        now = purchase.started_at
        spent = self.spent(now)
        if spent + purchase.usd > budget_usd:
            raise BudgetExceededError(
                f"the budget of 30 days is {budget_usd:.2f} USD, {spent:.2f} are spent and this "
                f"job costs about {purchase.usd:.2f}; raise BudgetUsdPer30Days or wait, then "
                "`search-router distill` the run"
            )
        return self._next((*self._recent(now), purchase))

    def minus(self, job_name: str) -> "Spending":
        """Return the spending without a job that Bedrock refused to start."""
        return self._next(tuple(p for p in self.purchases if p.job_name != job_name))

    def _recent(self, now: datetime) -> tuple[Purchase, ...]:
        return tuple(p for p in self.purchases if now - p.started_at < WINDOW)

    def _next(self, purchases: tuple[Purchase, ...]) -> "Spending":
        return Spending(revision=self.revision + 1, purchases=purchases)

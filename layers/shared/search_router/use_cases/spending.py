"""Books purchases before the calls that they pay for."""

from dataclasses import dataclass

from search_router.domain.lifecycle.budget import RUN_REMEDY, Purchase
from search_router.ports import Clock, SpendingLedger


@dataclass(frozen=True, slots=True)
class Budget:
    """The 30-day budget of a stack, in US dollars."""

    ledger: SpendingLedger
    usd: float
    clock: Clock
    remedy: str = RUN_REMEDY

    def book(self, name: str, usd: float, *, then_usd: float = 0.0) -> bool:
        """Record a purchase unless it is recorded; return whether this call did.

        `then_usd` must fit into the budget too but is not recorded. Raises BudgetExceededError.
        """
        spending = self.ledger.read()
        if spending.includes(name):
            return False
        purchase = Purchase(job_name=name, usd=usd, started_at=self.clock.now())
        spending.plus(purchase.replace(usd=usd + then_usd), self.usd, self.remedy)
        self.ledger.replace(spending.plus(purchase, self.usd, self.remedy))
        return True

    def release(self, name: str) -> None:
        """Remove the purchase of something that could not start."""
        self.ledger.replace(self.ledger.read().minus(name))

"""The budget: a rolling window of 30 days in which each job counts once."""

from datetime import timedelta

import pytest

from search_router.domain.errors import BudgetExceededError
from search_router.domain.lifecycle.budget import WINDOW, Purchase, Spending
from tests.fakes import START


def a_purchase(job_name: str = "job-1", usd: float = 40.0, days: float = 0) -> Purchase:
    return Purchase(job_name=job_name, usd=usd, started_at=START + timedelta(days=days))


def test_the_whole_budget_can_be_spent() -> None:
    spending = Spending().plus(a_purchase(), 100).plus(a_purchase("job-2", 60), 100)

    assert spending.spent(START) == 100
    assert spending.revision == 2
    with pytest.raises(BudgetExceededError, match=r"\$100.00 of \$100.00 booked, .* up to \$0.01"):
        spending.plus(a_purchase("job-3", 0.01), 100)


def test_a_purchase_expires_after_30_days() -> None:
    spending = Spending().plus(a_purchase(usd=100), 100)
    just_before = a_purchase("job-2", 1, days=WINDOW.days - 0.001)
    with pytest.raises(BudgetExceededError):
        spending.plus(just_before, 100)

    later = spending.plus(a_purchase("job-2", 100, days=WINDOW.days), 100)

    assert [purchase.job_name for purchase in later.purchases] == ["job-2"]


def test_a_job_that_did_not_start_is_refunded() -> None:
    spending = Spending().plus(a_purchase(), 100).plus(a_purchase("job-2", 60), 100)

    assert spending.includes("job-1")
    assert not spending.minus("job-1").includes("job-1")
    assert spending.minus("job-1").spent(START) == 60

"""The spending ledger writes each purchase once, also if the reply to a write is lost."""

import pytest

from search_router.adapters.dynamodb_runs import DynamoSpendingLedger
from search_router.domain.errors import UnavailableError
from search_router.domain.lifecycle.budget import Purchase, Spending
from tests.aws_calls import Fault, aws_calls
from tests.fakes import START
from tests.integration.world import STATE, World


def test_a_purchase_whose_reply_was_lost_is_written_once(world: World) -> None:
    ledger = DynamoSpendingLedger(world.dynamodb, STATE)
    first = Spending().plus(Purchase(job_name="job-1", usd=12.34, started_at=START), 100)
    second = first.plus(Purchase(job_name="job-2", usd=0.01, started_at=START), 100)

    for spending in (first, second):
        with aws_calls(0, Fault.LOST_REPLY), pytest.raises(UnavailableError):
            ledger.replace(spending)
        ledger.replace(spending)

    assert ledger.read() == second
    assert ledger.read().spent(START) == pytest.approx(12.35)
    with pytest.raises(UnavailableError):
        ledger.replace(first)
    assert ledger.read() == second

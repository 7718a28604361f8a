"""Prices: ids with a context size or a geography cost what their model costs."""

import pytest

from search_router.domain.prices import cost_usd


@pytest.mark.parametrize(
    "model_id",
    [
        "amazon.nova-micro-v1:0",
        "amazon.nova-micro-v1:0:128k",
        "us.amazon.nova-micro-v1:0",
        "global.amazon.nova-micro-v1:0:128k",
    ],
)
def test_one_model_has_one_price(model_id: str) -> None:
    assert cost_usd(model_id, 1_000_000, 1_000_000) == pytest.approx(0.035 + 0.14)


def test_a_call_of_the_seeds_size_costs_millionths() -> None:
    assert cost_usd("amazon.nova-micro-v1:0:128k", 60, 30) == pytest.approx(6.3e-6)


def test_an_unknown_model_costs_zero() -> None:
    assert cost_usd("somebody.elses-model", 10**6, 10**6) == 0.0

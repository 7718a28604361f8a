"""Prices: one list with dates and sources; ids with a context size cost what their model costs."""

from datetime import date

import pytest

from search_router.domain.prices import cost_usd, is_priced, price_list


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


def test_a_geography_may_have_a_price_of_its_own() -> None:
    haiku = "anthropic.claude-haiku-4-5-20251001-v1:0"

    assert cost_usd(f"us.{haiku}", 1_000_000, 0) == pytest.approx(1.10)
    assert cost_usd(f"global.{haiku}", 1_000_000, 0) == pytest.approx(1.00)


def test_haiku_costs_a_thousandth_of_what_the_post_prints() -> None:
    # The post prints "$0.80-$1.00 / 1K tokens"; that is the price of a million.
    assert cost_usd("global.anthropic.claude-haiku-4-5-20251001-v1:0", 1_000, 0) < 0.0011


def test_a_call_of_the_seeds_size_costs_millionths() -> None:
    assert cost_usd("amazon.nova-micro-v1:0:128k", 60, 30) == pytest.approx(6.3e-6)


def test_an_unknown_model_costs_zero() -> None:
    assert cost_usd("somebody.elses-model", 10**6, 10**6) == 0.0
    assert not is_priced("somebody.elses-model")


def test_every_price_has_a_date_and_a_source_and_none_is_listed_twice() -> None:
    prices = price_list()
    names = [price.model for price in prices.tokens]

    assert len(names) == len(set(names)) >= 8
    for price in (*prices.tokens, *prices.unit.values()):
        assert price.as_of >= date(2026, 11, 1)
        assert price.source


def test_what_is_from_memory_says_so() -> None:
    # Confirm one on AWS's pricing page, note the page as its source, and take it out of here.
    unconfirmed = {name for name, price in price_list().unit.items() if not price.confirmed}

    assert unconfirmed == set(price_list().unit)
    assert all(price.confirmed for price in price_list().tokens)

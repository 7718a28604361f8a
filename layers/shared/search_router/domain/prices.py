"""AWS prices in US dollars, us-east-1, from `prices.toml` beside this file.

A distilled Nova Micro deployed on demand is billed at Nova Micro's own rates (AWS ML blog,
2026-04-17).
"""

import functools
import pkgutil
import tomllib
from datetime import date

from pydantic import BaseModel, ConfigDict

from search_router.domain.naming import foundation_model_id

_MILLION = 1_000_000


class _Sourced(BaseModel):
    """A price with its source; one that is not `confirmed` was not checked against it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    source: str
    confirmed: bool


class TokenPrice(_Sourced):
    """Dollars per million input and output tokens."""

    model: str
    input: float
    output: float


class UnitPrice(_Sourced):
    """Dollars per unit, which `per` names."""

    usd: float
    per: str


class PriceList(BaseModel):
    """The contents of `prices.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[TokenPrice, ...]
    unit: dict[str, UnitPrice]

    def of_tokens(self, model_id: str) -> TokenPrice | None:
        """Return a model's price, or its inference profile's own if there is one."""
        prices = {price.model: price for price in self.tokens}
        return prices.get(model_id) or prices.get(foundation_model_id(model_id))

    def unit_usd(self, name: str) -> float:
        """Return the dollars of one unit."""
        return self.unit[name].usd


@functools.cache
def price_list() -> PriceList:
    """Return the price list, which is read once."""
    text = pkgutil.get_data(__package__ or "", "prices.toml") or b""
    return PriceList.model_validate(tomllib.loads(text.decode("utf-8")))


@functools.lru_cache(maxsize=64)
def _token_price(model_id: str) -> TokenPrice | None:
    return price_list().of_tokens(model_id)


def is_priced(model_id: str) -> bool:
    """Return whether a model has a price."""
    return _token_price(model_id) is not None


def cost_usd(model_id: str, input_tokens: int, output_tokens: int) -> float:
    """Return the cost of one call; 0 for a model without a price, which raises an alarm."""
    price = _token_price(model_id)
    if price is None:
        return 0.0
    return (input_tokens * price.input + output_tokens * price.output) / _MILLION

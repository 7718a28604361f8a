"""What Bedrock charges, in US dollars per million tokens, on demand, us-east-1.

Source: the Bedrock pricing page as of 2026-11-20. A distilled Nova Micro deployed on demand is
billed at Nova Micro's own rates (AWS ML blog, 2026-04-17).
"""

from typing import NamedTuple

from search_router.domain.model_ids import foundation_model_id


class Price(NamedTuple):
    """Dollars per million input and output tokens."""

    input: float
    output: float


PRICES = {
    "amazon.nova-micro-v1:0": Price(0.035, 0.14),
    "amazon.nova-lite-v1:0": Price(0.06, 0.24),
    "amazon.nova-pro-v1:0": Price(0.80, 3.20),
    "amazon.nova-premier-v1:0": Price(2.50, 12.50),
}


def is_priced(model_id: str) -> bool:
    """Tell whether a model's price is known."""
    return foundation_model_id(model_id) in PRICES


def cost_usd(model_id: str, input_tokens: int, output_tokens: int) -> float:
    """Price one call; a model without a known price costs 0 and is therefore worth an alarm."""
    price = PRICES.get(foundation_model_id(model_id), Price(0.0, 0.0))
    return (input_tokens * price.input + output_tokens * price.output) / 1_000_000

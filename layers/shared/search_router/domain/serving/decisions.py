"""One query's decision, and how a model's answer becomes one.

A model's answer is worth nothing until it passes the weight contract. Two repairs are allowed and
counted: text or code fences around the JSON object are cut off, and a sum within 0.01 of 1 is
scaled. Everything else is invalid, and the query is answered by the champion's prior instead.
"""

import json
from dataclasses import dataclass
from enum import StrEnum

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError, TransientError
from search_router.domain.prices import cost_usd
from search_router.domain.serving.champions import ServingModel
from search_router.domain.weights import (
    EXACT_SUM_TOLERANCE,
    Modalities,
    Weights,
    normalise,
    weights_from_object,
)

END_TURN = "end_turn"


class Tier(StrEnum):
    """Who answered."""

    CACHE = "cache"
    LOCAL = "local"
    DISTILLED = "distilled"
    FALLBACK = "fallback"


class Status(StrEnum):
    """How good the answer is."""

    OK = "ok"
    REPAIRED = "repaired"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What Converse returned for one query; latency in milliseconds, as seen from outside."""

    text: str
    stop_reason: str
    input_tokens: int
    output_tokens: int
    latency_ms: int


# A query's answer: a reply, a rejection of the query, or the last transient error.
ModelAnswer = ModelReply | InvalidInputError | TransientError


@dataclass(frozen=True, slots=True)
class Decision:
    """The weights for one query, and what they cost."""

    weights: Weights
    tier: Tier
    status: Status
    model: str
    latency_ms: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    problem: str = ""


def decide(reply: ModelReply, serving: ServingModel) -> Decision:
    """Turn a model's reply into a decision; an invalid one becomes the prior, at the same cost."""
    status, problem = Status.FALLBACK, ""
    weights = serving.prior
    if reply.stop_reason != END_TURN:
        problem = f"stop reason {reply.stop_reason}"
    else:
        try:
            weights, repaired = parse_answer(reply.text, serving.modalities)
            status = Status.REPAIRED if repaired else Status.OK
        except InvalidInputError as error:
            problem = str(error)
    return Decision(
        weights=weights,
        tier=Tier.FALLBACK if status is Status.FALLBACK else Tier.DISTILLED,
        status=status,
        model=serving.model_id,
        latency_ms=reply.latency_ms,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        cost_usd=cost_usd(serving.priced_as, reply.input_tokens, reply.output_tokens),
        problem=problem,
    )


def prior_decision(prior: Weights, problem: str) -> Decision:
    """Answer without any model, with the champion's mean training label."""
    return Decision(prior, Tier.FALLBACK, Status.FALLBACK, model="", problem=problem)


def parse_answer(text: str, modalities: Modalities) -> tuple[Weights, bool]:
    """Read an answer's weights and tell whether they had to be repaired.

    Raises InvalidInputError when no JSON object in the text meets the weight contract.
    """
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise InvalidInputError("no JSON object in the answer")
    surrounded = bool(text[:start].strip() or text[end + 1 :].strip())
    try:
        raw = text[start : end + 1].encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError("the answer is not valid Unicode") from None
    weights = weights_from_object(strict_json.loads(raw), modalities)
    off = abs(sum(weights) - 1.0) > EXACT_SUM_TOLERANCE
    return normalise(weights), surrounded or off


def cached_value(decision: Decision, owner: str) -> str:
    """Serialise what the cache keeps: the answer, what it cost, and for whom it was asked."""
    return json.dumps(
        {
            "weights": decision.weights,
            "status": decision.status.value,
            "model": decision.model,
            "owner": owner,
            "call": [
                decision.latency_ms,
                decision.input_tokens,
                decision.output_tokens,
                decision.cost_usd,
            ],
        }
    )


def decision_from_cache(value: str, owner: str) -> Decision:
    """Read back what `cached_value` wrote.

    For anybody it costs nothing and took no call. For the owner itself, who lost the answer to a
    crash or a deadline, it is the call that was paid for, so that no attempt's money is forgotten.
    """
    kept = json.loads(value)
    weights, status, model = tuple(kept["weights"]), Status(kept["status"]), kept["model"]
    if owner and kept["owner"] == owner:
        return Decision(weights, Tier.DISTILLED, status, model, *kept["call"])
    return Decision(weights, Tier.CACHE, status, model)

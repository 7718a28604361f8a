"""The decision for one query, made from a model's answer.

An answer must meet the weight contract. Two repairs are allowed and counted: text or code fences
around the JSON object are removed, and a sum within 0.01 of 1 is scaled. Any other deviation makes
the answer invalid, and the query gets the champion's prior instead.
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
    """The tier that answered."""

    CACHE = "cache"
    LOCAL = "local"
    DISTILLED = "distilled"
    FALLBACK = "fallback"


class Status(StrEnum):
    """Whether the answer was valid."""

    OK = "ok"
    REPAIRED = "repaired"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class ModelReply:
    """Converse's reply to one query; the latency is measured by the caller."""

    text: str
    stop_reason: str
    input_tokens: int
    output_tokens: int
    latency_ms: int


# A query's answer: a reply, a rejection of the query, or the last transient error.
ModelAnswer = ModelReply | InvalidInputError | TransientError


@dataclass(frozen=True, slots=True)
class Decision:
    """The weights for one query, and the call that they took."""

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
    """Return the decision for a model's reply: its weights, or the prior if it is invalid."""
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
    """Return a decision made without a model: the champion's mean training label."""
    return Decision(prior, Tier.FALLBACK, Status.FALLBACK, model="", problem=problem)


def parse_answer(text: str, modalities: Modalities) -> tuple[Weights, bool]:
    """Return an answer's weights and whether they were repaired.

    Raises InvalidInputError if no JSON object in the text meets the weight contract.
    """
    found = json_object_in(text)
    try:
        raw = found.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError("the answer is not valid Unicode") from None
    weights = weights_from_object(strict_json.loads(raw), modalities)
    scaled = abs(sum(weights) - 1.0) > EXACT_SUM_TOLERANCE
    return normalise(weights), scaled or found != text.strip()


def json_object_in(text: str) -> str:
    """Return the text from the first `{` to the last `}`; raises InvalidInputError."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise InvalidInputError("no JSON object in the answer")
    return text[start : end + 1]


def cached_value(decision: Decision, owner: str) -> str:
    """Serialise a decision for the cache, with the call it took and the owner of the call."""
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
    """Deserialise a decision that `cached_value` wrote.

    It costs nothing, except for its owner: that is a later attempt at the same split, whose
    statistics must include the calls that the interrupted attempt paid for.
    """
    cached = json.loads(value)
    weights, status, model = tuple(cached["weights"]), Status(cached["status"]), cached["model"]
    if owner and cached["owner"] == owner:
        return Decision(weights, Tier.DISTILLED, status, model, *cached["call"])
    return Decision(weights, Tier.CACHE, status, model)

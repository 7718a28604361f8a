"""Bedrock's runtime: deployments whose answer to a query is a function of both, right or wrong."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from tests.simulation.virtual_aws.wire import NotPlayedError, Reply, Request, ServiceError

MODALITIES = ("visual", "audio", "transcription", "metadata")
PRIOR = (0.4, 0.3, 0.2, 0.1)
REFUSED = "refuse me"  # Bedrock's ValidationException is what a query with these words gets


class Manner(StrEnum):
    """How a deployment answers a query; nine of ten answers are plain."""

    PLAIN = "plain"
    FENCED = "fenced"
    OFF = "off"
    PROSE = "prose"
    CUT = "cut"
    REFUSAL = "refusal"


STATUS = {
    Manner.PLAIN: "ok",
    Manner.FENCED: "repaired",
    Manner.OFF: "repaired",
    Manner.PROSE: "fallback",
    Manner.CUT: "fallback",
    Manner.REFUSAL: "fallback",
}
_ODD = (Manner.FENCED, Manner.OFF, Manner.PROSE, Manner.CUT)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the oracle knows: the weights that a row must carry, and its status."""

    weights: tuple[float, ...]
    manner: Manner

    @property
    def status(self) -> str:
        return STATUS[self.manner]


def expected(deployment: str, query: str) -> Answer:
    """Return what asking a deployment must lead to, by the weight contract."""
    digest = hashlib.sha256(f"{deployment} {query}".encode()).digest()
    if REFUSED in query:
        return Answer(PRIOR, Manner.REFUSAL)
    manner = _ODD[digest[1] % len(_ODD)] if digest[0] < 26 else Manner.PLAIN
    if STATUS[manner] == "fallback":
        return Answer(PRIOR, manner)
    parts = [1 + byte % 16 for byte in digest[2:6]]
    return Answer(tuple(part / sum(parts) for part in parts), manner)


@dataclass(slots=True)
class VirtualModels:
    """Answers Converse; `asked` counts calls, `billed` notes who was answered, by query."""

    normalised: Callable[[str], str]
    asking: Callable[[], object]
    deployments: set[str] = field(default_factory=set)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    billed: dict[tuple[str, str], list[Any]] = field(default_factory=dict)

    def answer(self, request: Request) -> Reply:
        """Perform one request."""
        if request.operation != "Converse":
            raise NotPlayedError(str(request))
        deployment = unquote(request.path.removeprefix("/model/").removesuffix("/converse"))
        query = self.normalised(request.json["messages"][0]["content"][0]["text"])
        self.asked[deployment, query] += 1
        if deployment not in self.deployments:
            raise ServiceError("ResourceNotFoundException", 404, "no such deployment")
        answer = expected(deployment, query)
        if answer.manner is Manner.REFUSAL:
            raise ServiceError("ValidationException", 400, "refused")
        self.billed.setdefault((deployment, query), []).append(self.asking())
        return _reply(_text(answer), "max_tokens" if answer.manner is Manner.CUT else "end_turn")


def _text(answer: Answer) -> str:
    weights = list(answer.weights)
    match answer.manner:
        case Manner.PROSE:
            return "I would look at the pictures first."
        case Manner.CUT:
            return '{"visual": 0.'
        case Manner.OFF:
            weights = [weight * 1.004 for weight in weights]
    text = json.dumps(dict(zip(MODALITIES, weights, strict=True)))
    return f"```json\n{text}\n```" if answer.manner is Manner.FENCED else text


def _reply(text: str, stop_reason: str) -> Reply:
    return Reply.of(
        {
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": stop_reason,
            "usage": {"inputTokens": 50, "outputTokens": 30, "totalTokens": 80},
            "metrics": {"latencyMs": 800},
        }
    )

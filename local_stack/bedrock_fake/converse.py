"""Converse: validation of conversations, the request quota, latency and token counts."""

import itertools
import math
import threading
from datetime import datetime
from statistics import NormalDist

from local_stack.bedrock_fake.clock import draw
from local_stack.bedrock_fake.contract import BedrockError, Params, UnimplementedError, invalid
from local_stack.bedrock_fake.custom_models import Deployments
from local_stack.bedrock_fake.foundation_models import NOVA_MICRO, FoundationModels
from local_stack.bedrock_fake.resources import Account
from local_stack.bedrock_fake.settings import FakeSettings
from local_stack.bedrock_fake.teacher import Answer, AnsweringModel, BaseStudent, Teacher

_CHARACTERS_PER_TOKEN = 4
_CUSTOM_MODELS = "custom models"  # all deployments share one quota
_IMPLEMENTED = frozenset(
    {"modelId", "messages", "system", "inferenceConfig", "requestMetadata", "serviceTier"}
)
_SPREAD = 0.3  # sigma of the log latency: the slowest 1 % take about twice the mean
_NORMAL = NormalDist()


class Conversations:
    """Answers Converse for deployments and foundation models."""

    def __init__(
        self, account: Account, deployments: Deployments, foundation_models: FoundationModels
    ) -> None:
        self._account = account
        self._deployments = deployments
        self._foundation_models = foundation_models
        self._quota = RequestQuota(account)

    def converse(self, params: Params) -> Params:
        """Answer Converse: the reply to the last user turn, after quota and latency."""
        _check_implemented(params)
        query = _check_messages(params.get("messages", []))
        system = "\n".join(block["text"] for block in params.get("system", []))
        model, quota = self._find_model(params["modelId"])
        self._quota.take(quota)
        settings = self._account.settings
        latency = latency_ms(settings, query)
        if latency:
            self._account.clock.sleep(latency / 1000)
        answer = _cut(model.reply(system, query, settings), params.get("inferenceConfig", {}))
        input_tokens = _tokens(system) + sum(
            _tokens(block["text"]) for message in params["messages"] for block in message["content"]
        )
        output_tokens = _tokens(answer.text)
        return {
            "output": {"message": {"role": "assistant", "content": [{"text": answer.text}]}},
            "stopReason": answer.stop_reason,
            "usage": {
                "inputTokens": input_tokens,
                "outputTokens": output_tokens,
                "totalTokens": input_tokens + output_tokens,
            },
            "metrics": {"latencyMs": max(1, round(latency))},
        }

    def _find_model(self, model_id: str) -> tuple[AnsweringModel, str]:
        """Return the model that answers and the name of its quota."""
        if ":custom-model-deployment/" in model_id:
            return self._deployments.serving(model_id).model, _CUSTOM_MODELS
        found = self._foundation_models.serving(model_id)
        model = BaseStudent() if found.model_id == NOVA_MICRO else Teacher()
        return model, found.model_id


class RequestQuota:
    """A token bucket per model that holds at most one second of requests."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._buckets: dict[str, tuple[float, datetime]] = {}
        self._lock = threading.Lock()

    def take(self, model: str) -> None:
        """Take one request of the model's quota; `BedrockError` (ThrottlingException) if none."""
        per_second = self._account.settings.requests_per_minute / 60
        if not per_second:
            return
        now, capacity = self._account.now(), max(1.0, per_second)
        with self._lock:
            left, since = self._buckets.get(model, (capacity, now))
            waited = max(0.0, (now - since).total_seconds())
            available = min(capacity, left + waited * per_second)
            is_admitted = available >= 1.0
            self._buckets[model] = (available - is_admitted, now)
        if not is_admitted:
            raise BedrockError(
                "ThrottlingException", "Too many requests, please wait before trying again."
            )


def latency_ms(settings: FakeSettings, query: str) -> float:
    """Return the simulated latency of a query: lognormal around the mean, or 0 without a mean."""
    if not settings.mean_latency_ms:
        return 0.0
    deviation = _NORMAL.inv_cdf(draw(settings.seed, "latency", query))
    location = math.log(settings.mean_latency_ms) - _SPREAD**2 / 2
    return math.exp(location + _SPREAD * deviation)


def _check_implemented(params: Params) -> None:
    if "outputConfig" in params:
        raise invalid("This model doesn't support the outputConfig field. Remove it and try again.")
    others = sorted(params.keys() - _IMPLEMENTED)
    if "stopSequences" in params.get("inferenceConfig", {}):
        others.append("stopSequences")
    if others:
        raise UnimplementedError(f"Converse with {', '.join(others)}")
    blocks = [block for message in params.get("messages", []) for block in message["content"]]
    if any("text" not in block for block in (*blocks, *params.get("system", []))):
        raise UnimplementedError("content other than text")


def _check_messages(messages: list[Params]) -> str:
    """Return the text of the last user turn; raises `BedrockError` (ValidationException)."""
    if not messages or messages[0]["role"] != "user":
        raise invalid("A conversation must start with a user message. Try again.")
    roles = [message["role"] for message in messages]
    if any(role == following for role, following in itertools.pairwise(roles)):
        raise invalid("A conversation must alternate between user and assistant roles. Try again.")
    if roles[-1] != "user":
        raise invalid("The model doesn't support an assistant message at the end. Try again.")
    for index, message in enumerate(messages):
        if not all(block["text"].strip() for block in message["content"]) or not message["content"]:
            raise invalid(f"The content field in the Message object at messages.{index} is blank.")
    return "\n".join(block["text"] for block in messages[-1]["content"])


def _cut(answer: Answer, inference: Params) -> Answer:
    """Truncate an answer that is longer than `maxTokens`."""
    limit = inference.get("maxTokens", math.inf)
    if _tokens(answer.text) <= limit:
        return answer
    return Answer(answer.text[: limit * _CHARACTERS_PER_TOKEN], "max_tokens")


def _tokens(text: str) -> int:
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)

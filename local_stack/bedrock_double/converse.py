"""Converse and InvokeModel: who answers, what Bedrock refuses first, and what an answer weighs."""

import itertools
import json
import math
from collections.abc import Mapping

from local_stack.bedrock_double.api import Operation
from local_stack.bedrock_double.base_student import BaseStudent
from local_stack.bedrock_double.clock import Clock
from local_stack.bedrock_double.contract import Params, list_violations
from local_stack.bedrock_double.deployments import Deployments
from local_stack.bedrock_double.errors import BedrockError, NotPlayedError
from local_stack.bedrock_double.foundation_models import NOVA_MICRO, FoundationModels
from local_stack.bedrock_double.routes import bedrock_router
from local_stack.bedrock_double.settings import LiveSettings
from local_stack.bedrock_double.speech import Speaker, Utterance
from local_stack.bedrock_double.teacher import Teacher
from local_stack.bedrock_double.traffic import RequestQuota, latency_ms

_CHARACTERS_PER_TOKEN = 4
_CUSTOM_MODELS = "custom models"  # all deployments share one quota
_PLAYED = frozenset(
    {"modelId", "messages", "system", "inferenceConfig", "requestMetadata", "serviceTier"}
)


class Conversations:
    """Answers Converse on deployments and on Bedrock's own models."""

    def __init__(
        self,
        deployments: Deployments,
        foundation_models: FoundationModels,
        teacher: Teacher,
        clock: Clock,
        settings: LiveSettings,
    ) -> None:
        self._deployments = deployments
        self._foundation_models = foundation_models
        self._teacher = teacher
        self._base_student = BaseStudent()
        self._clock = clock
        self._settings = settings
        self._quota = RequestQuota(clock, settings)

    def operations(self) -> Mapping[str, Operation]:
        """Return what callers can ask of this room."""
        return {"Converse": self.converse, "InvokeModel": self.invoke}

    def converse(self, params: Params) -> Params:
        """Answer the last user turn, after the quota and the simulated latency."""
        _refuse_what_is_not_played(params)
        query = _check_messages(params.get("messages", []))
        system = "\n".join(block["text"] for block in params.get("system", []))
        speaker, quota = self._find_speaker(params["modelId"])
        self._quota.admit(quota)
        settings = self._settings.current
        latency = latency_ms(settings, query)
        if latency:
            self._clock.sleep(latency / 1000)
        utterance = _cut(speaker.reply(system, query, settings), params.get("inferenceConfig", {}))
        return _reply(utterance, _tokens(system) + _all_tokens(params["messages"]), latency)

    def invoke(self, params: Params) -> Params:
        """Answer InvokeModel with Nova's own body, which holds what Converse is asked with."""
        reply = self.converse(_read_nova_body(params))
        body = {name: reply[name] for name in ("output", "stopReason", "usage")}
        return {"body": json.dumps(body).encode(), "contentType": "application/json"}

    def _find_speaker(self, model_id: str) -> tuple[Speaker, str]:
        """Return the model that answers and the name of its quota."""
        if ":custom-model-deployment/" in model_id:
            return self._deployments.serving(model_id).speaker, _CUSTOM_MODELS
        model = self._foundation_models.serving(model_id)
        if model.model_id == NOVA_MICRO:
            return self._base_student, model.model_id
        return self._teacher, model.model_id


def _read_nova_body(params: Params) -> Params:
    """Return an InvokeModel request in Converse's words."""
    if "anthropic." in params["modelId"]:
        raise NotPlayedError("InvokeModel on models other than Nova")
    try:
        body = json.loads(params.get("body", b""))
    except (ValueError, RecursionError) as error:
        raise _invalid("Malformed input request, please reformat your input.") from error
    if not isinstance(body, dict):
        raise _invalid("Malformed input request: expected type: JSONObject.")
    body.pop("schemaVersion", None)
    request = {**body, "modelId": params["modelId"]}
    shape = bedrock_router().operation("Converse").input_shape
    violations = list_violations(request, shape) if shape else []
    if violations:
        raise _invalid(f"Malformed input request: {'; '.join(violations)}")
    return request


def _refuse_what_is_not_played(params: Params) -> None:
    if "outputConfig" in params:
        raise _invalid(
            "This model doesn't support the outputConfig field. Remove it and try again."
        )
    others = sorted(params.keys() - _PLAYED)
    if "stopSequences" in params.get("inferenceConfig", {}):
        others.append("stopSequences")
    if others:
        raise NotPlayedError(f"Converse with {', '.join(others)}")
    blocks = [block for message in params.get("messages", []) for block in message["content"]]
    if any("text" not in block for block in (*blocks, *params.get("system", []))):
        raise NotPlayedError("content other than text")


def _check_messages(messages: list[Params]) -> str:
    """Return the last user turn's text when the conversation is one that Bedrock takes."""
    if not messages or messages[0]["role"] != "user":
        raise _invalid("A conversation must start with a user message. Try again.")
    roles = [message["role"] for message in messages]
    if any(role == following for role, following in itertools.pairwise(roles)):
        raise _invalid("A conversation must alternate between user and assistant roles. Try again.")
    if roles[-1] != "user":
        raise _invalid("The model doesn't support an assistant message at the end. Try again.")
    for place, message in enumerate(messages):
        if not all(block["text"].strip() for block in message["content"]) or not message["content"]:
            raise _invalid(f"The content field in the Message object at messages.{place} is blank.")
    return "\n".join(block["text"] for block in messages[-1]["content"])


def _cut(utterance: Utterance, inference: Params) -> Utterance:
    """Return the answer within `maxTokens`; a longer one is cut, as a model's is."""
    limit = inference.get("maxTokens", math.inf)
    if _tokens(utterance.text) <= limit:
        return utterance
    return Utterance(utterance.text[: limit * _CHARACTERS_PER_TOKEN], "max_tokens")


def _reply(utterance: Utterance, input_tokens: int, latency: float) -> Params:
    output_tokens = _tokens(utterance.text)
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": utterance.text}]}},
        "stopReason": utterance.stop_reason,
        "usage": {
            "inputTokens": input_tokens,
            "outputTokens": output_tokens,
            "totalTokens": input_tokens + output_tokens,
        },
        "metrics": {"latencyMs": max(1, round(latency))},
    }


def _all_tokens(messages: list[Params]) -> int:
    return sum(_tokens(block["text"]) for message in messages for block in message["content"])


def _tokens(text: str) -> int:
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def _invalid(message: str) -> BedrockError:
    return BedrockError("ValidationException", message)

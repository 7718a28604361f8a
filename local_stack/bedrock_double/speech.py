"""What models say and how they are asked: the words shared by teacher, student and base student."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from local_stack.bedrock_double.settings import DoubleSettings

_DEFAULT_MODALITIES = ("visual", "audio", "transcription", "metadata")
_ASKED_FOR = re.compile(r"JSON with (?P<names>[\w ,-]+?) weights", re.IGNORECASE)
_SEPARATOR = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+")


@dataclass(frozen=True, slots=True)
class Utterance:
    """A model's answer before Converse cuts and counts it."""

    text: str
    stop_reason: str = "end_turn"


class Speaker(Protocol):
    """A model behind Converse."""

    def reply(self, system: str, query: str, settings: DoubleSettings) -> Utterance:
        """Answer one user turn."""
        ...


def modalities_of(system: str) -> tuple[str, ...]:
    """Return the modalities that a system prompt asks weights for, else the default four."""
    asked = _ASKED_FOR.search(system)
    return tuple(_SEPARATOR.split(asked["names"].strip())) if asked else _DEFAULT_MODALITIES


def weights_text(weights: Mapping[str, float], *, with_reasoning: bool) -> str:
    """Return the JSON answer of a model that does what it was asked."""
    if not with_reasoning:
        return json.dumps(weights)
    reasoning = f"The query is answered mostly by its {dominant(weights)} content."
    return json.dumps({**weights, "reasoning": reasoning})


def dominant(weights: Mapping[str, float]) -> str:
    """Return the modality with the largest weight, the first one of equals."""
    return max(weights, key=lambda modality: weights[modality])

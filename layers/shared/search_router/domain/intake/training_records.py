"""What Bedrock is sent: one record of its conversation schema a line."""

import json

from search_router.domain.intake.labels import render_label
from search_router.domain.weights import Modalities, Weights

SCHEMA_VERSION = "bedrock-conversation-2024"
MAX_RECORD_BYTES = 16_000  # Bedrock quota "Maximum line length for distillation": 16 KB

_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def training_line(
    query: str,
    system_prompt: str,
    modalities: Modalities,
    weights: Weights | None,
    reasoning: str | None,
) -> bytes:
    """Render one training record of Bedrock's schema, with its line end."""
    messages = [{"role": "user", "content": [{"text": query}]}]
    if weights is not None:
        label = render_label(modalities, weights, reasoning)
        messages.append({"role": "assistant", "content": [{"text": label}]})
    record = {
        "schemaVersion": SCHEMA_VERSION,
        "system": [{"text": system_prompt}],
        "messages": messages,
    }
    return _encoded(record).encode("utf-8") + b"\n"

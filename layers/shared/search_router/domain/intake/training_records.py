"""Training data in Bedrock's format: one system prompt, one record per line, shards."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from search_router.domain.intake.labels import render_label
from search_router.domain.weights import Modalities, Weights, default_system_prompt

SCHEMA_VERSION = "bedrock-conversation-2024"
MAX_RECORD_BYTES = 16_000  # Bedrock quota "Maximum line length for distillation": 16 KB
SHARD_ROWS = 1_000
SHARD_BYTES = 4 * 1024 * 1024  # sent in one request
_MAX_PROMPTS = 22  # more than an error message lists, even if two of them are defaults

_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class TrainingRow(NamedTuple):
    """A distinct query with its label and its training record, a line."""

    query: str
    label: Weights | None
    line: bytes


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


def shards(rows: Sequence[TrainingRow]) -> Iterator[bytes]:
    """Yield the lines of the rows in shards of at most 1,000 records and 4 MiB."""
    held: list[bytes] = []
    size = 0
    for row in rows:
        if len(held) == SHARD_ROWS or size + len(row.line) > SHARD_BYTES:
            yield b"".join(held)
            held, size = [], 0
        held.append(row.line)
        size += len(row.line)
    if held:
        yield b"".join(held)


class SystemPrompts:
    """Collects the distinct system prompts of a dataset, which must have only one.

    A dataset's own prompt is kept: the model is served with the prompt that it is trained with.
    The two default prompts, with and without reasoning, count as the same; the one that fits the
    training records replaces both.
    """

    def __init__(self, modalities: Modalities, *, with_reasoning: bool) -> None:
        self._default = default_system_prompt(modalities, with_reasoning=with_reasoning)
        other = default_system_prompt(modalities, with_reasoning=not with_reasoning)
        self._replaced = {other: self._default}
        self._first_seen: dict[str, str] = {}

    def add(self, prompt: str, file: str, line_number: int) -> None:
        """Record the prompt of a row."""
        if prompt not in self._first_seen and len(self._first_seen) < _MAX_PROMPTS:
            self._first_seen[prompt] = f"{file} line {line_number}".lstrip()

    @property
    def agreed(self) -> str:
        """The prompt of all rows; the default if no row has one."""
        return next(iter(self._distinct()), self._default)

    @property
    def differing(self) -> Sequence[str]:
        """File and line where each prompt was first seen; empty if all agree."""
        distinct = self._distinct()
        return list(distinct.values()) if len(distinct) > 1 else ()

    def _distinct(self) -> dict[str, str]:
        distinct: dict[str, str] = {}
        for prompt, location in self._first_seen.items():
            distinct.setdefault(self._replaced.get(prompt, prompt), location)
        return distinct

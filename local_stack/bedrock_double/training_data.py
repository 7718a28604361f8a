"""A job's training object, read line by line under Bedrock's rules for distillation data.

Written from AWS's own dataset validator and quotas, on purpose not from the router's code: it is
the second opinion on what the router uploads.
"""

import json
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = "bedrock-conversation-2024"
MIN_RECORDS = 100
MAX_RECORDS = 15_000
MAX_LINE_BYTES = 16_000


class TrainingRefusedError(Exception):
    """The training object cannot make a model; the message becomes the job's failure message."""


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """One valid line; without an answer the teacher answers."""

    query: str
    system: str = ""
    answer: str | None = None


def read_training_set(body: bytes) -> list[PromptRecord]:
    """Return the valid records of a JSONL object, in order; invalid lines are dropped.

    Raises `TrainingRefusedError` outside 100 to 15,000 records.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    records = [record for line in lines if (record := _read_line(line)) is not None]
    if len(lines) > MAX_RECORDS:
        raise TrainingRefusedError(
            f"The training dataset has {len(lines)} records, the maximum is {MAX_RECORDS}."
        )
    if len(records) < MIN_RECORDS:
        raise TrainingRefusedError(
            f"The training dataset has {len(records)} valid records of {len(lines)}, the minimum "
            f"is {MIN_RECORDS}."
        )
    return records


def _read_line(line: bytes) -> PromptRecord | None:
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        return _read_record(json.loads(line))
    except (ValueError, RecursionError, _NotConformingError):
        return None


class _NotConformingError(Exception):
    """A part of the record is not what the schema says."""


def _read_record(record: Any) -> PromptRecord:
    _object(record, required={"schemaVersion", "messages"}, optional={"system"})
    _expect(record["schemaVersion"] == SCHEMA_VERSION)
    system = _only(record["system"]) if "system" in record else {"text": ""}
    _object(system, required={"text"})
    messages = record["messages"]
    _expect(isinstance(messages, list) and len(messages) in (1, 2))
    texts = [
        _turn(message, role) for message, role in zip(messages, ("user", "assistant"), strict=False)
    ]
    answer = texts[1] if len(texts) > 1 else None
    return PromptRecord(texts[0], _text(system["text"]), answer)


def _turn(message: Any, role: str) -> str:
    _object(message, required={"role", "content"})
    _expect(message["role"] == role)
    block = _only(message["content"])
    _object(block, required={"text"}, optional={"type"})
    return _text(block["text"])


def _only(items: Any) -> Any:
    _expect(isinstance(items, list) and len(items) == 1)
    return items[0]


def _object(
    value: Any, required: set[str], optional: frozenset[str] | set[str] = frozenset()
) -> None:
    _expect(isinstance(value, dict) and required <= value.keys() <= required | optional)


def _text(value: Any) -> str:
    _expect(isinstance(value, str))
    return str(value)


def _expect(holds: bool) -> None:
    if not holds:
        raise _NotConformingError

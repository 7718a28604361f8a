"""One line of a prompt file: what is accepted, and why a line is refused.

The record rules are AWS's own for distillation datasets (amazon-bedrock-samples, model_distillation
dataset-validation, and the Bedrock user guide's "distillation-data-prep" pages). Two short forms
are accepted and converted: `{"query" | "prompt": text}` and `{"query": text, "reference":
weights}`.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.labels import Label, label_from_object, parse_label
from search_router.domain.intake.training_records import (
    MAX_RECORD_BYTES,
    SCHEMA_VERSION,
    training_line,
)
from search_router.domain.streams import Line
from search_router.domain.weights import Modalities, Weights, default_system_prompt

_RECORD_KEYS = {"schemaVersion", "system", "messages"}
_SHORT_FORMS = ({"query"}, {"prompt"}, {"query", "reference"})


class RejectReason(StrEnum):
    """Why a line of a prompt file was refused."""

    LINE_TOO_LONG = "line_too_long"
    """Longer than 16,000 bytes, as it came or after conversion to a training record."""
    NOT_UTF8 = "not_utf8"
    """Not UTF-8, or a string with half of a surrogate pair."""
    INVALID_JSON = "invalid_json"
    """Not one JSON text by RFC 8259; also NaN, huge numbers and nesting deeper than 64."""
    DUPLICATE_KEY = "duplicate_key"
    """An object names a key twice."""
    NOT_A_RECORD = "not_a_record"
    """Valid JSON, but none of the accepted shapes."""
    WRONG_SCHEMA_VERSION = "wrong_schema_version"
    """`schemaVersion` is not bedrock-conversation-2024."""
    WRONG_SYSTEM = "wrong_system"
    """`system` is not exactly one non-blank text block."""
    WRONG_MESSAGES = "wrong_messages"
    """`messages` is not one user turn and at most one assistant turn of one text block each."""
    BLANK_QUERY = "blank_query"
    """The query holds nothing but white space."""
    INVALID_LABEL = "invalid_label"
    """The label is not valid weights for the configured modalities."""


class PromptRecord(NamedTuple):
    """One accepted line: the query as it was written, with its label if it has one."""

    line_number: int
    query: str
    weights: Weights | None
    reasoning: str | None
    system_prompt: str | None


class RejectedLine(NamedTuple):
    """One refused line, with its place and reason; `detail` may name keys, never values."""

    line_number: int
    byte_offset: int
    reason: RejectReason
    detail: str
    text: str | None


class _LineError(InvalidInputError):
    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def read_strictly(line: Line, modalities: Modalities) -> PromptRecord | RejectedLine | None:
    """Turn a line into a record or a rejection; None for a blank line, which counts as neither."""
    if line.data is None:
        detail = f"{line.size} bytes, the limit is {MAX_RECORD_BYTES}"
        return _rejected(line, RejectReason.LINE_TOO_LONG, detail)
    if not line.data.strip():
        return None
    try:
        record = _read_value(line.number, _parse(line.data), modalities)
        _check_size(line, record, modalities)
        return record
    except _LineError as error:
        return _rejected(line, error.reason, str(error))


def rejected_line(file: str, rejected: RejectedLine) -> bytes:
    """Render a rejection for `rejected.jsonl`; the text is kept so that it can be mended."""
    row = {"file": file, **rejected._asdict(), "reason": rejected.reason.value}
    return json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n"


def _parse(data: bytes) -> Mapping[str, object]:
    try:
        value = strict_json.loads(data)
    except strict_json.DuplicateKeyError as error:
        raise _LineError(RejectReason.DUPLICATE_KEY, str(error)) from None
    except strict_json.EncodingError as error:
        raise _LineError(RejectReason.NOT_UTF8, str(error)) from None
    except InvalidInputError as error:
        raise _LineError(RejectReason.INVALID_JSON, str(error)) from None
    if not isinstance(value, dict):
        raise _LineError(RejectReason.NOT_A_RECORD, "not a JSON object")
    return value


def _read_value(number: int, value: Mapping[str, object], modalities: Modalities) -> PromptRecord:
    keys = set(value)
    if "schemaVersion" in keys or "messages" in keys:
        system, query, answer = _read_conversation(value, keys)
    elif keys in _SHORT_FORMS:
        system, query, answer = None, _text(value.get("query", value.get("prompt"))), None
        if "reference" in keys:
            answer = _reference(value["reference"])
    else:
        raise _LineError(RejectReason.NOT_A_RECORD, "none of the accepted shapes")
    if not query.strip():
        raise _LineError(RejectReason.BLANK_QUERY, "the query is blank")
    weights, reasoning = (None, None) if answer is None else _read_label(answer, modalities)
    return PromptRecord(number, query, weights, reasoning, system)


def _read_conversation(
    value: Mapping[str, object], keys: set[str]
) -> tuple[str | None, str, object | None]:
    if extra := keys - _RECORD_KEYS:
        raise _LineError(RejectReason.NOT_A_RECORD, f"{len(extra)} keys outside the schema")
    if value.get("schemaVersion") != SCHEMA_VERSION:
        raise _LineError(RejectReason.WRONG_SCHEMA_VERSION, f"expected {SCHEMA_VERSION}")
    system = _block_text(value["system"], RejectReason.WRONG_SYSTEM) if "system" in keys else None
    messages = value.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= 2:
        raise _LineError(RejectReason.WRONG_MESSAGES, "expected one or two messages")
    turns = [
        _turn(message, role) for message, role in zip(messages, ("user", "assistant"), strict=False)
    ]
    return system, turns[0], turns[1] if len(turns) == 2 else None


def _turn(message: object, role: str) -> str:
    if not isinstance(message, dict) or set(message) != {"role", "content"}:
        raise _LineError(RejectReason.WRONG_MESSAGES, "a message holds role and content only")
    if message["role"] != role:
        raise _LineError(RejectReason.WRONG_MESSAGES, f"expected the role {role}")
    return _block_text(message["content"], RejectReason.WRONG_MESSAGES)


def _block_text(blocks: object, reason: RejectReason) -> str:
    if not isinstance(blocks, list) or len(blocks) != 1 or not isinstance(blocks[0], dict):
        raise _LineError(reason, "expected exactly one text block")
    block = blocks[0]
    text = block.get("text")
    if not set(block) <= {"text", "type"} or block.get("type", "text") != "text":
        raise _LineError(reason, "expected a text block")
    if not isinstance(text, str) or (reason is RejectReason.WRONG_SYSTEM and not text.strip()):
        raise _LineError(reason, "the text is missing or blank")
    return text


def _check_size(line: Line, record: PromptRecord, modalities: Modalities) -> None:
    """Refuse what conversion would make too long; a consensus label adds less than 384 bytes."""
    if line.size < MAX_RECORD_BYTES // 3:  # quoting a label again at most doubles it
        return
    prompt = record.system_prompt or default_system_prompt(modalities)
    rendered = training_line(record.query, prompt, modalities, record.weights, record.reasoning)
    if len(rendered) - 1 > MAX_RECORD_BYTES:
        detail = f"{len(rendered) - 1} bytes as a record, the limit is {MAX_RECORD_BYTES}"
        raise _LineError(RejectReason.LINE_TOO_LONG, detail)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _LineError(RejectReason.NOT_A_RECORD, "the query is not a text")
    return value


def _reference(answer: object) -> object:
    """Refuse null: it is as likely a label that got lost as one that was never there."""
    if answer is None:
        detail = "the reference is null; leave the key out for a query without a label"
        raise _LineError(RejectReason.INVALID_LABEL, detail)
    return answer


def _read_label(answer: object, modalities: Modalities) -> Label:
    try:
        if isinstance(answer, str):
            return parse_label(answer, modalities)
        return label_from_object(answer, modalities)
    except InvalidInputError as error:
        raise _LineError(RejectReason.INVALID_LABEL, str(error)) from None


def _rejected(line: Line, reason: RejectReason, detail: str) -> RejectedLine:
    text = None if line.data is None else line.data.decode("utf-8", errors="backslashreplace")
    return RejectedLine(line.number, line.offset, reason, detail, text)

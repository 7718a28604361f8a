"""Parses one line of a prompt file into a record, or rejects it with a reason.

The rules for records are those of AWS for distillation datasets (amazon-bedrock-samples,
model_distillation dataset-validation, and the "distillation-data-prep" pages of the Bedrock user
guide). Two short forms are converted: `{"query" | "prompt": text}` and `{"query": text,
"reference": weights}`.
"""

import json
import re
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
from search_router.domain.queries import MAX_QUERY_BYTES
from search_router.domain.streams import Line
from search_router.domain.weights import Modalities, Weights, default_system_prompt

_RECORD_KEYS = {"schemaVersion", "system", "messages"}
_SHORT_FORMS = ({"query"}, {"prompt"}, {"query", "reference"})
_ONE_OBJECT = "Write one JSON object per line."
_ONE_BLOCK = 'Write [{"text": "…"}].'


class RejectReason(StrEnum):
    """Why a line of a prompt file is rejected."""

    LINE_TOO_LONG = "line_too_long"
    """Longer than 16,000 bytes, as uploaded or converted to a training record."""
    NOT_UTF8 = "not_utf8"
    """Not UTF-8, or a string with half of a surrogate pair."""
    INVALID_JSON = "invalid_json"
    """Not one JSON value by RFC 8259; also NaN, huge numbers and nesting deeper than 64."""
    DUPLICATE_KEY = "duplicate_key"
    """An object has the same key twice."""
    NOT_A_RECORD = "not_a_record"
    """Valid JSON, but none of the accepted shapes."""
    WRONG_SCHEMA_VERSION = "wrong_schema_version"
    """`schemaVersion` is not bedrock-conversation-2024."""
    WRONG_SYSTEM = "wrong_system"
    """`system` is not exactly one non-blank text block."""
    WRONG_MESSAGES = "wrong_messages"
    """`messages` is not one user turn and at most one assistant turn of one text block each."""
    BLANK_QUERY = "blank_query"
    """The query is empty or white space."""
    QUERY_TOO_LONG = "query_too_long"
    """The query is longer than 4,000 bytes, the limit of routing."""
    GOLDEN = "golden"
    """The query is in the golden set, on which no model may be trained."""
    INVALID_LABEL = "invalid_label"
    """The label does not hold valid weights for the configured modalities."""


class PromptRecord(NamedTuple):
    """One accepted line: the query as written, and its label if it has one."""

    line_number: int
    query: str
    weights: Weights | None
    reasoning: str | None
    system_prompt: str | None


class RejectedLine(NamedTuple):
    """One rejected line; `detail` gives cause and remedy, and may name keys but no values."""

    line_number: int
    byte_offset: int
    reason: RejectReason
    detail: str
    text: str | None


def cause_of(detail: str) -> str:
    """Return the first sentence of a detail without its numbers, to count rejections by."""
    return re.sub(r"\d[\d,.]*\d|\d", "N", re.split(r"\.(?: |$)", detail, maxsplit=1)[0])


class _LineError(InvalidInputError):
    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def read_strictly(line: Line, modalities: Modalities) -> PromptRecord | RejectedLine | None:
    """Return a record or a rejection; None for a blank line, which is not a row."""
    if line.data is None:
        detail = f"{line.size} bytes, the limit is {MAX_RECORD_BYTES}. Shorten the line."
        return _rejected(line, RejectReason.LINE_TOO_LONG, detail)
    if not line.data.strip():
        return None
    try:
        record = _read_value(line.number, _parse(line.data), modalities)
        _check_size(line, record, modalities)
        return record
    except _LineError as error:
        return _rejected(line, error.reason, str(error))


def golden_line(line: Line) -> RejectedLine:
    """Return the rejection of a query that is in the golden set."""
    detail = "the query is in the golden set. Remove the line, or the query from golden/."
    return _rejected(line, RejectReason.GOLDEN, detail)


def rejected_line(file: str, rejected: RejectedLine) -> bytes:
    """Render a rejection for `rejected.jsonl`, with its text so that it can be fixed."""
    row = {"file": file, **rejected._asdict(), "reason": rejected.reason.value}
    return json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n"


def _parse(data: bytes) -> Mapping[str, object]:
    try:
        value = strict_json.loads(data)
    except strict_json.DuplicateKeyError as error:
        raise _LineError(RejectReason.DUPLICATE_KEY, f"{error}. Remove one.") from None
    except strict_json.EncodingError as error:
        raise _LineError(RejectReason.NOT_UTF8, f"{error}. Save the file as UTF-8.") from None
    except InvalidInputError as error:
        raise _LineError(RejectReason.INVALID_JSON, f"{error}. {_ONE_OBJECT}") from None
    if not isinstance(value, dict):
        raise _LineError(RejectReason.NOT_A_RECORD, f"not a JSON object. {_ONE_OBJECT}")
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
        detail = (
            "unsupported keys. Write query, query and reference, or schemaVersion and messages."
        )
        raise _LineError(RejectReason.NOT_A_RECORD, detail)
    if not query.strip():
        raise _LineError(
            RejectReason.BLANK_QUERY, "the query is blank. Fill it in or remove the line."
        )
    if len(query.encode("utf-8", "surrogatepass")) > MAX_QUERY_BYTES:
        detail = f"the query is longer than {MAX_QUERY_BYTES} bytes. Shorten it."
        raise _LineError(RejectReason.QUERY_TOO_LONG, detail)
    weights, reasoning = (None, None) if answer is None else _read_label(answer, modalities)
    return PromptRecord(number, query, weights, reasoning, system)


def _read_conversation(
    value: Mapping[str, object], keys: set[str]
) -> tuple[str | None, str, object | None]:
    if extra := keys - _RECORD_KEYS:
        detail = f"keys outside the schema: {len(extra)}. Keep schemaVersion, system, messages."
        raise _LineError(RejectReason.NOT_A_RECORD, detail)
    if value.get("schemaVersion") != SCHEMA_VERSION:
        detail = f"wrong schemaVersion. Write {SCHEMA_VERSION}."
        raise _LineError(RejectReason.WRONG_SCHEMA_VERSION, detail)
    system = _block_text(value["system"], RejectReason.WRONG_SYSTEM) if "system" in keys else None
    messages = value.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= 2:
        detail = "not one or two messages. Write a user turn and at most one assistant turn."
        raise _LineError(RejectReason.WRONG_MESSAGES, detail)
    turns = [
        _turn(message, role) for message, role in zip(messages, ("user", "assistant"), strict=False)
    ]
    return system, turns[0], turns[1] if len(turns) == 2 else None


def _turn(message: object, role: str) -> str:
    if not isinstance(message, dict) or set(message) != {"role", "content"}:
        detail = "a message has other keys. Write role and content only."
        raise _LineError(RejectReason.WRONG_MESSAGES, detail)
    if message["role"] != role:
        detail = f"wrong role. Write {role}: the user's turn comes first, the assistant's second."
        raise _LineError(RejectReason.WRONG_MESSAGES, detail)
    return _block_text(message["content"], RejectReason.WRONG_MESSAGES)


def _block_text(blocks: object, reason: RejectReason) -> str:
    if not isinstance(blocks, list) or len(blocks) != 1 or not isinstance(blocks[0], dict):
        raise _LineError(reason, f"not exactly one content block. {_ONE_BLOCK}")
    block = blocks[0]
    text = block.get("text")
    if not set(block) <= {"text", "type"} or block.get("type", "text") != "text":
        raise _LineError(reason, f"not a text block. {_ONE_BLOCK}")
    if not isinstance(text, str) or (reason is RejectReason.WRONG_SYSTEM and not text.strip()):
        raise _LineError(reason, f"the text is missing or blank. {_ONE_BLOCK}")
    return text


def _check_size(line: Line, record: PromptRecord, modalities: Modalities) -> None:
    """Reject a line whose training record would be too long."""
    if (
        line.size < MAX_RECORD_BYTES // 3
    ):  # quoting at most doubles a line; prompt and schema add < 1 KB
        return
    prompt = record.system_prompt or default_system_prompt(modalities)
    rendered = training_line(record.query, prompt, modalities, record.weights, record.reasoning)
    if len(rendered) - 1 > MAX_RECORD_BYTES:
        size = len(rendered) - 1
        detail = f"{size} bytes as a record, the limit is {MAX_RECORD_BYTES}. Shorten the query."
        raise _LineError(RejectReason.LINE_TOO_LONG, detail)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _LineError(RejectReason.NOT_A_RECORD, "the query is not a string. Quote it.")
    return value


def _reference(answer: object) -> object:
    """Reject null, because it may stand for a label that got lost."""
    if answer is None:
        detail = "the reference is null. Add a label or remove the key."
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

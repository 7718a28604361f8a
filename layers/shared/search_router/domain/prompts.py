"""One line of a prompt file: what is accepted, what is refused, and what Bedrock is sent.

The record rules are AWS's own for distillation datasets (amazon-bedrock-samples, model_distillation
dataset-validation, and the Bedrock user guide's "distillation-data-prep" pages). Two short forms
are accepted and converted: `{"query" | "prompt": text}` and `{"query": text, "reference":
weights}`.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined]  # public, not in the stubs
from typing import NamedTuple

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.lines import Line
from search_router.domain.weights import (
    REASONING_KEY,
    Modalities,
    Weights,
    default_system_prompt,
    normalise,
    weights_from_object,
)

SCHEMA_VERSION = "bedrock-conversation-2024"
MAX_RECORD_BYTES = 16_000  # Bedrock quota "Maximum line length for distillation": 16 KB

_WHITE_SPACE = re.compile(r"\s+")
_STRING = rb'"([^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*)"'
_TURN = rb'\{"role": ?"%s", ?"content": ?\[\{"text": ?%s\}\]\}'
_CANONICAL = re.compile(
    rb'\{"schemaVersion": ?"' + SCHEMA_VERSION.encode() + rb'", ?'
    rb'(?:"system": ?\[\{"text": ?' + _STRING + rb"\}\], ?)?"
    rb'"messages": ?\['
    + _TURN % (b"user", _STRING)
    + rb"(?:, ?"
    + _TURN % (b"assistant", _STRING)
    + rb")?\]\}"
)
_REASONING = re.compile(rf', ?"{REASONING_KEY}": ?"')
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
    """Nothing is left of the query after Unicode normalisation and white space."""
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


def read_record(line: Line, modalities: Modalities) -> PromptRecord | RejectedLine | None:
    """Turn a line into a record or a rejection; None for a blank line, which counts as neither."""
    if line.data is None:
        detail = f"{line.size} bytes, the limit is {MAX_RECORD_BYTES}"
        return _rejected(line, RejectReason.LINE_TOO_LONG, detail)
    if not line.data.strip():
        return None
    record = canonical_record(line.number, line.data, modalities)
    if record is not None:
        return record
    try:
        record = _read_value(line.number, _parse(line.data), modalities)
        _check_size(line, record, modalities)
        return record
    except _LineError as error:
        return _rejected(line, error.reason, str(error))


def canonical_record(number: int, data: bytes, modalities: Modalities) -> PromptRecord | None:
    """Read a record that is written the way `json.dumps` writes one; None for any other line.

    Nearly every line is, and this takes a third of the time. It never refuses: whatever it is not
    sure about is left to the strict reader, which reads the same from every line accepted here.
    """
    if len(data) > MAX_RECORD_BYTES // 2 or strict_json.may_hold_half_a_surrogate(data):
        return None
    match = _CANONICAL.fullmatch(data)
    if match is None:
        return None
    try:
        system, query, answer = (_decoded(text) for text in match.groups())
        if query is None or not _folded(query) or (system is not None and not system.strip()):
            return None
        weights, reasoning = (None, None) if answer is None else _read_label(answer, modalities)
    except (ValueError, InvalidInputError):
        return None
    return PromptRecord(number, query, weights, reasoning, system)


def fingerprint(query: str) -> bytes:
    """Identify a query up to Unicode form, case and white space: 16 bytes of SHA-256."""
    return hashlib.sha256(_folded(query).encode("utf-8")).digest()[:16]


def parse_label(text: str, modalities: Modalities) -> tuple[Weights, str | None]:
    """Read a label's JSON text: weights, scaled to sum 1, and the reasoning if there is one.

    Nothing is repaired: text around the object, or anything outside the weight contract, raises
    InvalidInputError.
    """
    usual = _read_usual_label(text, modalities)
    if usual is not None:
        return usual
    try:
        return _label(strict_json.loads(text.encode("utf-8")), modalities)
    except UnicodeEncodeError:
        raise InvalidInputError("the label is not valid Unicode") from None


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
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


def render_label(modalities: Modalities, weights: Weights, reasoning: str | None) -> str:
    """Write a label the way a model is to answer: one JSON object, weights first."""
    label: dict[str, object] = dict(zip(modalities, weights, strict=True))
    if reasoning is not None:
        label[REASONING_KEY] = reasoning
    return json.dumps(label, ensure_ascii=False)


def rejected_line(rejected: RejectedLine) -> bytes:
    """Render a rejection for `rejected.jsonl`; the text is kept so that it can be mended."""
    row = {**rejected._asdict(), "reason": rejected.reason.value}
    return json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n"


def _folded(query: str) -> str:
    if query.isascii():
        return " ".join(query.casefold().split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", query).casefold())
    return _WHITE_SPACE.sub(" ", folded).strip()


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
            answer = value["reference"]
    else:
        raise _LineError(RejectReason.NOT_A_RECORD, "none of the accepted shapes")
    if not _folded(query):
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


def _read_label(answer: object, modalities: Modalities) -> tuple[Weights, str | None]:
    try:
        if isinstance(answer, str):
            return parse_label(answer, modalities)
        return _label(answer, modalities)
    except InvalidInputError as error:
        raise _LineError(RejectReason.INVALID_LABEL, str(error)) from None


def _label(value: object, modalities: Modalities) -> tuple[Weights, str | None]:
    weights = normalise(weights_from_object(value, modalities))
    reasoning = value.get(REASONING_KEY) if isinstance(value, dict) else None
    if reasoning is not None and not isinstance(reasoning, str):
        raise InvalidInputError("the reasoning is not a text")
    return weights, reasoning


def _read_usual_label(answer: str, modalities: Modalities) -> tuple[Weights, str | None] | None:
    """Read weights, then perhaps a reasoning, in this order; None for any other label.

    A teacher uses few different weights, so they are parsed once; only the reasoning is new.
    """
    cut = _REASONING.search(answer)
    try:
        if cut is None:
            return _usual_weights(answer, modalities), None
        reasoning, end = scanstring(answer, cut.end())
        if answer[end:] != "}" or strict_json.may_hold_half_a_surrogate(answer.encode("utf-8")):
            return None
        return _usual_weights(answer[: cut.start()] + "}", modalities), reasoning
    except (ValueError, InvalidInputError):
        return None


@lru_cache(maxsize=4096)
def _usual_weights(text: str, modalities: Modalities) -> Weights:
    value = strict_json.loads(text.encode("utf-8"))
    if isinstance(value, dict) and REASONING_KEY in value:
        raise InvalidInputError("the reasoning comes first")
    return normalise(weights_from_object(value, modalities))


def _decoded(text: bytes | None) -> str | None:
    """Decode the inside of a JSON string; raises ValueError where JSON forbids what it holds."""
    if text is None:
        return None
    decoded = text.decode("utf-8")
    return scanstring(decoded + '"', 0)[0] if "\\" in decoded else decoded


def _rejected(line: Line, reason: RejectReason, detail: str) -> RejectedLine:
    text = None if line.data is None else line.data.decode("utf-8", errors="backslashreplace")
    return RejectedLine(line.number, line.offset, reason, detail, text)

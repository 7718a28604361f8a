"""Reads the lines of prompt files, with fast paths for canonical lines.

Most lines are records as `json.dumps` writes them, and differ from the previous line only in query
and label. Both cases are recognised without parsing JSON. The fast paths never reject a line: if in
doubt they return None, and `read_strictly` decides. Where they return a record, it is the same as
that of `read_strictly`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined]  # public, not in the stubs

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.labels import parse_label, plain_weights
from search_router.domain.intake.prompts import PromptRecord, RejectedLine, read_strictly
from search_router.domain.intake.training_records import MAX_RECORD_BYTES, SCHEMA_VERSION
from search_router.domain.queries import MAX_QUERY_BYTES
from search_router.domain.streams import Line
from search_router.domain.weights import Modalities, Weights

_MAX_FAST_BYTES = MAX_RECORD_BYTES // 2  # conversion cannot make such a line too long
_INSIDE = rb'[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*'  # of a string, still quoted
_STRING = b'"(' + _INSIDE + b')"'
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
_QUOTED = re.compile(_INSIDE)
_REASONING = b', \\"reasoning\\": \\"'
_PLAIN_REASONING = re.compile(re.escape(_REASONING) + rb'([^"\\\x00-\x1f]*)\\"\}')


@dataclass(frozen=True, slots=True)
class _Frame:
    """The bytes that the lines of a file share: before the query, after it, and at the end."""

    before: bytes
    between: bytes
    after: bytes
    system_prompt: str | None

    def read(self, number: int, data: bytes, modalities: Modalities) -> PromptRecord | None:
        """Read a line with this frame; return None for any other, and if in doubt."""
        start = len(self.before)
        if not data.startswith(self.before) or not data.endswith(self.after):
            return None
        match = _QUOTED.match(data, start)
        if match is None or not data.startswith(self.between, match.end()):
            return None
        if len(match[0]) > MAX_QUERY_BYTES:
            return None
        quoted, answer = match[0], data[match.end() + len(self.between) : -len(self.after)]
        try:
            weights, reasoning = _read_answer(answer, modalities)
            query = quoted.decode("utf-8")
            if "\\" in query:
                query = _unescaped(query, quoted)
        except (ValueError, InvalidInputError):
            return None
        if not query.strip():
            return None
        return PromptRecord(number, query, weights, reasoning, self.system_prompt)


class PromptReader:
    """Reads line by line and keeps the frame of the last canonical line."""

    def __init__(self, modalities: Modalities) -> None:
        self._modalities = modalities
        self._frame: _Frame | None = None

    def read(self, line: Line) -> PromptRecord | RejectedLine | None:
        """Return a record or a rejection; None for a blank line, which is not a row."""
        record = self._read_fast(line.number, line.data) if line.data else None
        return read_strictly(line, self._modalities) if record is None else record

    def _read_fast(self, number: int, data: bytes) -> PromptRecord | None:
        if len(data) > _MAX_FAST_BYTES:
            return None
        if self._frame is not None:
            record = self._frame.read(number, data, self._modalities)
            if record is not None:
                return record
        match = _CANONICAL.fullmatch(data)
        if match is None or len(match[2]) > MAX_QUERY_BYTES:
            return None
        if strict_json.may_hold_half_a_surrogate(data):
            return None
        record = _read_match(number, match, self._modalities)
        if record is not None and record.weights is not None:
            self._frame = _Frame(
                data[: match.start(2)],
                data[match.end(2) : match.start(3)],
                data[match.end(3) :],
                record.system_prompt,
            )
        return record


def _read_match(
    number: int, match: "re.Match[bytes]", modalities: Modalities
) -> PromptRecord | None:
    try:
        system, query, answer = (_decoded(text) for text in match.groups())
        if query is None or not query.strip() or (system is not None and not system.strip()):
            return None
        weights, reasoning = (None, None) if answer is None else parse_label(answer, modalities)
    except (ValueError, InvalidInputError):
        return None
    return PromptRecord(number, query, weights, reasoning, system)


def _read_answer(answer: bytes, modalities: Modalities) -> tuple[Weights, str | None]:
    """Read a label inside a JSON string; raises ValueError or InvalidInputError if in doubt."""
    cut = answer.find(_REASONING)
    if cut < 0:
        return _quoted_weights(answer, modalities), None
    match = _PLAIN_REASONING.fullmatch(answer, cut)
    if match is None:
        raise InvalidInputError("the reasoning is not at the end of the label")
    return _quoted_weights(answer[:cut] + b"}", modalities), match[1].decode("utf-8")


def _unescaped(text: str, quoted: bytes) -> str:
    if strict_json.may_hold_half_a_surrogate(quoted):
        raise InvalidInputError("escaped surrogate")
    unescaped: str = scanstring(text + '"', 0)[0]
    return unescaped


@lru_cache(maxsize=4096)
def _quoted_weights(answer: bytes, modalities: Modalities) -> Weights:
    text, end = scanstring(answer.decode("utf-8") + '"', 0)
    if end != len(answer.decode("utf-8")) + 1:
        raise InvalidInputError("text after the label")
    return plain_weights(text, modalities)


def _decoded(text: bytes | None) -> str | None:
    """Decode the inside of a JSON string; raises ValueError for invalid escapes."""
    if text is None:
        return None
    decoded = text.decode("utf-8")
    return scanstring(decoded + '"', 0)[0] if "\\" in decoded else decoded

"""Reads the lines of prompt files: usual ones quickly, all others strictly.

Nearly every line is written as `json.dumps` writes a record, and nearly every line of a file
differs from the one before in nothing but query and label. Both are recognised without parsing, in
a fraction of the time. The quick ways never refuse: whatever they are not sure about is left to the
strict reader, which reads the same from every line that they accept.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined]  # public, not in the stubs

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.labels import parse_label, plain_weights
from search_router.domain.lines import Line
from search_router.domain.prompts import PromptRecord, RejectedLine, read_strictly
from search_router.domain.training_records import MAX_RECORD_BYTES, SCHEMA_VERSION
from search_router.domain.weights import Modalities, Weights

_MAX_QUICK_BYTES = MAX_RECORD_BYTES // 2  # its training record cannot exceed the limit
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
    """What a file's lines have in common: the bytes before the query, after it, and at the end."""

    before: bytes
    between: bytes
    after: bytes
    system_prompt: str | None

    def parts(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Cut query and label, both still quoted, out of a line that is framed so."""
        start = len(self.before)
        if not data.startswith(self.before) or not data.endswith(self.after):
            return None
        match = _QUOTED.match(data, start)
        if match is None or not data.startswith(self.between, match.end()):
            return None
        return match.group(), data[match.end() + len(self.between) : -len(self.after)]


class PromptReader:
    """Reads line by line and remembers how the last usual one was framed."""

    def __init__(self, modalities: Modalities) -> None:
        self._modalities = modalities
        self._frame: _Frame | None = None

    def read(self, line: Line) -> PromptRecord | RejectedLine | None:
        """Return a record or a rejection; None for a blank line, which counts as neither."""
        record = self._quickly(line.number, line.data) if line.data else None
        return read_strictly(line, self._modalities) if record is None else record

    def _quickly(self, number: int, data: bytes) -> PromptRecord | None:
        if len(data) > _MAX_QUICK_BYTES:
            return None
        frame = self._frame
        parts = None if frame is None else frame.parts(data)
        if frame is not None and parts is not None:
            record = _read_parts(number, *parts, frame.system_prompt, self._modalities)
            if record is not None:
                return record
        match = _CANONICAL.fullmatch(data)
        if match is None or strict_json.may_hold_half_a_surrogate(data):
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


def read_record(line: Line, modalities: Modalities) -> PromptRecord | RejectedLine | None:
    """Read one line on its own; None for a blank line, which counts as neither."""
    return PromptReader(modalities).read(line)


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


def _read_parts(
    number: int, quoted: bytes, answer: bytes, system: str | None, modalities: Modalities
) -> PromptRecord | None:
    """Read query and label of a line; None if there is any doubt about either."""
    cut = answer.find(_REASONING)
    reasoning = None
    try:
        if cut >= 0:
            match = _PLAIN_REASONING.fullmatch(answer, cut)
            if match is None:
                return None
            reasoning = match[1].decode("utf-8")
            answer = answer[:cut] + b"}"
        weights = _quoted_weights(answer, modalities)
        query = quoted.decode("utf-8")
        if "\\" in query:
            if strict_json.may_hold_half_a_surrogate(quoted):
                return None
            query = scanstring(query + '"', 0)[0]
    except (ValueError, InvalidInputError):
        return None
    return PromptRecord(number, query, weights, reasoning, system) if query.strip() else None


@lru_cache(maxsize=4096)
def _quoted_weights(answer: bytes, modalities: Modalities) -> Weights:
    text, end = scanstring(answer.decode("utf-8") + '"', 0)
    if end != len(answer.decode("utf-8")) + 1:
        raise InvalidInputError("the label's string ends early")
    return plain_weights(text, modalities)


def _decoded(text: bytes | None) -> str | None:
    """Decode the inside of a JSON string; raises ValueError where JSON forbids what it holds."""
    if text is None:
        return None
    decoded = text.decode("utf-8")
    return scanstring(decoded + '"', 0)[0] if "\\" in decoded else decoded

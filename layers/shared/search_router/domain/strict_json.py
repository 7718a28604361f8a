"""Parse JSON strictly by RFC 8259.

Unlike `json.loads`, this rejects NaN and Infinity, numbers that overflow to infinity, repeated
keys, integers longer than Python's own safety limit, nesting deeper than 64, lone surrogates, and
any encoding but UTF-8.
"""

import json
import math
import re
from typing import NoReturn

from search_router.domain.errors import InvalidInputError

MAX_DEPTH = 64
MAX_INTEGER_DIGITS = 400

_PROBLEMS = {  # by the messages of the json module
    "Extra data": "text after the JSON value",
    "Unterminated string starting at": "a string without its closing quote",
    "Invalid control character at": "an unescaped control character",
}
_LONE_SURROGATE_HINT = re.compile(rb"\\u[dD][89a-fA-F]")
# An unclosed string runs to the end, so that no byte is scanned twice.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


class DuplicateKeyError(InvalidInputError):
    """An object names the same key twice."""


class EncodingError(InvalidInputError):
    """The bytes are not UTF-8, or a string holds half of a surrogate pair."""


def loads(raw: bytes) -> object:
    """Parse one JSON text; raises InvalidInputError, whose message does not quote the text."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EncodingError(f"not UTF-8 at byte {error.start}") from None
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(raw)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        problem = _PROBLEMS.get(error.msg, "not JSON")
        raise InvalidInputError(f"{problem} at character {error.pos}") from None
    except RecursionError:
        raise InvalidInputError(f"nested deeper than {MAX_DEPTH}") from None
    if may_hold_half_a_surrogate(raw):
        _check_surrogates(value)
    return value


def may_hold_half_a_surrogate(raw: bytes) -> bool:
    """Return whether a JSON text escapes a surrogate, alone or in a pair."""
    return _LONE_SURROGATE_HINT.search(raw) is not None


def _reject_constant(name: str) -> NoReturn:
    raise InvalidInputError(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidInputError("a number is too large")
    return value


def _bounded_int(text: str) -> int:
    if len(text) > MAX_INTEGER_DIGITS:
        raise InvalidInputError("an integer is too long")
    return int(text)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise DuplicateKeyError("an object names a key twice")
    return value


def _check_depth(raw: bytes) -> None:
    depth = 0
    for match in _BRACKETS.finditer(raw):
        token = match.group()
        if token in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidInputError(f"nested deeper than {MAX_DEPTH}")
        elif token in b"]}":
            depth -= 1


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise EncodingError("a string holds half of a surrogate pair") from None


_DECODER = json.JSONDecoder(
    parse_constant=_reject_constant,
    parse_float=_finite_float,
    parse_int=_bounded_int,
    object_pairs_hook=_unique_keys,
)

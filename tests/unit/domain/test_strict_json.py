"""Strict JSON: what RFC 8259 allows, nothing that json.loads allows beyond it, and no quoting."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES, st.booleans())
def test_every_json_value_survives_a_round_trip(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)

    assert strict_json.loads(text.encode()) == value


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"NaN", "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b"[1e999]", "a number is too large"),
        (b"[-1e999]", "a number is too large"),
        (b"1" * 401, "an integer is too long"),
        (b"-" + b"1" * 5_000, "an integer is too long"),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper than 64"),
        (b"[" * 100_000, "nested deeper than 64"),
        (b"", "not JSON at character 0"),
        (b"{} {}", "text after the JSON value at character 3"),
        (b"[1,]", "at character"),
        (b"'a'", "not JSON at character 0"),
        (b'"tab\there"', "an unescaped control character at character 4"),
        (b"\xef\xbb\xbf{}", "at character 0"),
        (b"01", "text after the JSON value"),
        (b"+1", "not JSON"),
        (b".5", "not JSON"),
    ],
)
def test_what_is_not_json_is_refused_with_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        strict_json.loads(raw)

    assert reason in str(raised.value)


@pytest.mark.parametrize(
    "raw",
    [b'{"a":1,"a":1}', b'[{"x":{"b":1,"c":2,"b":3}}]', b'{"a":1,"\\u0061":2}'],
)
def test_a_repeated_key_is_refused_at_any_depth(raw: bytes) -> None:
    with pytest.raises(strict_json.DuplicateKeyError):
        strict_json.loads(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'"\xff"',
        b'"\xed\xa0\x80"',
        '{"a": 1}'.encode("utf-16"),
        b'"\\ud800"',
        b'"\\uDFFF and more"',
        b'{"\\ud800": 1}',
        b'"\\udc00\\ud800"',
    ],
)
def test_bytes_that_are_not_utf8_and_lone_surrogates_are_refused(raw: bytes) -> None:
    with pytest.raises(strict_json.EncodingError):
        strict_json.loads(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
        (b'"\\\\ud800"', "\\ud800"),
        (b"[" * 64 + b"]" * 64, None),
        (json.dumps("[" * 200).encode(), "[" * 200),
        (json.dumps('"[' * 200).encode(), '"[' * 200),
        (json.dumps([[]] * 200).encode(), [[]] * 200),
        (b"9" * 400, int("9" * 400)),
        (b"1e308", 1e308),
        ('"\u2028\u0085\x7f"'.encode(), "\u2028\u0085\x7f"),
    ],
)
def test_what_only_looks_wrong_is_accepted(raw: bytes, value: object) -> None:
    parsed = strict_json.loads(raw)

    assert value is None or parsed == value


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    try:
        value = strict_json.loads(raw)
    except InvalidInputError:
        return
    assert json.loads(raw.decode()) == value


@given(st.sampled_from(["", "[", '{"a":', "[NaN,", '{"k":1,"k":', "[1e999,", '"\\ud800']))
def test_a_refusal_never_quotes_the_text(prefix: str) -> None:
    text = "my private search 4711"

    with pytest.raises(InvalidInputError) as raised:
        strict_json.loads(f'{prefix}"{text}" {text}'.encode())

    assert "private" not in str(raised.value)
    assert "4711" not in str(raised.value)


def test_a_hostile_line_takes_no_more_than_linear_time() -> None:
    """Unclosed strings used to be scanned again from every quote in them."""
    hostile = b"[]" * 65 + b'\\"' * 16_000

    started = time.process_time()
    with pytest.raises(InvalidInputError):
        strict_json.loads(hostile)

    assert time.process_time() - started < 0.5

"""Requests to the API: one field, bounded, and a refusal that quotes nothing."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_router.domain.errors import BadRequestError, TooLargeError
from search_router.domain.queries import normalised_query
from search_router.domain.serving.search_requests import MAX_BODY_BYTES, body_of, requested_query


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=1_000), st.booleans())
def test_a_query_is_taken_as_it_is_however_it_is_escaped(query: str, ascii_only: bool) -> None:
    body = json.dumps({"query": query}, ensure_ascii=ascii_only).encode()
    assume(normalised_query(query))

    assert requested_query(body) == query


@given(st.binary(max_size=200))
def test_any_other_bytes_are_rejected(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        requested_query(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b'{"query": "secret"', "not valid JSON"),
        (b'{"query": "secret", "query": "b"}', "names a key twice"),
        (b'{"query": "secret", "model": "x"}', 'the single field "query"'),
        (b'{"q": "secret"}', 'the single field "query"'),
        (b'["secret"]', 'the single field "query"'),
        (b'{"query": ["secret"]}', "must be a string"),
        (b'{"query": " \\u3000 "}', "blank"),
        (b'{"query": "secret \\ud800"}', "half of a surrogate pair"),
        (b'{"query": "' + b"secret" * 167 + b'"}', "more than 1000 characters"),
    ],
)
def test_an_error_describes_the_request_without_quoting_it(body: bytes, message: str) -> None:
    with pytest.raises(BadRequestError, match=message) as caught:
        requested_query(body)
    assert not isinstance(caught.value, TooLargeError)
    assert "secret" not in str(caught.value)


def test_a_body_is_measured_before_it_is_read() -> None:
    body = b'{"query": "dogs"}'
    assert requested_query(body + b" " * (MAX_BODY_BYTES - len(body))) == "dogs"
    with pytest.raises(TooLargeError):
        requested_query(body + b" " * (MAX_BODY_BYTES - len(body) + 1))


def test_the_longest_query_fits_however_it_is_escaped() -> None:
    assert len(json.dumps({"query": "\U0001f600" * 1_000})) < MAX_BODY_BYTES


def test_a_body_may_come_in_base64_or_not_at_all() -> None:
    assert body_of({"body": "ZG9ncw==", "isBase64Encoded": True}) == b"dogs"
    assert body_of({"body": "dogs"}) == b"dogs"
    assert body_of({"body": None}) == body_of({}) == b""
    with pytest.raises(BadRequestError):
        body_of({"body": "a", "isBase64Encoded": True})
    with pytest.raises(BadRequestError):
        body_of({"body": "\ud800"})

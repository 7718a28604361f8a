"""What a search may ask of the API, and the answer it gets.

Read by hand: the validation of an API framework costs every cold start more than this module.
"""

import base64
from collections.abc import Mapping
from typing import Any

from search_router.domain import strict_json
from search_router.domain.errors import BadRequestError, InvalidInputError, TooLargeError
from search_router.domain.queries import normalised_query
from search_router.domain.serving.champions import Champion
from search_router.domain.serving.decisions import Decision
from search_router.domain.weights import dominant

MAX_BODY_BYTES = 16 * 1024  # a thousand characters, each escaped as a pair of surrogates, and room
MAX_QUERY_CHARACTERS = 1_000


def body_of(event: Mapping[str, Any]) -> bytes:
    """Return the bytes of a function URL's request, which may come in Base64."""
    body = event.get("body") or ""
    try:
        return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode("utf-8")
    except (ValueError, UnicodeEncodeError):
        raise BadRequestError("the body cannot be decoded") from None


def requested_query(body: bytes) -> str:
    """Return the query of a request's body, `{"query": "..."}` and nothing else.

    Raises TooLargeError or BadRequestError; the message says what is wrong and quotes nothing.
    """
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(f"the body has more than {MAX_BODY_BYTES} bytes")
    try:
        request = strict_json.loads(body)
    except InvalidInputError as error:
        raise BadRequestError(f"the body is no JSON: {error}") from None
    if not isinstance(request, dict) or set(request) != {"query"}:
        raise BadRequestError('the body must be an object with the one field "query"')
    query = request["query"]
    if not isinstance(query, str):
        raise BadRequestError("the query is no text")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise BadRequestError(f"the query has more than {MAX_QUERY_CHARACTERS} characters")
    if not normalised_query(query):
        raise BadRequestError("the query is blank")
    return query


def rejection(error: BadRequestError) -> tuple[int, dict[str, str]]:
    """Return the HTTP status and the body that tell a caller what is wrong with its request."""
    status, code = (413, "too_large") if isinstance(error, TooLargeError) else (400, "bad_request")
    return status, {"code": code, "message": str(error)}


def answer(decision: Decision, champion: Champion) -> dict[str, object]:
    """Return the weights to fuse the signals with, and where they come from."""
    modalities = champion.serving.modalities
    return {
        "weights": dict(zip(modalities, decision.weights, strict=True)),
        "dominant": dominant(decision.weights, modalities),
        "tier": decision.tier.value,
        "status": decision.status.value,
        "champion_version": champion.version,
        "latency_ms": decision.latency_ms,
    }

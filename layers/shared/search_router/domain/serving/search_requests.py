"""The API's requests and responses.

Parsed without a framework, whose import would cost every cold start more than this module.
"""

import base64
from collections.abc import Mapping
from typing import Any, TypedDict

from search_router.domain import strict_json
from search_router.domain.errors import BadRequestError, InvalidInputError, TooLargeError
from search_router.domain.queries import normalised_query
from search_router.domain.serving.champions import Champion
from search_router.domain.serving.decisions import Decision
from search_router.domain.weights import dominant

MAX_BODY_BYTES = 16 * 1024  # enough for 1,000 characters escaped as surrogate pairs
MAX_QUERY_CHARACTERS = 1_000


class RouteReply(TypedDict):
    """The weights of a query, which sum to 1, and what made them.

    `tier` is the step of the cascade that answered. `status` is `ok`, `repaired` or `fallback`.
    """

    weights: dict[str, float]
    dominant: str
    tier: str
    status: str
    champion_version: int
    latency_ms: int


def body_of(event: Mapping[str, Any]) -> bytes:
    """Return the body of a function URL's request, which may be Base64."""
    body = event.get("body") or ""
    try:
        return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode("utf-8")
    except (ValueError, UnicodeEncodeError):
        raise BadRequestError("the body is not valid Base64 or Unicode") from None


def requested_query(body: bytes) -> str:
    """Return the query of a request's body, which must be `{"query": "..."}`.

    Raises TooLargeError or BadRequestError, whose messages do not quote the body.
    """
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(f"request body has more than {MAX_BODY_BYTES} bytes")
    try:
        request = strict_json.loads(body)
    except InvalidInputError as error:
        raise BadRequestError(f"request body is not valid JSON: {error}") from None
    if not isinstance(request, dict) or set(request) != {"query"}:
        raise BadRequestError('request body must be an object with the single field "query"')
    query = request["query"]
    if not isinstance(query, str):
        raise BadRequestError("query must be a string")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise BadRequestError(f"query has more than {MAX_QUERY_CHARACTERS} characters")
    if not normalised_query(query):
        raise BadRequestError("query is blank")
    return query


def rejection(error: BadRequestError) -> tuple[int, dict[str, str]]:
    """Return the HTTP status and body for an invalid request."""
    status, code = (413, "too_large") if isinstance(error, TooLargeError) else (400, "bad_request")
    return status, {"code": code, "message": str(error)}


def answer(decision: Decision, champion: Champion) -> RouteReply:
    """Return the response body: the weights, the tier and the champion that made them."""
    modalities = champion.serving.modalities
    return RouteReply(
        weights=dict(zip(modalities, decision.weights, strict=True)),
        dominant=dominant(decision.weights, modalities),
        tier=decision.tier.value,
        status=decision.status.value,
        champion_version=champion.version,
        latency_ms=decision.latency_ms,
    )

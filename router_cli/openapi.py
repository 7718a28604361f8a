"""The OpenAPI document of the HTTP API, made from the types that the functions return.

`make openapi` writes it to docs/openapi.json. It needs Python 3.12, with which pydantic can read
`typing.TypedDict`.
"""

import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from search_router.domain.search.filters import MAX_FILTERS
from search_router.domain.search.replies import SearchReply
from search_router.domain.search.requests import PARAMETERS, Parameter
from search_router.domain.serving.search_requests import MAX_QUERY_CHARACTERS, RouteReply

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"
_PROBLEM: Json = {
    "title": "Problem",
    "description": "Why a request has no result. `field` names the parameter that is to blame.",
    "type": "object",
    "properties": {
        "code": {
            "type": "string",
            "enum": ["bad_request", "not_found", "too_large", "unavailable"],
        },
        "message": {"type": "string"},
        "field": {"type": "string"},
    },
    "required": ["code", "message"],
}
_OF_LAMBDA: Json = {
    "403": {"description": "Lambda rejected the signature or the caller's permissions."},
    "429": {"description": "Lambda has no free execution. Retry with backoff."},
}


def document() -> Json:
    """Return the document."""
    schemas: Json = {"Problem": _PROBLEM}
    search_reply, route_reply = (_schema(reply, schemas) for reply in (SearchReply, RouteReply))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Search router",
            "version": version("search-router"),
            "description": (
                "Two Lambda function URLs: the stack's outputs `SearchApiUrl` and `RouteApiUrl`. "
                "Sign requests with AWS Signature Version 4 for the service `lambda`."
            ),
        },
        "security": [{"sigv4": []}],
        "paths": {
            "/search": {"get": _search(search_reply)},
            "/route": {"post": _route(route_reply)},
        },
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4",
                }
            },
        },
    }


def text() -> str:
    """Return the document as docs/openapi.json holds it."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _search(reply: Json) -> Json:
    return {
        "operationId": "search",
        "summary": "Search a collection of segments.",
        "description": "`SearchApiUrl`. Repeating a request is harmless.",
        "parameters": [_parameter(parameter) for parameter in PARAMETERS],
        "responses": {
            "200": _json("One page of hits.", reply),
            "400": _problem("A parameter is invalid."),
            "404": _problem("The collection does not exist."),
            **_OF_LAMBDA,
            "503": _problem("Every list failed. Try again."),
        },
    }


def _route(reply: Json) -> Json:
    body = {
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARACTERS}
        },
        "required": ["query"],
        "additionalProperties": False,
    }
    return {
        "operationId": "route",
        "summary": "Return one weight per modality for a query.",
        "description": "`RouteApiUrl`.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": _json("The weights.", reply),
            "400": _problem("The body is invalid."),
            **_OF_LAMBDA,
            "413": _problem("The body is too large."),
            "503": _problem("No model can answer. Use weights of your own."),
        },
    }


def _parameter(parameter: Parameter) -> Json:
    schema: Mapping[str, object] = parameter.schema
    if parameter.repeatable:
        schema = {"type": "array", "items": schema, "maxItems": MAX_FILTERS}
    described = {"name": parameter.name, "in": "query", "description": parameter.description}
    return {**described, "required": parameter.name == "collection", "schema": dict(schema)}


def _schema(reply: type, schemas: Json) -> Json:
    """Add a type and those that it names to the schemas; return a reference to it."""
    schema = TypeAdapter(reply).json_schema(ref_template=_REFERENCE, mode="serialization")
    schemas.update(schema.pop("$defs", {}))
    schemas[reply.__name__] = schema
    return {"$ref": _REFERENCE.format(model=reply.__name__)}


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problem(description: str) -> Json:
    return _json(description, {"$ref": _REFERENCE.format(model="Problem")})


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")

"""docs/openapi.json describes what the API returns."""

import json
from typing import Any

import jsonschema
import pytest

from search_router.domain.errors import BadRequestError, TooLargeError
from search_router.domain.serving.decisions import Decision, Status, Tier, prior_decision
from search_router.domain.serving.search_requests import MAX_QUERY_CHARACTERS, answer, rejection
from tests.records import a_champion
from tests.unit.template_checks import PROJECT

DOCUMENT: dict[str, Any] = json.loads((PROJECT / "docs" / "openapi.json").read_text("utf-8"))
POST: dict[str, Any] = DOCUMENT["paths"]["/route"]["post"]
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def a_decision() -> Decision:
    return prior_decision(a_champion().serving.prior, "the model could not be reached in time")


def test_an_answer_is_as_described() -> None:
    body = answer(a_decision(), a_champion())

    jsonschema.validate(body, SCHEMAS["Answer"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body | {"model": "x"}, SCHEMAS["Answer"])


@pytest.mark.parametrize("error", [BadRequestError("query is blank"), TooLargeError("too long")])
def test_a_rejection_is_as_described(error: BadRequestError) -> None:
    status, body = rejection(error)

    assert str(status) in POST["responses"]
    jsonschema.validate(body, SCHEMAS["Problem"])


def test_every_tier_and_status_is_listed() -> None:
    properties = SCHEMAS["Answer"]["properties"]
    assert properties["tier"]["enum"] == sorted(tier.value for tier in Tier)
    assert properties["status"]["enum"] == sorted(status.value for status in Status)


def test_the_longest_query_is_as_described() -> None:
    schema = POST["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["query"]["maxLength"] == MAX_QUERY_CHARACTERS

"""docs/openapi.json is what the code says, and what the functions really answer."""

import json
import sys
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from router_cli import openapi
from search_router.domain.errors import BadRequestError, TooLargeError
from search_router.domain.search import requests
from search_router.domain.search.calibration import Calibration
from search_router.domain.search.index import (
    Attributes,
    Candidate,
    Collection,
    EmbeddingPurpose,
    ListQuery,
)
from search_router.domain.search.profiles import RankingProfile
from search_router.domain.search.rankings import Ranking
from search_router.domain.search.requests import PARAMETERS, BadFieldError, search_request
from search_router.domain.serving import search_requests
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.serving.local_tier import LocalTierStats
from search_router.use_cases.route_api import RoutedQuery
from search_router.use_cases.search import Search
from tests.conftest import TESTS
from tests.fakes import VirtualClock
from tests.records import MODALITIES, a_champion

FILE = TESTS.parent / "docs/openapi.json"
DOCUMENT = json.loads(FILE.read_text("utf-8"))
NEEDED = [("q", "dogs"), ("collection", "films")]


class OneHit:
    """Rankings, index and embedder with one segment in every list; `failing` lists time out."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.failing = failing

    def of(self, collection: str) -> Ranking:
        created = datetime(2026, 12, 1, tzinfo=UTC)
        return Ranking(
            Collection(
                name=collection,
                modalities=MODALITIES,
                embedding_model="model",
                dimension=2,
                created_at=created,
            ),
            RankingProfile(),
            Calibration(),
        )

    def search(self, _collection: Collection, query: ListQuery) -> Sequence[Candidate]:
        if query.modality in self.failing:
            raise BadRequestError("not now")
        attributes: Attributes = {
            "people": ["Ann"],
            "year": 2021,
            "hd": True,
            "fps": 29.97,
            "title": "Dogs",
        }
        return [
            Candidate(f"s{n}", 0.9, None, "v1", 1.0, 2.5, attributes, "dogs bark") for n in (1, 2)
        ]

    def embed(self, texts: Sequence[str], purpose: EmbeddingPurpose) -> Sequence[Any]:
        assert (len(texts), purpose) == (1, EmbeddingPurpose.RETRIEVAL)
        return [array("f", [0.6, 0.8])]


def validate(value: object, model: str) -> None:
    """Raise if a value, as JSON, does not agree with a schema of the document."""
    reference = {"$ref": f"#/components/schemas/{model}", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(reference).validate(json.loads(json.dumps(value)))


def a_decision() -> Decision:
    return Decision((0.4, 0.3, 0.2, 0.1), Tier.DISTILLED, Status.OK, "model", latency_ms=12)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="pydantic cannot read typing.TypedDict")
def test_the_document_is_what_the_code_says() -> None:
    assert FILE.read_text("utf-8") == openapi.text(), "run `make openapi`"


@pytest.mark.parametrize(
    ("more", "failing"),
    [
        ([], ()),
        ([("explain", "1"), ("k", "1")], ("audio",)),
        ([("group", "video"), ("weights", "visual:1")], ()),
        ([("route", "off"), ("filter", "year:2021")], ()),
    ],
)
def test_replies_of_search_agree_with_the_document(
    more: list[tuple[str, str]], failing: Sequence[str]
) -> None:
    stub, champion = OneHit(failing), a_champion()
    with ThreadPoolExecutor() as executor:
        search = Search(stub, stub, stub, executor, VirtualClock(), 5.0)  # type: ignore[arg-type]
        outcome = search(
            search_request([*NEEDED, *more]),
            lambda _: RoutedQuery(a_decision(), champion, LocalTierStats()),
        )

    validate(outcome.reply, "SearchReply")
    assert outcome.reply["hits"]


def test_a_reply_with_another_field_type_does_not_agree() -> None:
    reply = search_requests.answer(a_decision(), a_champion())
    validate(reply, "RouteReply")

    with pytest.raises(jsonschema.ValidationError):
        validate({**reply, "champion_version": "3"}, "RouteReply")


@pytest.mark.parametrize(
    "rejected",
    [
        requests.rejection(BadFieldError("k", "too large")),
        requests.rejection(requests.UnknownCollectionError()),
        requests.rejection(BadRequestError("no")),
        search_requests.rejection(BadRequestError("no")),
        search_requests.rejection(TooLargeError("no")),
    ],
)
def test_rejections_agree_with_the_document(rejected: tuple[int, dict[str, str]]) -> None:
    status, problem = rejected

    validate(problem, "Problem")
    paths = DOCUMENT["paths"]
    described = {*paths["/search"]["get"]["responses"], *paths["/route"]["post"]["responses"]}
    assert str(status) in described


def test_the_described_values_are_those_that_the_request_accepts() -> None:
    described = {
        one["name"]: one["schema"] for one in DOCUMENT["paths"]["/search"]["get"]["parameters"]
    }
    assert list(described) == [parameter.name for parameter in PARAMETERS]

    for name, schema in described.items():
        for value in schema.get("enum", ()):
            search_request([*NEEDED, (name, value)])
        if "enum" in schema:
            with pytest.raises(BadFieldError, match=f"^{name}: "):
                search_request([*NEEDED, (name, "other")])
    for k in (described["k"]["minimum"], described["k"]["maximum"]):
        assert search_request([*NEEDED, ("k", str(k))]).k == k
    with pytest.raises(BadFieldError):
        search_request([*NEEDED, ("k", str(described["k"]["maximum"] + 1))])
    for name, needed in (("q", NEEDED[1:]), ("cursor", NEEDED)):
        longest = described[name]["maxLength"]
        search_request([*needed, (name, "x" * longest)])
        with pytest.raises(BadFieldError, match=f"^{name}: "):
            search_request([*needed, (name, "x" * (longest + 1))])

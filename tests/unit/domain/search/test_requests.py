"""GET /search: valid parameters, errors that name the field, and cursors bound to their search."""

import pytest

from search_router.domain.errors import BadRequestError
from search_router.domain.search.filters import MAX_FILTERS, Operator, parse_filter
from search_router.domain.search.profiles import Fusion
from search_router.domain.search.requests import (
    BadFieldError,
    SearchRequest,
    UnknownCollectionError,
    UsedWeights,
    rejection,
    search_request,
)

MODALITIES = ("visual", "audio")
Q = ("q", "a red door")
FILMS = ("collection", "films")


def test_all_parameters_are_read() -> None:
    request = search_request(
        [
            Q,
            FILMS,
            ("k", "50"),
            ("filter", "genre:drama, comedy"),
            ("filter", "year:>=2015"),
            ("weights", "visual:0.7, audio:0.3"),
            ("route", "off"),
            ("fusion", "rrf"),
            ("group", "video"),
            ("explain", "1"),
        ]
    )

    assert (request.query, request.collection, request.k) == ("a red door", "films", 50)
    assert [condition.text for condition in request.filters] == ["drama, comedy", "2015"]
    assert request.override(MODALITIES) == (0.7, 0.3)
    assert (request.routed, request.fusion) == (False, Fusion.RRF)
    assert (request.by_video, request.explain) == (True, True)


@pytest.mark.parametrize(
    ("parameters", "field", "part"),
    [
        pytest.param([FILMS], "q", "blank", id="no query"),
        pytest.param([("q", " \t"), FILMS], "q", "blank", id="blank query"),
        pytest.param([("q", "x" * 1_001), FILMS], "q", "1000", id="long query"),
        pytest.param([("q", "\udcff"), FILMS], "q", "UTF-8", id="not UTF-8"),
        pytest.param([Q], "collection", "missing", id="no collection"),
        pytest.param([Q, ("collection", "../x")], "collection", "name", id="bad collection"),
        pytest.param([Q, FILMS, ("k", "51")], "k", "1 to 50", id="large k"),
        pytest.param([Q, FILMS, ("k", "0")], "k", "1 to 50", id="zero k"),
        pytest.param([Q, FILMS, ("k", "\u0661")], "k", "1 to 50", id="other digits"),
        pytest.param([Q, FILMS, ("k", "5"), ("k", "6")], "k", "twice", id="given twice"),
        pytest.param([Q, FILMS, ("route", "maybe")], "route", "on, off", id="bad choice"),
        pytest.param([Q, FILMS, ("fusion", "sum")], "fusion", "bounded", id="bad fusion"),
        pytest.param([Q, FILMS, ("size", "5")], "size", "collection", id="unknown parameter"),
        pytest.param([Q, FILMS, ("<script>", "5")], "script", "parameter", id="hostile name"),
        pytest.param([Q, FILMS, ("filter", "drama")], "filter", "genre:drama", id="no field"),
        pytest.param([Q, FILMS, ("filter", "year:>new")], "filter", "number", id="no number"),
        pytest.param(
            [Q, FILMS, ("filter", "$or:1")], "filter", "attribute", id="operator as field"
        ),
        pytest.param([Q, FILMS, ("filter", "text:door")], "filter", "attribute", id="text"),
        pytest.param([Q, FILMS, ("weights", "visual")], "weights", "visual:0.7", id="no number"),
        pytest.param([Q, FILMS, ("weights", "a:1,a:0")], "weights", "visual:0.7", id="twice"),
        pytest.param(
            [Q, FILMS, *[("filter", "a:b")] * (MAX_FILTERS + 1)], "filter", "10", id="many filters"
        ),
    ],
)
def test_an_invalid_parameter_is_named(
    parameters: list[tuple[str, str]], field: str, part: str
) -> None:
    with pytest.raises(BadFieldError, match=part) as caught:
        search_request(parameters)

    assert caught.value.field == field
    assert rejection(caught.value)[1]["field"] == field


@pytest.mark.parametrize("text", ["visual:0.7", "visual:nan,audio:1", "visual:2,audio:-1", "x:1"])
def test_an_override_must_be_weights_of_the_collections_modalities(text: str) -> None:
    request = search_request([Q, FILMS, ("weights", text)])

    with pytest.raises(BadFieldError, match=r"^weights: "):
        request.override(MODALITIES)


def test_an_unknown_collection_has_status_404() -> None:
    assert rejection(UnknownCollectionError())[0] == 404
    assert rejection(BadRequestError("bad"))[0] == 400


def test_a_cursor_carries_offset_and_weights() -> None:
    first = search_request([Q, FILMS])
    used = UsedWeights((0.75, 0.25), "distilled", 3)

    second = search_request([Q, FILMS, ("cursor", first.cursor_of(10, used))])

    page = second.page(MODALITIES)
    assert page is not None
    assert (page.offset, page.used) == (10, used)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param([("q", "a blue door"), FILMS], id="query"),
        pytest.param([Q, ("collection", "series")], id="collection"),
        pytest.param([Q, FILMS, ("filter", "a:b")], id="filter"),
        pytest.param([Q, FILMS, ("group", "video")], id="grouping"),
        pytest.param([Q, FILMS, ("fusion", "rrf")], id="fusion"),
        pytest.param([Q, FILMS, ("weights", "visual:1")], id="weights"),
    ],
)
def test_a_cursor_of_another_search_is_rejected(other: list[tuple[str, str]]) -> None:
    cursor = search_request([Q, FILMS]).cursor_of(10, UsedWeights((0.5, 0.5), "base"))

    with pytest.raises(BadFieldError, match="cursor"):
        search_request([*other, ("cursor", cursor)]).page(MODALITIES)


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param("!!", id="not Base64"),
        pytest.param("e30", id="another object"),
        pytest.param("W10", id="an empty list"),
        pytest.param("\u00e9", id="not ASCII"),
    ],
)
def test_a_made_up_cursor_is_rejected(cursor: str) -> None:
    with pytest.raises(BadFieldError, match="cursor"):
        SearchRequest("a red door", "films", cursor=cursor).page(MODALITIES)


def test_the_weights_of_a_cursor_must_be_valid() -> None:
    request = search_request([Q, FILMS])
    for weights in ((0.9, 0.9), (0.5, 0.5, 0.0)):
        cursor = request.cursor_of(10, UsedWeights(weights, "base"))
        with pytest.raises(BadFieldError, match="cursor"):
            search_request([Q, FILMS, ("cursor", cursor)]).page(MODALITIES)


def test_filters_have_operators_and_numbers() -> None:
    assert parse_filter("year:>=2015") == ("year", Operator.AT_LEAST, "2015", 2015.0)
    assert parse_filter("title:12:30") == ("title", Operator.EQUAL, "12:30", None)
    assert parse_filter("genre:!=drama") == ("genre", Operator.NOT_EQUAL, "drama", None)

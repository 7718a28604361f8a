"""Search: lists that never wait for the router, honest replies in an outage, stable pages."""

import random
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from search_router.domain.errors import (
    InvalidInputError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)
from search_router.domain.search.calibration import Calibration
from search_router.domain.search.index import (
    Candidate,
    Collection,
    EmbeddingPurpose,
    ListQuery,
    Vector,
)
from search_router.domain.search.profiles import RankingProfile
from search_router.domain.search.rankings import Ranking
from search_router.domain.search.replies import SearchReply
from search_router.domain.search.requests import (
    BadFieldError,
    UnknownCollectionError,
    search_request,
)
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.serving.local_tier import LocalTierStats
from search_router.use_cases.route_api import RoutedQuery
from search_router.use_cases.search import Search
from tests.fakes import START, VirtualClock
from tests.records import a_champion
from tests.waiting import PATIENCE_SECONDS

MODALITIES = ("visual", "audio", "metadata")
Lists = dict[str, list[Candidate]]


def a_candidate(number: int, cosine: float, **changes: Any) -> Candidate:
    plain = Candidate(f"s{number:03d}", cosine, None, f"v{number % 7}", number, number + 1, {}, "")
    return plain._replace(**changes)


def routed(*weights: float, tier: Tier = Tier.DISTILLED) -> RoutedQuery:
    decision = Decision(weights, tier, Status.OK, model="m")
    champion = a_champion(modalities=MODALITIES, prior=(0.5, 0.3, 0.2))
    return RoutedQuery(decision, champion, LocalTierStats())


@dataclass
class Searching:
    """The ports of a search: lists by modality, and what fails."""

    executor: ThreadPoolExecutor
    lists: Lists = field(
        default_factory=lambda: {
            name: [a_candidate(n, 1 - n / 100) for n in range(40)] for name in MODALITIES
        }
    )
    failing: dict[str, Exception] = field(default_factory=dict)
    asked: list[ListQuery] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)
    profile: RankingProfile = field(default_factory=RankingProfile)
    grace_seconds: float = PATIENCE_SECONDS
    router: Callable[[str], RoutedQuery] = lambda _: routed(0.8, 0.1, 0.1)

    def of(self, collection: str) -> Ranking | None:
        if collection != "films":
            return None
        known = Collection(
            name="films",
            modalities=MODALITIES,
            embedding_model="e",
            dimension=4,
            created_at=START,
        )
        return Ranking(known, self.profile, Calibration())

    def search(self, _: Collection, query: ListQuery) -> Sequence[Candidate]:
        self.asked.append(query)
        if query.modality in self.failing:
            raise self.failing[query.modality]
        return self.lists[query.modality][: query.limit]

    def embed(
        self, texts: Sequence[str], purpose: EmbeddingPurpose
    ) -> "Sequence[Vector | InvalidInputError]":
        assert purpose is EmbeddingPurpose.RETRIEVAL
        if "embedding" in self.failing:
            raise self.failing["embedding"]
        self.embedded += texts
        return [array("f", [1, 0, 0, 0]) for _ in texts]

    def find(self, query: str = "a red door", **parameters: str) -> SearchReply:
        given = {"q": query, "collection": "films"} | parameters
        search = Search(
            rankings=self,
            index=self,  # type: ignore[arg-type]  # only what a search needs
            embedder=self,
            executor=self.executor,
            clock=VirtualClock(),
            grace_seconds=self.grace_seconds,
        )
        return search(search_request(list(given.items())), self.router).reply


@pytest.fixture
def searching() -> Iterator[Searching]:
    with ThreadPoolExecutor(8) as executor:
        yield Searching(executor)


def ids(reply: SearchReply) -> list[str]:
    return [hit["segment_id"] for hit in reply["hits"]]


def test_lists_are_fused_with_base_and_router_weights(searching: Searching) -> None:
    reply = searching.find(explain="1")

    assert reply["weights"] == pytest.approx(
        {
            "visual": 0.7 / 3 + 0.3 * 0.8,
            "audio": 0.7 / 3 + 0.3 * 0.1,
            "metadata": 0.7 / 3 + 0.3 * 0.1,
        }
    )
    assert (reply["tier"], reply["late"], reply["degraded"]) == ("distilled", False, [])
    assert ids(reply) == [f"s{n:03d}" for n in range(10)]
    best = reply["hits"][0]
    assert sum(part["contribution"] for part in best["explain"]) == pytest.approx(best["score"])


def test_the_text_of_a_query_is_normalised_once_for_all(searching: Searching) -> None:
    asked = []

    def router(query: str) -> RoutedQuery:
        asked.append(query)
        return routed(0.8, 0.1, 0.1)

    searching.router = router
    searching.find("  cafe\u0301\n door ")

    assert asked == searching.embedded == ["caf\u00e9 door"]
    assert {query.text for query in searching.asked} == {"caf\u00e9 door"}


def test_a_router_that_is_late_does_not_delay_the_hits(searching: Searching) -> None:
    answering = threading.Event()

    def router(_: str) -> RoutedQuery:
        assert answering.wait(PATIENCE_SECONDS)
        return routed(0.8, 0.1, 0.1)

    searching.router, searching.grace_seconds = router, 0.0
    reply = searching.find()
    answering.set()

    assert (reply["tier"], reply["late"]) == ("late", True)
    assert list(reply["weights"].values()) == pytest.approx([1 / 3] * 3)
    assert len(reply["hits"]) == 10


def test_the_router_and_the_embedding_run_at_the_same_time(searching: Searching) -> None:
    together = threading.Barrier(2, timeout=PATIENCE_SECONDS)

    def router(_: str) -> RoutedQuery:
        together.wait()
        return routed(0.8, 0.1, 0.1)

    def embed(texts: Sequence[str], purpose: EmbeddingPurpose) -> "list[Vector]":
        together.wait()
        return [array("f", [1, 0, 0, 0])]

    searching.router, searching.embed = router, embed  # type: ignore[method-assign]

    assert searching.find()["tier"] == "distilled"


@pytest.mark.parametrize("parameters", [{"route": "off"}, {"weights": "visual:1"}])
def test_the_router_is_not_asked_in_vain(searching: Searching, parameters: dict[str, str]) -> None:
    searching.router = pytest.fail

    reply = searching.find(**parameters)

    assert reply["tier"] == {"route": "base", "weights": "override"}[next(iter(parameters))]


def test_lists_of_little_weight_are_not_asked(searching: Searching) -> None:
    reply = searching.find(weights="visual:0.6,audio:0.38,metadata:0.02")

    assert [query.modality for query in searching.asked] == ["visual", "audio"]
    assert reply["lists_asked"] == ["visual", "audio"]


def test_without_a_champion_the_base_weights_serve(searching: Searching) -> None:
    def router(_: str) -> RoutedQuery:
        raise NotFoundError("no model serves yet")

    searching.router = router

    assert searching.find()["tier"] == "base"


def test_a_champion_of_other_modalities_cannot_weight_a_collection(searching: Searching) -> None:
    other = a_champion(modalities=("visual", "ocr", "metadata"))
    searching.router = lambda _: RoutedQuery(
        Decision((0.8, 0.1, 0.1), Tier.CACHE, Status.OK, model=""), other, LocalTierStats()
    )

    assert searching.find()["tier"] == "base"


def test_a_list_that_fails_is_named_and_the_others_serve(searching: Searching) -> None:
    searching.failing = {"audio": ThrottledError("too many requests")}

    reply = searching.find()

    assert (reply["degraded"], reply["lists_asked"]) == (["audio"], ["visual", "metadata"])
    assert len(reply["hits"]) == 10


def test_without_an_embedding_the_words_are_searched(searching: Searching) -> None:
    searching.failing = {"embedding": UnavailableError("timeout")}

    reply = searching.find()

    assert reply["degraded"] == ["embedding"]
    assert [query.vector for query in searching.asked] == [None] * 3


def test_a_search_fails_if_every_list_fails(searching: Searching) -> None:
    searching.failing = dict.fromkeys(MODALITIES, UnavailableError("timeout"))

    with pytest.raises(UnavailableError, match="every list"):
        searching.find()


def test_a_collection_that_was_deleted_meanwhile_is_unknown(searching: Searching) -> None:
    searching.failing = dict.fromkeys(MODALITIES, NotFoundError("no such index"))

    with pytest.raises(UnknownCollectionError):
        searching.find()


def test_an_unknown_collection_is_an_error_of_the_request(searching: Searching) -> None:
    with pytest.raises(UnknownCollectionError):
        searching.find(collection="series")


@pytest.mark.parametrize("group", [{}, {"group": "video"}])
def test_pages_are_the_whole_ranking_in_order(searching: Searching, group: dict[str, str]) -> None:
    draw = random.Random(3)  # noqa: S311 - not for security
    for name in MODALITIES:
        searching.lists[name] = [a_candidate(n, draw.random()) for n in draw.sample(range(90), 50)]
    whole = searching.find(k="50", **group)
    total = whole["total"]

    pages, cursor = [], None
    while True:
        reply = searching.find(k="3", **group, **({"cursor": cursor} if cursor else {}))
        pages += ids(reply)
        if (cursor := reply["cursor"]) is None:
            break

    assert pages[:50] == ids(whole)
    assert len(pages) == len(set(pages)) == total


def test_later_pages_keep_the_weights_of_the_first(searching: Searching) -> None:
    first = searching.find(k="3")
    searching.router = pytest.fail
    assert first["cursor"] is not None

    second = searching.find(k="3", cursor=first["cursor"])

    assert second["weights"] == first["weights"]
    assert second["tier"] == first["tier"]
    assert ids(second) == ["s003", "s004", "s005"]


def test_grouping_shows_each_video_once_with_its_other_hits(searching: Searching) -> None:
    reply = searching.find(group="video")

    videos = [hit["video_id"] for hit in reply["hits"]]
    assert len(videos) == len(set(videos)) == reply["total"] == 7
    assert [other["segment_id"] for other in reply["hits"][0]["same_video"]][:2] == ["s007", "s014"]


def test_a_filter_without_a_query_browses_by_video_and_time(searching: Searching) -> None:
    searching.router = pytest.fail

    reply = searching.find("", filter="genre:drama")

    [query] = searching.asked
    assert (query.modality, query.text, searching.embedded) == ("metadata", "", [])
    assert [condition.field for condition in query.filters] == ["genre"]
    assert ids(reply)[:3] == ["s000", "s007", "s014"]


def test_filters_are_passed_to_every_list(searching: Searching) -> None:
    searching.find(filter="year:>=2015")

    assert {len(query.filters) for query in searching.asked} == {1}


def test_a_cursor_with_weights_of_other_modalities_is_rejected(searching: Searching) -> None:
    with pytest.raises(BadFieldError, match="cursor"):
        searching.find(cursor="WzEwXQ")


def test_what_only_the_index_needs_is_not_shown(searching: Searching) -> None:
    hidden = {"genre": "drama", "_modalities": ["visual"]}
    searching.lists["visual"] = [a_candidate(1, 1.0, attributes=hidden)]

    reply = searching.find(weights="visual:1")

    assert reply["hits"][0]["attributes"] == {"genre": "drama"}

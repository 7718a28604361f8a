"""`search`: the signed request, the table within 80 columns, and texts that attack a terminal."""

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import EndpointConnectionError

from router_cli import api, verbs
from router_cli.__main__ import main
from router_cli.search import marked, time_code
from router_cli.stack import Stack
from search_router.domain.search.profiles import Fusion
from search_router.domain.search.requests import SearchRequest, UsedWeights, search_request

WEIGHTS = {"visual": 0.4, "audio": 0.3, "transcription": 0.2, "metadata": 0.1}
HOSTILE = "\x1b[2J\x1b]0;owned\x07 red\u202edoor\r\n[bold]x[/y] \u200b\x9b31m"
RULER = 80


@dataclass
class FakeHttp:
    """An HTTP session that records requests and gives one reply to all of them."""

    status_code: int = 200
    reply: Any = None
    error: Exception | None = None
    sent: list[Any] = field(default_factory=list)

    def __call__(self, timeout: float) -> "FakeHttp":
        assert timeout > 0
        return self

    def send(self, request: Any) -> "FakeHttp":
        self.sent.append(request)
        if self.error:
            raise self.error
        return self

    @property
    def text(self) -> str:
        return self.reply if isinstance(self.reply, str) else json.dumps(self.reply)

    @property
    def content(self) -> bytes:
        return self.text.encode()

    def parameters(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.sent[-1].url).query)


def a_part(modality: str, weight: float, normalised: float) -> dict[str, Any]:
    return {
        "modality": modality,
        "rank": 3,
        "cosine": 0.4321,
        "bm25": None if modality == "audio" else 7.125,
        "normalised": normalised,
        "weight": weight,
        "contribution": weight * normalised,
    }


def a_hit(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "segment_id": f"v{number}.1",
        "video_id": f"v{number}",
        "start": 62.0,
        "end": 3_725.9,
        "score": 0.71234,
        "attributes": {"genre": "drama"},
        "snippet": {"modality": "visual", "text": "a man opens a red door", "matches": [(14, 17)]},
        **fields,
    }


def a_reply(*hits: dict[str, Any], **fields: Any) -> dict[str, Any]:
    steps = {"router_ms": 12.3, "embedding_ms": 80.0, "lists_ms": 100.4, "fusion_ms": 1.6}
    return {
        "hits": list(hits),
        "weights": WEIGHTS,
        "tier": "local",
        "late": False,
        "profile": 2,
        "lists_asked": list(WEIGHTS),
        "degraded": [],
        "total": len(hits),
        "cursor": None,
        "timings": {**steps, "total_ms": 182.0},
        **fields,
    }


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> FakeHttp:
    """The search API of the stack that `--local` opens."""
    http = FakeHttp(reply=a_reply(a_hit()))
    stack = Stack(
        {},
        lambda _: None,
        "https://r.example",
        lambda: Credentials("key", "secret"),
        "us-east-1",
        search_url="https://s.example/",
    )
    monkeypatch.setattr(api, "URLLib3Session", http)
    monkeypatch.setattr("router_cli.search.open_stack", lambda _: stack)
    return http


@pytest.fixture
def search(http: FakeHttp, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Run the verb; return what it writes to stdout and stderr."""

    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        assert main(["search", *arguments, "--collection", "films"]) == code
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


Search = Callable[..., tuple[str, str]]


def test_the_request_is_signed_and_carries_every_argument(search: Search, http: FakeHttp) -> None:
    search(
        "red door & more+é", "-k", "5", "--filter", "genre:drama", "--filter", "year:>=2015",
        "--weights", "visual:0.7,audio:0.3", "--no-route", "--group-video", "--explain",
        "--fusion", "rrf",
    )  # fmt: skip

    sent = http.sent[-1]
    assert sent.method == "GET"
    assert sent.url.startswith("https://s.example/search?q=red%20door%20%26%20more%2B%C3%A9&")
    assert "/us-east-1/lambda/aws4_request" in sent.headers["Authorization"]
    request = search_request(http.parameters())  # as the function reads it
    assert (request.query, request.collection, request.k) == ("red door & more+é", "films", 5)
    assert [(one.field, one.operator.value) for one in request.filters] == [
        ("genre", "="), ("year", ">="),
    ]  # fmt: skip
    assert request.weights == {"visual": 0.7, "audio": 0.3}
    assert (request.routed, request.by_video, request.explain) == (False, True, True)
    assert request.fusion is Fusion.RRF


def test_only_what_was_asked_is_sent(search: Search, http: FakeHttp) -> None:
    search("dogs")
    assert http.parameters() == [("q", "dogs"), ("collection", "films"), ("k", "10")]

    search("--filter", "genre:drama")
    assert ("filter", "genre:drama") in http.parameters()
    assert "q" not in dict(http.parameters())


def test_the_fusions_of_the_command_are_those_of_the_api() -> None:
    assert list(verbs.FUSIONS) == [fusion.value for fusion in Fusion]


def test_a_hit_shows_score_time_codes_video_and_marked_words(search: Search) -> None:
    out, _ = search("red")

    assert re.search(r"1 +0\.712 +01:02\u20131:02:05 +v1 +a man opens a \*red\* door", out), out
    assert "1 of 1 hits" in out
    assert re.search(
        r"weights +visual 0\.40, audio 0\.30, transcription 0\.20, metadata 0\.10", out
    )
    assert re.search(r"weights from +local, ranking profile 2", out)
    assert re.search(r"time +182 ms \(router 12, embedding 80, lists 100, fusion 2\)", out)


def test_explain_shows_one_line_per_modality(search: Search, http: FakeHttp) -> None:
    parts = [a_part("visual", 0.4, 0.9), a_part("audio", 0.3, 0.5)]
    http.reply = a_reply(a_hit(explain=parts))

    out, _ = search("red", "--explain")

    words = " ".join(out.split())
    assert re.search(r"0\.360 +visual +weight 0\.40, normalised 0\.900", out)
    assert re.search(r"0\.150 +audio +weight 0\.30, normalised 0\.500", out)
    assert "rank 3, cosine 0.432, BM25 7.12" in words
    assert "rank 3, cosine 0.432 weights" in words, "no BM25 where the list has none"


def test_later_pages_count_on_and_name_the_next_cursor(search: Search, http: FakeHttp) -> None:
    request = SearchRequest("red", "films")
    used = UsedWeights(tuple(WEIGHTS.values()), "local", 2)
    http.reply = a_reply(a_hit(), a_hit(2), total=99, cursor=request.cursor_of(22, used))

    out, err = search("red", "--cursor", request.cursor_of(20, used))

    assert re.findall(r"^ +(\d+) +0\.", out, re.MULTILINE) == ["21", "22"]
    assert err == f"More hits: repeat the search with --cursor {request.cursor_of(22, used)}\n"


def test_failed_lists_late_routers_and_other_hits_are_shown(search: Search, http: FakeHttp) -> None:
    http.reply = a_reply(
        a_hit(same_video=[{}, {}]), degraded=["audio", "embedding"], tier="late", late=True
    )

    out, _ = search("red", "--group-video")

    assert re.search(r"failed +audio, embedding; the hits come from the rest", out)
    assert "base, because the router was late" in out
    assert "v1 (+2)" in out


def test_a_search_without_hits_says_so(search: Search, http: FakeHttp) -> None:
    http.reply = a_reply()

    out, err = search("red")

    assert err == "Nothing was found.\n"
    assert "visual 0.40" in out


def test_json_is_the_reply_of_the_api(search: Search, http: FakeHttp) -> None:
    out, err = search("red", "--json")

    assert json.loads(out) == json.loads(http.text)
    assert err == ""


@pytest.mark.parametrize("modalities", [2, 4, 16])
def test_the_table_fits_80_columns(search: Search, http: FakeHttp, modalities: int) -> None:
    weights = {f"modality_number_{n}": 1 / modalities for n in range(modalities)}
    parts = [a_part(name, weight, 1.0) for name, weight in weights.items()]
    long = "transcription of a very long passage " * 4
    hits = [
        a_hit(video_id="v" * 256, explain=parts, same_video=[{}] * 120,
              snippet={"modality": "visual", "text": long, "matches": [(0, 13)]}),
        a_hit(2, video_id="長い名前" * 20, snippet=None),
    ]  # fmt: skip
    http.reply = a_reply(*hits, weights=weights, total=123_456)

    out, _ = search("red", "--explain")

    assert max(map(_width, out.splitlines())) <= RULER
    for name in weights:
        assert name in "".join(out.split())


def _width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line.rstrip())


def test_texts_cannot_steer_the_terminal(search: Search, http: FakeHttp) -> None:
    snippet = {"modality": "visual", "text": HOSTILE, "matches": [(13, 16)]}
    part = {**a_part("visual", 1.0, 1.0), "modality": HOSTILE}
    http.reply = a_reply(
        a_hit(video_id=HOSTILE, snippet=snippet, explain=[part]),
        weights={HOSTILE: 1.0},
        tier=HOSTILE,
        degraded=[HOSTILE],
        cursor=HOSTILE,
    )

    out, err = search("red", "--explain")

    for character in (out + err).replace("\n", ""):
        assert unicodedata.category(character)[0] != "C", hex(ord(character))
    assert "[bold]x[/y]" in "".join(out.split()), "markup is shown, not obeyed"


@pytest.mark.parametrize(
    ("status", "reply", "message"),
    [
        (400, {"code": "bad_request", "message": "k: not a whole number.", "field": "k"},
         "k: not a whole number."),
        (404, {"code": "not_found", "message": "collection: does not exist.",
               "field": "collection"},
         "no such collection: films. `search-router collections` lists all collections."),
        (503, {"code": "unavailable", "message": "try again"},
         'the search API answered 503: {"code": "unavailable", "message": "try again"}'),
        (403, '{"Message": "Forbidden"}', 'the search API answered 403: {"Message": "Forbidden"}'),
        (502, "[]", "the search API answered 502: []"),
        (404, "<html>\x1b", "the search API answered 404: <html>\ufffd"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(
    search: Search, http: FakeHttp, status: int, reply: Any, message: str
) -> None:
    http.status_code, http.reply = status, reply

    assert search("red", code=1) == ("", f"search-router: {message}\n")


def test_an_api_that_cannot_be_reached_is_an_error(search: Search, http: FakeHttp) -> None:
    http.error = EndpointConnectionError(endpoint_url="https://s.example")

    _, err = search("red", code=1)

    assert err.startswith("search-router: cannot reach the search API: ")


def test_a_stack_without_a_search_api_is_named(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack({}, lambda _: None, "", lambda: None, "us-east-1")
    monkeypatch.setattr("router_cli.search.open_stack", lambda _: stack)

    _, err = search("red", code=1)

    assert err == ("search-router: the stack has no search API. Deploy the current template.\n")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "00:00"), (59.99, "00:59"), (60, "01:00"), (3_599, "59:59"), (3_600, "1:00:00")],
)
def test_time_codes(seconds: float, shown: str) -> None:
    assert time_code(seconds) == shown


def test_every_match_is_marked_at_its_offsets() -> None:
    snippet = {"modality": "visual", "text": "red and Red", "matches": [[0, 3], [8, 11]]}

    assert marked(snippet) == "*red* and *Red*"
    assert marked(None) == ""

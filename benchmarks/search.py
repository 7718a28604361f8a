"""Benchmark the search: `make bench-search`.

Replies are given inside the process, where botocore would send requests, so both sides parse the
same bytes and no server takes part. The limit is a program that makes the same calls and nothing
else; the reference way asks router, embedding and lists one after the other.

`--plant` doubles the CPU time of fusing and of replies: the exit code becomes 1.
"""

import io
import json
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from statistics import median, quantiles
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.session import get_session

from benchmarks.figures import Goal, Row, conclude, options
from benchmarks.indexing import measure_indexing
from benchmarks.timing import cpu_seconds, doubled, interleaved, ratio
from search_router.adapters.bedrock_embeddings import NovaEmbedder
from search_router.adapters.clock import SystemClock
from search_router.adapters.s3_vectors import S3VectorsIndex
from search_router.domain.search.calibration import Calibration, ListCalibration
from search_router.domain.search.fusion import Scoring, fuse
from search_router.domain.search.index import (
    LIST_LIMIT,
    Candidate,
    Collection,
    EmbeddingPurpose,
    ListQuery,
)
from search_router.domain.search.profiles import RankingProfile
from search_router.domain.search.rankings import Ranking
from search_router.domain.search.requests import SearchRequest
from search_router.domain.serving.champions import Champion, ServingModel
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.serving.local_tier import LocalTierStats
from search_router.use_cases import search as search_module
from search_router.use_cases.route_api import RoutedQuery
from search_router.use_cases.search import Search

MODALITIES = ("visual", "audio", "transcription", "metadata")
DIMENSION = 256
QUERY = "a man opens a red door in the rain"
# The reference post's router, and AWS's figures for an embedding and for a warm list.
ROUTER_SECONDS, EMBEDDING_SECONDS, LIST_SECONDS, GRACE_SECONDS = 0.833, 0.08, 0.1, 0.15
CALLERS = (1, 8, 32)
SEARCHES_PER_CALLER = 12
_REPEATS = 20
_WORDS = [f"word{number}" for number in range(500)]
_QUERY_WORDS = ["man", "opens", "red", "door", "rain"]
_CONFIG = Config(parameter_validation=False, max_pool_connections=256)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = options("search", __doc__)
    parser.add_argument("--plant", action="store_true", help="double our CPU time; fails")
    parser.add_argument("--segments", type=int, default=100_000, help="segments to index")
    arguments = parser.parse_args()
    if arguments.plant:
        _plant()
    canned = Canned()
    with canned.installed(), ThreadPoolExecutor(256) as executor:
        bench = Bench(executor)
        goals, rows = _cpu(bench)
        latency_goals, latency_rows = _latency(bench, canned)
    indexing_goals, indexing_rows = measure_indexing(arguments.segments)
    return conclude(
        "search",
        [*rows, *latency_rows, *indexing_rows],
        [*goals, *latency_goals, *indexing_goals],
        arguments.json,
    )


def _plant() -> None:
    plant: Any = search_module
    plant.fuse = doubled(doubled(plant.fuse))
    plant.hit_reply = doubled(doubled(plant.hit_reply))
    globals()["fuse"] = doubled(doubled(fuse))


@dataclass
class Canned:
    """Replies to QueryVectors and InvokeModel, after `list_seconds` and `embedding_seconds`."""

    list_seconds: float = 0.0
    embedding_seconds: float = 0.0
    lists: dict[str, bytes] = field(default_factory=lambda: dict(_list_replies()))
    embedding: bytes = field(
        default_factory=lambda: json.dumps(
            {"embeddings": [{"embeddingType": "TEXT", "embedding": _numbers(Random(5))}]}  # noqa: S311
        ).encode()
    )

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace botocore's transport."""
        transport: Any = URLLib3Session
        real, transport.send = transport.send, lambda _session, request: self._reply(request)
        try:
            yield
        finally:
            transport.send = real

    def _reply(self, request: Any) -> AWSResponse:
        if "QueryVectors" in request.url:
            time.sleep(self.list_seconds)
            body = next(reply for name, reply in self.lists.items() if name in _text(request.body))
        else:
            time.sleep(self.embedding_seconds)
            body = self.embedding
        headers: Any = HTTPHeaders()
        headers["Content-Type"] = "application/json"
        raw: Any = _Body(body)
        return AWSResponse(request.url, 200, headers, raw)


class _Body(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


class Bench:
    """A search on canned replies, and the bare calls that it makes."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        session = get_session()
        session.set_credentials("AKIAEXAMPLE", "secret")
        self._executor = executor
        self._vectors: Any = session.create_client("s3vectors", "us-east-1", config=_CONFIG)
        runtime: Any = session.create_client("bedrock-runtime", "us-east-1", config=_CONFIG)
        self._bedrock = runtime
        self.collection = Collection(
            name="films",
            modalities=MODALITIES,
            embedding_model="m",
            dimension=DIMENSION,
            created_at=datetime.now(UTC),
        )
        self._index = S3VectorsIndex(self._vectors, "vectors")
        self._embedder = NovaEmbedder(self._bedrock, "m", DIMENSION)
        self._search = Search(
            rankings=self,
            index=self._index,
            embedder=self._embedder,
            executor=executor,
            clock=SystemClock(),
            grace_seconds=GRACE_SECONDS,
        )

    def of(self, _: str) -> Ranking:
        """Return the ranking of the only collection."""
        return Ranking(self.collection, RankingProfile(), CALIBRATION)

    def search(self, router: Callable[[str], RoutedQuery]) -> str:
        """Search once; return the tier of the weights."""
        reply = self._search(SearchRequest(QUERY, "films"), router).reply
        if len(reply["hits"]) != 10 or reply["degraded"]:
            raise RuntimeError("the search is degraded")
        return reply["tier"]

    def bare_calls(self) -> None:
        """Make the calls of a search in the same order and parallelism, and nothing else."""
        vector = self.bare_embedding()
        waiting = [self._executor.submit(self.bare_list, name, vector) for name in MODALITIES]
        for future in waiting:
            future.result()

    def reference_way(self) -> None:
        """Ask router, embedding and lists one after the other."""
        time.sleep(ROUTER_SECONDS)
        vector = self.bare_embedding()
        for name in MODALITIES:
            self.bare_list(name, vector)

    def bare_embedding(self) -> list[float]:
        """Embed the query."""
        params = {"embeddingPurpose": "GENERIC_RETRIEVAL", "embeddingDimension": DIMENSION}
        text = {"text": {"truncationMode": "END", "value": QUERY}}
        request = {
            "schemaVersion": "nova-multimodal-embed-v1",
            "taskType": "SINGLE_EMBEDDING",
            "singleEmbeddingParams": params | text,
        }
        reply = self._bedrock.invoke_model(modelId="m", body=json.dumps(request))
        vector: list[float] = json.loads(reply["body"].read())["embeddings"][0]["embedding"]
        return vector

    def bare_list(self, name: str, vector: list[float]) -> object:
        """Ask one list."""
        return self._vectors.query_vectors(
            vectorBucketName="vectors",
            indexName=f"films.{name}",
            topK=LIST_LIMIT,
            queryVector={"float32": vector},
            queryTexts=[{"text": QUERY, "metadataKey": "text"}],
            returnMetadata=True,
            returnDistance=True,
            returnScores=True,
        )

    def candidates(self) -> dict[str, Sequence[Candidate]]:
        """Return the parsed lists, to fuse them."""
        [vector] = self._embedder.embed([QUERY], EmbeddingPurpose.RETRIEVAL)
        if not isinstance(vector, array):
            raise TypeError("the embedding was rejected")
        return {
            name: self._index.search(self.collection, ListQuery(name, vector, QUERY))
            for name in MODALITIES
        }


CALIBRATION = Calibration(
    segments=1_000,
    lists={
        name: ListCalibration(floor=0.3, texts=1_000, frequencies=dict.fromkeys(_QUERY_WORDS, 90))
        for name in MODALITIES
    },
)
_ROUTED = RoutedQuery(
    Decision((0.55, 0.15, 0.15, 0.15), Tier.CACHE, Status.OK, model="m"),
    Champion(
        version=1,
        run_id="r",
        promoted_at=datetime.now(UTC),
        serving=ServingModel(
            model_id="m",
            priced_as="m",
            system_prompt="",
            modalities=MODALITIES,
            max_output_tokens=1,
            prior=(0.25,) * 4,
        ),
    ),
    LocalTierStats(),
)


def cached_weights(_: str) -> RoutedQuery:
    """Answer as the cache or the local tier does: at once."""
    return _ROUTED


def distilled_weights(_: str) -> RoutedQuery:
    """Answer as the distilled model does."""
    time.sleep(ROUTER_SECONDS)
    return _ROUTED


def _cpu(bench: Bench) -> tuple[list[Goal], list[Row]]:
    lists = bench.candidates()
    weights = dict.fromkeys(MODALITIES, 0.25)
    scoring = Scoring(RankingProfile(), CALIBRATION, ["man", "door", "rain"])
    ways = {
        "search": lambda: cpu_seconds(lambda: _repeated(lambda: bench.search(cached_weights))),
        "the same calls, nothing else": lambda: cpu_seconds(lambda: _repeated(bench.bare_calls)),
        "fuse 4 lists of 100": lambda: cpu_seconds(
            lambda: _repeated(lambda: fuse(lists, weights, scoring))
        ),
    }
    figures = interleaved(ways)
    search, bare, fusing = (figures[name] for name in ways)
    per_search = {name: min(seconds) / _REPEATS * 1_000 for name, seconds in figures.items()}
    rows: list[Row] = [{"what": name, "CPU ms": value} for name, value in per_search.items()]
    goals = [
        Goal("CPU of a search / of its bare calls", ratio(search, bare), 1.5, "x"),
        Goal("CPU of fusing / of the bare calls", ratio(fusing, bare), 0.12, "x"),
    ]
    return goals, rows


def _repeated(work: Callable[[], object]) -> None:
    for _ in range(_REPEATS):
        work()


def _latency(bench: Bench, canned: Canned) -> tuple[list[Goal], list[Row]]:
    canned.list_seconds, canned.embedding_seconds = LIST_SECONDS, EMBEDDING_SECONDS
    ways: dict[str, Callable[[], object]] = {
        "embedding + lists, bare": bench.bare_calls,
        "search, weights cached or local": lambda: bench.search(cached_weights),
        "search, weights from the model": lambda: bench.search(distilled_weights),
        "reference: one after the other": bench.reference_way,
    }
    goals: list[Goal] = []
    rows: list[Row] = []
    for callers in CALLERS:
        seconds = {name: _timed(work, callers) for name, work in ways.items()}
        limit, cached, model, _ = (median(values) for values in seconds.values())
        for name, values in seconds.items():
            p50, p99 = 1_000 * median(values), 1_000 * quantiles(values, n=100)[98]
            rows.append({"what": f"{name}, {callers} callers", "p50 ms": p50, "p99 ms": p99})
        if callers == 1:  # more share this interpreter's lock; a Lambda container serves one
            goals += [
                Goal("cached weights / (embedding + lists)", cached / limit, 1.15, "x"),
                Goal(
                    "model's weights without grace / (embedding + lists)",
                    (model - GRACE_SECONDS) / limit,
                    1.15,
                    "x",
                ),
            ]
    return goals, rows


def _timed(work: Callable[[], object], callers: int) -> list[float]:
    """Return the seconds of each call; callers begin at different moments."""

    def call(number: int) -> list[float]:
        time.sleep(number / callers * LIST_SECONDS)
        taken = []
        for _ in range(SEARCHES_PER_CALLER):
            started = time.monotonic()
            work()
            taken.append(time.monotonic() - started)
        return taken

    with ThreadPoolExecutor(callers) as pool:
        return [seconds for one in pool.map(call, range(callers)) for seconds in one]


def _list_replies() -> Iterator[tuple[str, bytes]]:
    draw = Random(1)  # noqa: S311 - not for security
    for name in MODALITIES:
        vectors = [
            {
                "key": f"segment-{number}",
                "distance": rank / LIST_LIMIT,
                "metadata": {
                    "video_id": f"video-{number % 60}",
                    "start": 1.0,
                    "end": 9.5,
                    "text": " ".join(_words(draw)),
                    "genre": "drama",
                    "year": 2021,
                },
                "scores": {
                    "fused": 1 / (60 + rank),
                    "vectorDistance": rank / LIST_LIMIT,
                    "bm25Scores": [{"metadataKey": "text", "score": 9 - 9 * rank / LIST_LIMIT}],
                },
            }
            for rank, number in enumerate(draw.sample(range(250), LIST_LIMIT))
        ]
        yield f"films.{name}", json.dumps({"vectors": vectors, "distanceMetric": "cosine"}).encode()


def _words(draw: Random) -> list[str]:
    """Return the words of a text of usual length, three of them the query's."""
    words = draw.choices(_WORDS, k=40)
    for word in draw.sample(_QUERY_WORDS, 3):
        words[draw.randrange(40)] = word
    return words


def _numbers(draw: Random) -> list[float]:
    return [draw.uniform(-1, 1) for _ in range(DIMENSION)]


def _text(body: bytes | str) -> str:
    return body.decode() if isinstance(body, bytes) else body


if __name__ == "__main__":
    sys.exit(main())

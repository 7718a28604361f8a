"""Search a collection: embed the query, ask every list, fuse them with the router's weights.

The router never delays the lists. It starts with the embedding, and has until the lists are there
plus a grace period; after that the base weights serve.
"""

import math
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

from search_router.domain.errors import (
    InvalidInputError,
    NotFoundError,
    SearchRouterError,
    UnavailableError,
)
from search_router.domain.queries import normalised_query
from search_router.domain.search.analysis import query_terms
from search_router.domain.search.fusion import Hit, Part, Scoring, fuse, one_per_video
from search_router.domain.search.index import (
    METADATA,
    Candidate,
    Collection,
    EmbeddingPurpose,
    ListQuery,
    Vector,
)
from search_router.domain.search.profiles import WeightSource
from search_router.domain.search.rankings import Ranking
from search_router.domain.search.replies import HitReply, SearchReply, Timings, hit_reply
from search_router.domain.search.requests import (
    SearchRequest,
    UnknownCollectionError,
    UsedWeights,
)
from search_router.domain.weights import Modalities
from search_router.ports import Clock, Embedder, Rankings, SegmentIndex
from search_router.use_cases.route_api import RoutedQuery

EMBEDDING = "embedding"  # in `degraded`, beside the names of lists
BROWSE_LIMIT = 1_000  # segments that a search without a query can show


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """The reply, and the router's decision if it answered in time."""

    reply: SearchReply
    routed: RoutedQuery | None


@dataclass(slots=True)
class _Run:
    """One search while it runs; times are monotonic seconds."""

    request: SearchRequest
    ranking: Ranking
    started: float
    query: str  # normalised
    terms: Sequence[str]
    offset: int = 0
    used: UsedWeights | None = None
    router: "Future[RoutedQuery] | None" = None
    routed: RoutedQuery | None = None
    degraded: list[str] = field(default_factory=list)
    timings: Timings = field(
        default_factory=lambda: Timings(
            router_ms=0.0, embedding_ms=0.0, lists_ms=0.0, fusion_ms=0.0, total_ms=0.0
        )
    )

    @property
    def modalities(self) -> Modalities:
        return self.ranking.collection.modalities

    def base(self, source: WeightSource) -> UsedWeights:
        profile = self.ranking.profile
        return UsedWeights(profile.base_weights(self.modalities), source.value, profile.version)


@dataclass(frozen=True, slots=True)
class Search:
    """Searches collections. `grace_seconds` is what the router may take after the lists."""

    rankings: Rankings
    index: SegmentIndex
    embedder: Embedder
    executor: Executor
    clock: Clock
    grace_seconds: float

    def __call__(
        self, request: SearchRequest, ask_router: Callable[[str], RoutedQuery]
    ) -> SearchOutcome:
        """Return one page of hits.

        Raises BadFieldError for an invalid request, UnknownCollectionError, and UnavailableError if
        every list fails.
        """
        run = self._begin(request, ask_router)
        lists = self._lists(run) if run.query else self._browsed(run)
        used = self._weights(run)
        before = self.clock.monotonic()
        hits = _fused(run, lists, used) if run.query else _by_time(lists)
        reply = _page(run, hits, used, list(lists))
        now = self.clock.monotonic()
        run.timings["fusion_ms"] = _ms(now - before)
        run.timings["total_ms"] = _ms(now - run.started)
        return SearchOutcome(reply, run.routed)

    def _begin(self, request: SearchRequest, ask_router: Callable[[str], RoutedQuery]) -> _Run:
        started = self.clock.monotonic()
        ranking = self.rankings.of(request.collection)
        if ranking is None:
            raise UnknownCollectionError
        if request.fusion is not None:
            profile = ranking.profile.model_copy(update={"fusion": request.fusion})
            ranking = ranking._replace(profile=profile)
        query = normalised_query(request.query)
        run = _Run(request, ranking, started, query, query_terms(query))
        page, override = request.page(run.modalities), request.override(run.modalities)
        if page is not None:
            run.used, run.offset = page.used, page.offset
        elif override is not None:
            run.used = UsedWeights(override, WeightSource.OVERRIDE.value, ranking.profile.version)
        elif not request.routed or not run.query or _share_is_zero(ranking):
            run.used = run.base(WeightSource.BASE)
        else:
            run.router = self.executor.submit(ask_router, run.query)
        return run

    def _lists(self, run: _Run) -> dict[str, Sequence[Candidate]]:
        """Ask the lists that the weights known by now need."""
        vector = self._embedding(run)
        if run.router is not None and run.router.done():
            self._weights(run)
        asked = run.modalities
        if run.used is not None:
            asked = run.ranking.profile.lists_asked(run.modalities, run.used.weights)
        queries = [
            ListQuery(modality, vector, run.query, run.request.filters) for modality in asked
        ]
        return self._asked(run, queries)

    def _browsed(self, run: _Run) -> dict[str, Sequence[Candidate]]:
        collection = run.ranking.collection
        asked = [METADATA] if METADATA in collection.modalities else collection.modalities
        vector = _any_vector(collection)
        queries = [
            ListQuery(modality, vector, "", run.request.filters, BROWSE_LIMIT) for modality in asked
        ]
        return self._asked(run, queries)

    def _embedding(self, run: _Run) -> Vector | None:
        """Return the query's vector; None, and the search is degraded, if there is none."""
        before = self.clock.monotonic()
        try:
            (vector,) = self.embedder.embed([run.query], EmbeddingPurpose.RETRIEVAL)
        except SearchRouterError:
            vector = InvalidInputError("no embedding")
        run.timings["embedding_ms"] = _ms(self.clock.monotonic() - before)
        if isinstance(vector, InvalidInputError):
            run.degraded.append(EMBEDDING)
            return None
        return vector

    def _asked(self, run: _Run, queries: Sequence[ListQuery]) -> dict[str, Sequence[Candidate]]:
        """Ask all lists at once; raises UnavailableError if every one fails.

        If none of them exists, the collection was deleted since its ranking was read.
        """
        before = self.clock.monotonic()
        collection = run.ranking.collection
        waiting = [
            (query.modality, self.executor.submit(self.index.search, collection, query))
            for query in queries
        ]
        lists: dict[str, Sequence[Candidate]] = {}
        problems: list[SearchRouterError] = []
        for modality, future in waiting:
            try:
                lists[modality] = future.result()
            except SearchRouterError as error:
                problems.append(error)
                run.degraded.append(modality)
        run.timings["lists_ms"] = _ms(self.clock.monotonic() - before)
        if not lists and all(isinstance(problem, NotFoundError) for problem in problems):
            raise UnknownCollectionError
        if not lists:
            raise UnavailableError("every list of the search failed") from problems[-1]
        return lists

    def _weights(self, run: _Run) -> UsedWeights:
        """Return the weights; waits for the router at most the grace period."""
        if run.used is not None:
            return run.used
        if run.router is None:
            return run.base(WeightSource.BASE)
        try:
            run.routed = run.router.result(timeout=self.grace_seconds)
        except FutureTimeoutError:
            run.used = run.base(WeightSource.LATE)
        except SearchRouterError:  # no champion, or it cannot be read
            run.used = run.base(WeightSource.BASE)
        else:
            run.used = _mixed(run, run.routed)
        run.timings["router_ms"] = _ms(self.clock.monotonic() - run.started)
        return run.used


def _share_is_zero(ranking: Ranking) -> bool:
    return not any(ranking.profile.router_share.values())


def _mixed(run: _Run, routed: RoutedQuery) -> UsedWeights:
    """Mix base and router; a champion of other modalities cannot weight this collection."""
    profile, serving = run.ranking.profile, routed.champion.serving
    if set(serving.modalities) != set(run.modalities):
        return run.base(WeightSource.BASE)
    by_name = dict(zip(serving.modalities, routed.decision.weights, strict=True))
    ordered = tuple(by_name[name] for name in run.modalities)
    tier = routed.decision.tier
    return UsedWeights(profile.mixed(run.modalities, ordered, tier), tier.value, profile.version)


def _fused(run: _Run, lists: dict[str, Sequence[Candidate]], used: UsedWeights) -> list[Hit]:
    """Fuse the lists whose weight counts; a later page then sees the same lists."""
    profile = run.ranking.profile
    counted = profile.lists_asked(run.modalities, used.weights)
    for modality in [name for name in lists if name not in counted]:
        del lists[modality]
    weights = dict(zip(run.modalities, used.weights, strict=True))
    scoring = Scoring(profile, run.ranking.calibration, run.terms)
    return fuse(lists, weights, scoring)


def _by_time(lists: dict[str, Sequence[Candidate]]) -> list[Hit]:
    """Return each segment once, by video and time."""
    found: dict[str, dict[str, Part]] = {}
    for modality, candidates in lists.items():
        for rank, candidate in enumerate(candidates, 1):
            found.setdefault(candidate.segment_id, {})[modality] = Part(rank, candidate, 0.0)
    hits = [Hit(segment_id, 0.0, parts, {}) for segment_id, parts in found.items()]
    hits.sort(key=lambda hit: (hit.segment.video_id, hit.segment.start, hit.segment_id))
    return hits


def _page(run: _Run, hits: list[Hit], used: UsedWeights, asked: list[str]) -> SearchReply:
    request = run.request
    offset, terms = run.offset, run.terms
    end = offset + request.k
    rows: list[HitReply]
    if request.by_video:
        groups = one_per_video(hits)
        total = len(groups)
        rows = [
            hit_reply(hit, others, terms, explain=request.explain)
            for hit, others in groups[offset:end]
        ]
    else:
        total = len(hits)
        rows = [hit_reply(hit, None, terms, explain=request.explain) for hit in hits[offset:end]]
    return SearchReply(
        hits=rows,
        weights=dict(zip(run.modalities, used.weights, strict=True)),
        tier=used.source,
        late=used.source == WeightSource.LATE.value,
        profile=used.profile,
        lists_asked=asked,
        degraded=run.degraded,
        total=total,
        cursor=request.cursor_of(end, used) if end < total else None,
        timings=run.timings,
    )


def _any_vector(collection: Collection) -> Vector:
    """Return a vector to browse with: S3 Vectors has no query without a vector or a text."""
    return array("f", [1 / math.sqrt(collection.dimension)] * collection.dimension)


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 1)

"""The reply of GET /search, as types that the OpenAPI document is generated from."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from search_router.domain.search.fusion import Explanation, Hit
from search_router.domain.search.index import Attributes
from search_router.domain.search.snippets import Snippet, snippet


class OtherHit(TypedDict):
    """Another hit of the same video; times are in seconds."""

    segment_id: str
    start: float
    end: float
    score: float


class HitReply(TypedDict):
    """One segment, or with `group=video` one video's best segment; times are in seconds."""

    segment_id: str
    video_id: str
    start: float
    end: float
    score: float
    attributes: Attributes
    snippet: Snippet | None
    explain: NotRequired[list[Explanation]]
    same_video: NotRequired[list[OtherHit]]


class Timings(TypedDict):
    """Milliseconds from the start of the search; 0 for a step that was not needed."""

    router_ms: float
    embedding_ms: float
    lists_ms: float
    fusion_ms: float
    total_ms: float


class SearchReply(TypedDict):
    """One page of hits.

    `tier` says where `weights` come from; `late` that the router did not answer in time. `degraded`
    names the lists that failed, and `embedding` if that failed. `total` counts the fused hits.
    """

    hits: list[HitReply]
    weights: dict[str, float]
    tier: str
    late: bool
    profile: int
    lists_asked: list[str]
    degraded: list[str]
    total: int
    cursor: str | None
    timings: Timings


def hit_reply(
    hit: Hit, others: Sequence[Hit] | None, terms: Sequence[str], *, explain: bool
) -> HitReply:
    """Render one hit; `others` are the video's other hits, None without grouping."""
    segment = hit.segment
    contributions = sorted(hit.contributions, key=lambda part: -part["contribution"])
    texts = {part["modality"]: hit.parts[part["modality"]].candidate.text for part in contributions}
    reply = HitReply(
        segment_id=hit.segment_id,
        video_id=segment.video_id,
        start=segment.start,
        end=segment.end,
        score=hit.score,
        attributes=_public(segment.attributes),
        snippet=snippet(texts, terms),
    )
    if explain:
        reply["explain"] = contributions
    if others is not None:
        reply["same_video"] = [
            OtherHit(
                segment_id=other.segment_id,
                start=other.segment.start,
                end=other.segment.end,
                score=other.score,
            )
            for other in others
        ]
    return reply


def _public(attributes: Attributes) -> Attributes:
    """Leave out what only the index needs."""
    return {name: value for name, value in attributes.items() if not name.startswith("_")}

"""Fuses the lists of a search into one ranking, and explains every score.

The score of a segment is the sum over modalities of weight times normalised score. A segment that a
list did not return counts 0 there: the lower bound of a normalised score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

from search_router.domain.search.calibration import Calibration
from search_router.domain.search.index import MODALITIES_ATTRIBUTE, Candidate
from search_router.domain.search.profiles import Fusion, MissingPolicy, RankingProfile

_RRF_K = 60  # Cormack, Clarke and Buettcher (SIGIR 2009)
_MIN_MAX_LOWEST = 0.001  # the last hit of a list still beats a segment that is not in it
_EPSILON = 1e-9

Lists = Mapping[str, Sequence[Candidate]]


class Explanation(TypedDict):
    """What one modality adds to a score: `contribution` = `weight` · `normalised`."""

    modality: str
    rank: int
    cosine: float | None
    bm25: float | None
    normalised: float
    weight: float
    contribution: float


class Part(NamedTuple):
    """A segment in one list: its rank from 1, its candidate and its normalised score."""

    rank: int
    candidate: Candidate
    normalised: float


class Hit(NamedTuple):
    """One segment of the fused ranking, with its part in each list that has it."""

    segment_id: str
    score: float
    parts: Mapping[str, Part]
    weights: Mapping[str, float]

    @property
    def segment(self) -> Candidate:
        """A candidate of the hit, for what all of them share: video, times and attributes."""
        return next(iter(self.parts.values())).candidate

    @property
    def contributions(self) -> list[Explanation]:
        """What each modality adds to the score."""
        return [
            Explanation(
                modality=modality,
                rank=part.rank,
                cosine=part.candidate.cosine,
                bm25=part.candidate.bm25,
                normalised=part.normalised,
                weight=(weight := self.weights.get(modality, 0.0)),
                contribution=weight * part.normalised,
            )
            for modality, part in self.parts.items()
        ]


@dataclass(frozen=True, slots=True)
class Scoring:
    """How one search scores: the profile, the calibration, and the query's terms."""

    profile: RankingProfile
    calibration: Calibration
    terms: Sequence[str] = ()

    def normalised(self, modality: str, candidates: Sequence[Candidate]) -> list[float]:
        """Return each candidate's score in [0, 1], in the list's order."""
        match self.profile.fusion:
            case Fusion.BOUNDED:
                return self._bounded(modality, candidates)
            case Fusion.MIN_MAX:
                return self._min_max(candidates)
            case Fusion.RRF:
                ranks = range(1, len(candidates) + 1)
                return [(_RRF_K + 1) / (_RRF_K + rank) for rank in ranks]

    def _bounded(self, modality: str, candidates: Sequence[Candidate]) -> list[float]:
        calibration = self.calibration.of(modality)
        floor, mix, power = calibration.floor, self.profile.mix, self.profile.sharpness
        bound = calibration.bm25_bound(self.terms)
        if bound <= 0:  # nothing but stop words: the best text match counts as 1
            bound = max((c.bm25 or 0.0 for c in candidates), default=0.0) or 1.0
        dense_scale, lexical_scale = mix / (1 - floor), (1 - mix) / bound
        scores = []
        for candidate in candidates:
            cosine, bm25 = candidate.cosine, candidate.bm25
            dense = (cosine - floor) * dense_scale if cosine is not None and cosine > floor else 0.0
            lexical = min(bm25 * lexical_scale, 1 - mix) if bm25 else 0.0
            scores.append(min(dense + lexical, 1.0) ** power)
        return scores

    def _min_max(self, candidates: Sequence[Candidate]) -> list[float]:
        mix = self.profile.mix
        dense = _stretched([c.cosine for c in candidates])
        lexical = _stretched([c.bm25 or None for c in candidates])
        return [mix * d + (1 - mix) * x for d, x in zip(dense, lexical, strict=True)]


def fuse(lists: Lists, weights: Mapping[str, float], scoring: Scoring) -> list[Hit]:
    """Return every segment of the lists, best first; equal scores by segment id."""
    found: dict[str, dict[str, Part]] = {}
    for modality, candidates in lists.items():
        scores = scoring.normalised(modality, candidates)
        ordered = sorted(
            zip(scores, candidates, strict=True), key=lambda pair: (-pair[0], pair[1].segment_id)
        )
        for rank, (score, candidate) in enumerate(ordered, 1):
            found.setdefault(candidate.segment_id, {})[modality] = Part(rank, candidate, score)
    renormalise = scoring.profile.missing is MissingPolicy.RENORMALISE
    hits = []
    for segment_id, parts in found.items():
        own = _own(weights, parts) if renormalise else weights
        score = sum([own.get(modality, 0.0) * part[2] for modality, part in parts.items()])
        hits.append(Hit(segment_id, score, parts, own))
    hits.sort(key=lambda hit: (-hit[1], hit[0]))
    return hits


def one_per_video(hits: Sequence[Hit]) -> list[tuple[Hit, list[Hit]]]:
    """Return each video's best hit with its other hits, in the order of the best hits."""
    groups: dict[str, tuple[Hit, list[Hit]]] = {}
    for hit in hits:
        video = hit.segment.video_id
        if video in groups:
            groups[video][1].append(hit)
        else:
            groups[video] = (hit, [])
    return list(groups.values())


def _own(weights: Mapping[str, float], parts: Mapping[str, Part]) -> Mapping[str, float]:
    """Return the weights scaled to sum to 1 over the modalities that the segment has."""
    stored = next(iter(parts.values())).candidate.attributes.get(MODALITIES_ATTRIBUTE)
    names = set(stored) if isinstance(stored, list | tuple) else set(weights)
    total = sum(weight for name, weight in weights.items() if name in names)
    if total <= _EPSILON:
        return weights
    return {name: weight / total for name, weight in weights.items() if name in names}


def _stretched(scores: Sequence[float | None]) -> list[float]:
    """Map the list's lowest score to just above 0 and its highest to 1; None to 0."""
    present = [score for score in scores if score is not None]
    if not present:
        return [0.0] * len(scores)
    low, high = min(present), max(present)
    if high <= low:
        return [0.0 if score is None else 1.0 for score in scores]
    return [
        0.0 if score is None else max((score - low) / (high - low), _MIN_MAX_LOWEST)
        for score in scores
    ]

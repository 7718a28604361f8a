"""Calibrates a collection's scores on a sample of its segments, without queries or judgments.

The floor is the cosine that unrelated texts of a modality reach: the 95th percentile over random
pairs of segments of different videos. The frequencies tell how rare a term is, for the highest BM25
score that a query could reach.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import mul
from random import Random
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from search_router.domain.search.analysis import all_terms
from search_router.domain.search.index import Vector

MAX_SAMPLE = 2_000  # segments: 300 already give the same ranking on the measured collections
_PAIRS = 5_000
_MIN_PAIRS = 50
_PERCENTILE = 0.95  # docs/decisions.md, 64
_MAX_FLOOR = 0.95
_WORDS_PER_TEXT = 500
_MAX_TERMS = 20_000
_K1 = 1.2  # the usual BM25 constant, also in the bound that a score is divided by


class SampledSegment(NamedTuple):
    """What calibration needs of one segment: its video, texts and vectors by modality."""

    video_id: str
    texts: Mapping[str, str]
    vectors: Mapping[str, Vector]


class ListCalibration(BaseModel):
    """The calibration of one modality.

    `frequencies` counts the sampled texts that hold a term, for terms in at least two of `texts`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    floor: float = 0.0
    texts: int = 0
    frequencies: Mapping[str, int] = {}

    def bm25_bound(self, terms: Sequence[str]) -> float:
        """Return the BM25 score that a text with endless repetitions of all terms approaches."""
        return (_K1 + 1) * sum(self._rarity(term) for term in terms)

    def _rarity(self, term: str) -> float:
        """Return the inverse document frequency; a term that was not sampled is in no text."""
        count = self.frequencies.get(term, 0)
        return math.log(1 + (self.texts - count + 0.5) / (count + 0.5))


class Calibration(BaseModel):
    """The calibration of a collection's lists, by modality, on `segments` of its segments."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    segments: int = 0
    lists: Mapping[str, ListCalibration] = {}

    def of(self, modality: str) -> ListCalibration:
        """Return one list's calibration; without a sample, every cosine above 0 counts."""
        return self.lists.get(modality, _UNCALIBRATED)


_UNCALIBRATED = ListCalibration()


def calibrated(sample: Iterable[SampledSegment]) -> Calibration:
    """Calibrate on at most 2,000 segments; equal samples give equal results."""
    segments = list(sample)[:MAX_SAMPLE]
    modalities = sorted({m for segment in segments for m in (*segment.texts, *segment.vectors)})
    return Calibration(
        segments=len(segments),
        lists={modality: _list_calibration(segments, modality) for modality in modalities},
    )


def _list_calibration(segments: Sequence[SampledSegment], modality: str) -> ListCalibration:
    counts: Counter[str] = Counter()
    texts = 0
    for segment in segments:
        if text := segment.texts.get(modality):
            texts += 1
            counts.update(all_terms(text, _WORDS_PER_TEXT))
    frequent = [(term, count) for term, count in counts.most_common(_MAX_TERMS) if count > 1]
    return ListCalibration(
        floor=_floor(segments, modality), texts=texts, frequencies=dict(sorted(frequent))
    )


def _floor(segments: Sequence[SampledSegment], modality: str) -> float:
    """Return the 95th percentile of the cosines of random pairs; 0 for too few pairs."""
    vectors = [
        (segment.video_id, segment.vectors[modality], _length(segment.vectors[modality]))
        for segment in segments
        if modality in segment.vectors
    ]
    if len(vectors) < 2:
        return 0.0
    draw = Random(0)  # noqa: S311 - not for security
    cosines: list[float] = []
    for _ in range(_PAIRS):
        video, one, length = draw.choice(vectors)
        other_video, other, other_length = draw.choice(vectors)
        if video != other_video:
            cosines.append(sum(map(mul, one, other)) / (length * other_length))
    if len(cosines) < _MIN_PAIRS:
        return 0.0
    cosines.sort()
    return round(min(max(cosines[int(_PERCENTILE * len(cosines))], 0.0), _MAX_FLOOR), 4)


def _length(vector: Vector) -> float:
    return math.sqrt(sum(map(mul, vector, vector))) or 1.0

"""On which side a query lies, and which of its rows and labels stand for it.

Every choice is a pure function of the set of rows: the holdout is a hash of the query's
fingerprint, sampling ranks by the fingerprint, a query's row is chosen by its content. Uploading a
query twice, or in another file, can therefore never move it from one side to the other.
"""

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from search_router.domain.intake.survey import LabelNoise, Sighting
from search_router.domain.weights import (
    Modalities,
    Weights,
    consensus,
    dominant,
)

MAX_TRAINING_ROWS = 15_000  # Bedrock quota: prompts per distillation job
MAX_HOLDOUT_ROWS = 1_000  # prompts per Bedrock evaluation job
UNLABELLED = "unlabelled"
_HASH_RANGE = 2**64
_text, _label = attrgetter("text"), attrgetter("label")


class Chosen(NamedTuple):
    """One distinct query that is wanted: where to read it, and the label it shall have."""

    rank: bytes
    place: int
    label: Weights | None
    label_is_its_own: bool


@dataclass(slots=True)
class Sides:
    """Sorts distinct queries, which come in the order of their rank, into training and holdout."""

    modalities: Modalities
    holdout_fraction: float
    distinct: int = 0
    texts: int = 0
    conflicts: int = 0
    noise: LabelNoise = field(default_factory=LabelNoise)
    _sizes: Counter[str] = field(default_factory=Counter)
    _strata: dict[str, list[Chosen]] = field(default_factory=dict)
    _held_out: list[tuple[bytes, Chosen]] = field(default_factory=list)

    def add(self, rank: bytes, sightings: list[Sighting], step: float | None) -> None:
        """Take in one query with all its rows; labels are told to lie on a grid of this step."""
        self.distinct += 1
        if len(sightings) == 1:
            self.texts += 1
            chosen = Chosen(rank, sightings[0].place, sightings[0].label, True)
        else:
            labels = Counter(map(_label, sightings))
            labels.pop(None, None)
            self.texts += len(set(map(_text, sightings)))
            self.conflicts += len(labels) > 1
            self.noise.add(labels)
            chosen = _choose(rank, sightings, consensus(labels, step))
        second_rank = holdout_rank(rank)
        if _is_held_out(second_rank, self.holdout_fraction):
            self._held_out.append((second_rank, chosen))
            if len(self._held_out) > 2 * MAX_HOLDOUT_ROWS:
                self._held_out = heapq.nsmallest(MAX_HOLDOUT_ROWS, self._held_out, key=_first)
            return
        name = stratum(chosen.label, self.modalities)
        self._sizes[name] += 1
        kept = self._strata.setdefault(name, [])
        if len(kept) < MAX_TRAINING_ROWS:  # lower ranks came first: no later one can be kept
            kept.append(chosen)

    def training(self) -> list[Chosen]:
        """Return at most 15,000 rows, each dominant modality in proportion, by hash rank."""
        quotas = _quotas(self._sizes)
        kept = [chosen for name, rows in self._strata.items() for chosen in rows[: quotas[name]]]
        return sorted(kept, key=lambda chosen: chosen.rank)

    def holdout(self) -> list[Chosen]:
        """Return at most 1,000 rows, those first in the holdout's own order."""
        kept = heapq.nsmallest(MAX_HOLDOUT_ROWS, self._held_out, key=_first)
        return sorted((chosen for _, chosen in kept), key=lambda chosen: chosen.rank)


def in_holdout(rank: bytes, fraction: float) -> bool:
    """Decide by the query's fingerprint alone on which side a query lies, for ever."""
    return _is_held_out(holdout_rank(rank), fraction)


def holdout_rank(rank: bytes) -> bytes:
    """Hash a fingerprint once more, so that the holdout is no slice of the training order."""
    return hashlib.sha256(b"holdout" + rank).digest()


@lru_cache(maxsize=4096)
def stratum(weights: Weights | None, modalities: Modalities) -> str:
    """Name the group that a row is sampled and balanced in."""
    return UNLABELLED if weights is None else dominant(weights, modalities)


def _choose(rank: bytes, sightings: list[Sighting], label: Weights | None) -> Chosen:
    """Choose the row whose text stands for the query: by content, never by place or order.

    A row with the agreed label comes first, so that its reasoning can be kept; of several, the
    first by the hashes of text and content, in whose order they come.
    """
    best = next((seen for seen in sightings if seen.label == label), sightings[0])
    return Chosen(rank, best.place, label, best.label == label)


def _is_held_out(second_rank: bytes, fraction: float) -> bool:
    return int.from_bytes(second_rank[:8], "big") < fraction * _HASH_RANGE


def _first(pair: tuple[bytes, Chosen]) -> bytes:
    return pair[0]


def _quotas(sizes: Mapping[str, int]) -> dict[str, int]:
    """Share 15,000 rows among groups by largest remainders; ties go to the first name."""
    total = sum(sizes.values())
    if total <= MAX_TRAINING_ROWS:
        return dict(sizes)
    exact = {name: size * MAX_TRAINING_ROWS / total for name, size in sizes.items()}
    quotas = {name: math.floor(share) for name, share in exact.items()}
    spare = MAX_TRAINING_ROWS - sum(quotas.values())
    for name in sorted(exact, key=lambda name: (quotas[name] - exact[name], name))[:spare]:
        quotas[name] += 1
    return quotas

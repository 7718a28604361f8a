"""Splits distinct queries into training set and holdout, and chooses a row and label for each.

Every choice is a pure function of the set of rows: the side depends on a hash of the query's
fingerprint, sampling ranks by the fingerprint, and a query's row is chosen by its content.
Uploading a query twice, or in another file, therefore never moves it to the other side.
"""

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import NamedTuple

from search_router.domain.intake.noise import LabelNoise, pairwise_difference
from search_router.domain.intake.survey import Sighting
from search_router.domain.weights import Modalities, Weights, consensus, dominant

MAX_TRAINING_ROWS = 15_000  # Bedrock quota: prompts per distillation job
MAX_HOLDOUT_ROWS = 1_000  # prompts per Bedrock evaluation job
UNLABELLED = "unlabelled"
_HASH_RANGE = 2**64
_SHOWN = 20
_text, _label = attrgetter("text"), attrgetter("label")


class Chosen(NamedTuple):
    """The row chosen for a distinct query, with the label that the query gets.

    The row's reasoning is kept only if the label is the row's own.
    """

    rank: bytes
    position: int
    label: Weights | None
    keeps_reasoning: bool


@dataclass(slots=True)
class Sides:
    """Collects training set and holdout from distinct queries, added in the order of their rank."""

    modalities: Modalities
    holdout_fraction: float
    distinct: int = 0
    texts: int = 0
    conflicts: int = 0
    noise: LabelNoise = field(default_factory=LabelNoise)
    _sizes: Counter[str] = field(default_factory=Counter)
    _strata: dict[str, list[Chosen]] = field(default_factory=dict)
    _most_contradicted: list[tuple[float, int, Counter[Weights]]] = field(default_factory=list)
    _held_out: list[tuple[bytes, Chosen]] = field(default_factory=list)

    def add(self, rank: bytes, sightings: list[Sighting], step: float | None) -> None:
        """Add a query with all its rows; `step` is the grid of all labels of the dataset."""
        self.distinct += 1
        if len(sightings) == 1:
            self.texts += 1
            self.noise.sizes[1] += sightings[0].label is not None
            chosen = Chosen(rank, sightings[0].position, sightings[0].label, True)
        else:
            labels = Counter(map(_label, sightings))
            labels.pop(None, None)
            self.texts += len(set(map(_text, sightings)))
            self.noise.add(labels)
            chosen = _choose(rank, sightings, consensus(labels, step))
            if len(labels) > 1:
                self.conflicts += 1
                self._contradict(chosen.position, labels)
        second_rank = _holdout_rank(rank)
        if int.from_bytes(second_rank[:8], "big") < self.holdout_fraction * _HASH_RANGE:
            self._held_out.append((second_rank, chosen))
            if len(self._held_out) > 2 * MAX_HOLDOUT_ROWS:
                self._held_out = heapq.nsmallest(MAX_HOLDOUT_ROWS, self._held_out, key=_first)
            return
        name = stratum(chosen.label, self.modalities)
        self._sizes[name] += 1
        kept = self._strata.setdefault(name, [])
        if len(kept) < MAX_TRAINING_ROWS:  # the lowest ranks come first
            kept.append(chosen)

    def contradictions(self) -> list[tuple[float, int, Counter[Weights]]]:
        """Return the twenty queries whose labels differ most: difference, position, labels."""
        found = sorted(self._most_contradicted, key=itemgetter(0, 1), reverse=True)
        return [(difference, -position, labels) for difference, position, labels in found]

    def _contradict(self, position: int, labels: Counter[Weights]) -> None:
        count = labels.total()
        difference = pairwise_difference(labels) / (count * (count - 1) / 2)
        entry = (difference, -position, labels)
        keep = heapq.heappush if len(self._most_contradicted) < _SHOWN else heapq.heappushpop
        keep(self._most_contradicted, entry)

    def training(self) -> list[Chosen]:
        """Return at most 15,000 rows, each dominant modality in proportion, by hash rank."""
        quotas = _quotas(self._sizes)
        kept = [chosen for name, rows in self._strata.items() for chosen in rows[: quotas[name]]]
        return sorted(kept, key=lambda chosen: chosen.rank)

    def holdout(self) -> list[Chosen]:
        """Return at most 1,000 rows, those first in the holdout's own order."""
        kept = heapq.nsmallest(MAX_HOLDOUT_ROWS, self._held_out, key=_first)
        return sorted((chosen for _, chosen in kept), key=lambda chosen: chosen.rank)


def _holdout_rank(rank: bytes) -> bytes:
    """Hash a fingerprint again, so that the holdout is independent of the training order."""
    return hashlib.sha256(b"holdout" + rank).digest()


@lru_cache(maxsize=4096)
def stratum(weights: Weights | None, modalities: Modalities) -> str:
    """Return the stratum for sampling: the dominant modality, or `unlabelled`."""
    return UNLABELLED if weights is None else dominant(weights, modalities)


def _choose(rank: bytes, sightings: list[Sighting], label: Weights | None) -> Chosen:
    """Choose the row whose text is used for the query, by content alone.

    Rows with the agreed label come first, so that their reasoning can be kept; ties are broken by
    the hashes of text and content, the order of the sightings.
    """
    best = next((seen for seen in sightings if seen.label == label), sightings[0])
    return Chosen(rank, best.position, label, best.label == label)


def _first(pair: tuple[bytes, Chosen]) -> bytes:
    return pair[0]


def _quotas(sizes: Mapping[str, int]) -> dict[str, int]:
    """Distribute 15,000 rows over the strata by largest remainders; ties go to the first name."""
    total = sum(sizes.values())
    if total <= MAX_TRAINING_ROWS:
        return dict(sizes)
    exact = {name: size * MAX_TRAINING_ROWS / total for name, size in sizes.items()}
    quotas = {name: math.floor(share) for name, share in exact.items()}
    spare = MAX_TRAINING_ROWS - sum(quotas.values())
    for name in sorted(exact, key=lambda name: (quotas[name] - exact[name], name))[:spare]:
        quotas[name] += 1
    return quotas

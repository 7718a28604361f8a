"""One pass over a dataset: what every row says, in 44 bytes a row, whatever the rows hold.

Texts are not kept. A row is its query's fingerprint, hashes of its text and content, its label's
number and its place; rows of one query are brought together by their fingerprints. So a file of any
size is surveyed in bounded memory, and the few rows that are chosen are read again.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, product
from typing import NamedTuple

from search_router.domain.grading import agrees, errors, grade, within
from search_router.domain.prompts import PromptRecord, fingerprint
from search_router.domain.weights import Weights

_BUCKETS = 256
MAX_SCORED_LABELS = 50
_SCORED = ("dominant_agreement", "within_005", "within_010", "rubric")
_UNLABELLED = 0  # number of the label that a row without one has


class Sighting(NamedTuple):
    """One row of a query: hashes of its text and of text and reasoning, its label, its place."""

    text: int
    content: int
    label: Weights | None
    place: int


@dataclass(slots=True)
class _Bucket:
    """The rows whose fingerprints begin with one byte, as parallel arrays."""

    high: "array[int]" = field(default_factory=lambda: array("Q"))
    low: "array[int]" = field(default_factory=lambda: array("Q"))
    text: "array[int]" = field(default_factory=lambda: array("Q"))
    content: "array[int]" = field(default_factory=lambda: array("Q"))
    place: "array[int]" = field(default_factory=lambda: array("Q"))
    label: "array[int]" = field(default_factory=lambda: array("I"))


class Survey:
    """Collects rows, then yields them query by query in the order of the fingerprints."""

    def __init__(self) -> None:
        self._buckets = [_Bucket() for _ in range(_BUCKETS)]
        self._numbers: dict[Weights | None, int] = {None: _UNLABELLED}
        self._labels: list[Weights | None] = [None]
        self.rows = 0
        self.query_bytes = 0
        self.reasoned_rows = 0
        self.reasoning_bytes = 0

    @property
    def labels(self) -> Sequence[Weights]:
        """The different labels seen."""
        return [label for label in self._labels if label is not None]

    def add(self, record: PromptRecord, place: int) -> None:
        """Note one row; `place` finds it again."""
        rank = fingerprint(record.query)
        bucket = self._buckets[rank[0]]
        bucket.high.append(int.from_bytes(rank[:8], "big"))
        bucket.low.append(int.from_bytes(rank[8:], "big"))
        query = record.query.encode("utf-8")
        self.query_bytes += len(query)
        digest = hashlib.blake2b(query, digest_size=8)
        bucket.text.append(int.from_bytes(digest.digest(), "big"))
        if record.reasoning is not None:
            reasoning = record.reasoning.encode("utf-8")
            self.reasoned_rows += 1
            self.reasoning_bytes += len(reasoning)
            digest.update(b"\0" + reasoning)
        bucket.content.append(int.from_bytes(digest.digest(), "big"))
        bucket.place.append(place)
        bucket.label.append(self._number(record.weights))
        self.rows += 1

    def queries(self) -> Iterator[tuple[bytes, list[Sighting]]]:
        """Yield each distinct query with its rows, in the order of the fingerprints."""
        for bucket in self._buckets:
            high, low = bucket.high, bucket.low
            order = sorted(range(len(high)), key=lambda row: (high[row], low[row]))
            for (upper, lower), rows in groupby(order, key=lambda row: (high[row], low[row])):
                rank = upper.to_bytes(8, "big") + lower.to_bytes(8, "big")
                yield rank, [self._sighting(bucket, row) for row in rows]

    def _number(self, label: Weights | None) -> int:
        number = self._numbers.get(label)
        if number is None:
            number = self._numbers[label] = len(self._labels)
            self._labels.append(label)
        return number

    def _sighting(self, bucket: _Bucket, row: int) -> Sighting:
        label = self._labels[bucket.label[row]]
        return Sighting(bucket.text[row], bucket.content[row], label, bucket.place[row])


@dataclass(slots=True)
class LabelNoise:
    """How far the teacher agrees with itself: no student can be measured better than this.

    Over all pairs of labels of one query: `mae` is the mean absolute difference per weight,
    `identical` the share of equal pairs. The other figures score one label of a pair as an answer
    to the other. Queries are folded as by their fingerprint; of a query with more than 50 distinct
    labels only 50 are scored, so that the work does not grow with the square of their number.
    """

    repeated_queries: int = 0
    pairs: int = 0
    identical_pairs: int = 0
    _difference: float = 0.0
    _scored: int = 0
    _sums: Counter[str] = field(default_factory=Counter)

    def add(self, labels: Counter[Weights]) -> None:
        """Take in the labels of one query."""
        count = labels.total()
        if count < 2:
            return
        self.repeated_queries += 1
        self.pairs += count * (count - 1) // 2
        self.identical_pairs += sum(n * (n - 1) // 2 for n in labels.values())
        if len(labels) > 1:
            self._difference += _pairwise_difference(labels)
        self._score(Counter(dict(sorted(labels.items())[:MAX_SCORED_LABELS])))

    def summary(self) -> dict[str, float]:
        """Return the figures for the manifest."""
        return {
            "repeated_queries": self.repeated_queries,
            "pairs": self.pairs,
            "identical": self.identical_pairs / self.pairs if self.pairs else 1.0,
            "mae": self._difference / self.pairs if self.pairs else 0.0,
            **{name: self._sums[name] / self._scored for name in _SCORED if self._scored},
        }

    def _score(self, labels: Counter[Weights]) -> None:
        """Score each ordered pair, weighted by how often it occurs."""
        for answer, reference in product(labels, labels):
            times = labels[answer] * (labels[reference] - (answer == reference))
            off = errors(answer, reference)
            self._scored += times
            self._sums["dominant_agreement"] += times * agrees(answer, reference)
            self._sums["within_005"] += times * within(off, 0.05)
            self._sums["within_010"] += times * within(off, 0.10)
            self._sums["rubric"] += times * grade(answer, reference)


def _pairwise_difference(labels: Counter[Weights]) -> float:
    """Sum the mean absolute differences of all pairs, by sorting instead of pairing."""
    total = 0.0
    columns = list(zip(*labels.elements(), strict=True))
    for column in columns:
        last = len(column) - 1
        total += sum((2 * i - last) * value for i, value in enumerate(sorted(column)))
    return total / len(columns)

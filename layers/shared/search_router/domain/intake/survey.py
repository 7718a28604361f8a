"""Surveys a dataset in one pass, in 40 bytes per row and without keeping text.

A row is stored as its query's fingerprint, hashes of its text and content, its label's number and
its position. Rows are grouped by fingerprint. Only the chosen rows are read again.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, product
from operator import itemgetter
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from search_router.domain.grading import agrees, errors, grade, within
from search_router.domain.queries import fingerprint
from search_router.domain.weights import Weights, grid_step

_BUCKETS = 256
MAX_SCORED_LABELS = 50
_SCORED = ("dominant_agreement", "within_005", "within_010", "rubric")
_IDENTITY = Struct(">16sI8s")  # big-endian: sorted as bytes, rows are sorted by their fields
_REST = Struct(">IQ")
_ROW = Struct(">16sI8sIQ")
_SHORT_QUERY = 200
_UNLABELLED = 0  # number of the label that a row without one has
_MAX_NUMBERED = 2**16
_rank = itemgetter(slice(0, 16))


class Sighting(NamedTuple):
    """One row of a query: hashes of its text and of its text with reasoning, label, position.

    The rows of a query are in the order of the two hashes.
    """

    text: int
    content: bytes
    label: Weights | None
    position: int


class Survey:
    """Collects rows, then yields them grouped by query."""

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(_BUCKETS)]
        self._labels = LabelTable()
        self.rows = 0
        self.query_bytes = 0

    @property
    def grid_step(self) -> float | None:
        """The coarsest grid (0.1, 0.05, 0.01) that all labels lie on, or None."""
        return grid_step(self._labels)

    def add(self, query: str, label: Weights | None, reasoning: str | None, position: int) -> None:
        """Add one row."""
        if reasoning is not None:
            identity = _identity(query, reasoning)
        elif len(query) <= _SHORT_QUERY:
            identity = _cached_identity(query)
        else:
            identity = _identity(query)
        self._buckets[identity[0]] += identity + _REST.pack(self._labels.number(label), position)
        self.query_bytes += len(query) if query.isascii() else len(query.encode("utf-8"))
        self.rows += 1

    def queries(self) -> Iterator[tuple[bytes, list[Sighting]]]:
        """Yield each distinct query with its rows, in the order of the fingerprints."""
        for bucket in self._buckets:
            view = bytes(bucket)
            rows = sorted(view[at : at + _ROW.size] for at in range(0, len(view), _ROW.size))
            for rank, group in groupby(rows, key=_rank):
                yield rank, [self._sighting(row) for row in group]

    def _sighting(self, row: bytes) -> Sighting:
        _, text, content, number, position = _ROW.unpack(row)
        return Sighting(text, content, self._labels.label(number), position)


def _identity(query: str, reasoning: str | None = None) -> bytes:
    """Return fingerprint, hash of the text and hash of the content, packed for sorting."""
    text = query.encode("utf-8")
    content = text if reasoning is None else b"%b\0%b" % (text, reasoning.encode("utf-8"))
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return _IDENTITY.pack(fingerprint(query), crc32(text), digest)


_cached_identity = lru_cache(maxsize=2**15)(_identity)  # half the queries of public files repeat


class LabelTable:
    """Numbers labels, because a teacher uses few distinct ones.

    The first 65,536 distinct labels are stored once. Later ones are stored as they come, in 8 bytes
    per weight.
    """

    def __init__(self) -> None:
        self._numbers: dict[Weights, int] = {}
        self._labels: list[Weights | None] = [None]
        self._others: array[float] = array("d")
        self._width = 1

    def __iter__(self) -> Iterator[Weights]:
        """Yield every label at least once."""
        yield from (label for label in self._labels if label is not None)
        for start in range(0, len(self._others), self._width):
            yield tuple(self._others[start : start + self._width])

    def number(self, label: Weights | None) -> int:
        """Return a label's number."""
        if label is None:
            return _UNLABELLED
        number = self._numbers.get(label)
        return self._new_number(label) if number is None else number

    def label(self, number: int) -> Weights | None:
        """Return the label of a number."""
        if number < _MAX_NUMBERED:
            return self._labels[number]
        start = (number - _MAX_NUMBERED) * self._width
        return tuple(self._others[start : start + self._width])

    def _new_number(self, label: Weights) -> int:
        if len(self._labels) < _MAX_NUMBERED:
            number = self._numbers[label] = len(self._labels)
            self._labels.append(label)
            return number
        self._width = len(label)
        self._others.extend(label)
        return _MAX_NUMBERED + len(self._others) // self._width - 1


@dataclass(slots=True)
class LabelNoise:
    """Agreement of the teacher with itself, an upper bound of what a student can be measured at.

    Over all pairs of labels of one query: `mae` is the mean absolute difference per weight,
    `identical` the share of equal pairs. The other figures score one label of a pair as an answer
    to the other. At most 50 distinct labels per query are scored, which bounds the work.
    """

    repeated_queries: int = 0
    pairs: int = 0
    identical_pairs: int = 0
    _difference: float = 0.0
    _scored: int = 0
    _sums: list[float] = field(default_factory=lambda: [0.0] * len(_SCORED))

    def add(self, labels: Counter[Weights]) -> None:
        """Add the labels of one query."""
        count = labels.total()
        if count < 2:
            return
        self.repeated_queries += 1
        self.pairs += count * (count - 1) // 2
        self.identical_pairs += sum(n * (n - 1) // 2 for n in labels.values())
        if len(labels) > 1:
            self._difference += _pairwise_difference(labels)
        if len(labels) > MAX_SCORED_LABELS:
            labels = Counter(dict(sorted(labels.items())[:MAX_SCORED_LABELS]))
        self._score(labels)

    def summary(self) -> dict[str, float | None]:
        """Return the figures for the manifest; None for those that no pair of labels gives."""
        return {
            "repeated_queries": self.repeated_queries,
            "pairs": self.pairs,
            "identical": self.identical_pairs / self.pairs if self.pairs else None,
            "mae": self._difference / self.pairs if self.pairs else None,
            **{
                name: total / self._scored
                for name, total in zip(_SCORED, self._sums, strict=True)
                if self._scored
            },
        }

    def _score(self, labels: Counter[Weights]) -> None:
        """Score each ordered pair, weighted by how often it occurs."""
        for answer, reference in product(labels, labels):
            times = labels[answer] * (labels[reference] - (answer == reference))
            if times:
                self._scored += times
                for index, score in enumerate(_scores(answer, reference)):
                    self._sums[index] += times * score


@lru_cache(maxsize=65_536)
def _scores(answer: Weights, reference: Weights) -> tuple[float, ...]:
    """Score one label as an answer to another, in the order of `_SCORED`."""
    off = errors(answer, reference)
    return (
        agrees(answer, reference),
        within(off, 0.05),
        within(off, 0.10),
        grade(answer, reference),
    )


def _pairwise_difference(labels: Counter[Weights]) -> float:
    """Sum the mean absolute differences of all pairs in n log n, by sorting."""
    total = 0.0
    width = len(next(iter(labels)))
    last = labels.total() - 1
    for column in range(width):
        before = 0
        for value, count in sorted((label[column], count) for label, count in labels.items()):
            # The value at rank r is added r times and subtracted last - r times; equal values have
            # the ranks before … before + count - 1.
            total += value * count * (2 * before + count - 1 - last)
            before += count
    return total / width

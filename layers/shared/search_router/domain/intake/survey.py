"""Surveys a dataset in one pass, in 40 bytes per row and without keeping text.

A row is stored as its query's fingerprint, hashes of its text and content, its label's number and
its position. Rows are grouped by fingerprint. Only the chosen rows are read again.
"""

import hashlib
from array import array
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from search_router.domain.queries import fingerprint
from search_router.domain.weights import Weights, grid_step

_BUCKETS = 256
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

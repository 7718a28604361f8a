"""Seeded choices that are the same on every Python version.

They use only `random.Random.random()` with an integer seed, the one method whose sequence the
standard library guarantees.
"""

import hashlib
import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")


class Draw:
    """A stream of choices, independent of every other stream name under the same seed."""

    def __init__(self, seed: int, stream: str) -> None:
        digest = hashlib.sha256(f"{stream}:{seed}".encode()).digest()
        self._random = random.Random(int.from_bytes(digest[:8]))  # noqa: S311 - guards no secret

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return self._random.random()

    def chance(self, share: float) -> bool:
        """Return True for about this share of the calls."""
        return self.fraction() < share

    def index(self, size: int) -> int:
        """Return an integer from 0 to size - 1."""
        return int(self.fraction() * size)

    def pick(self, items: Sequence[T]) -> T:
        """Return one of the items, all equally likely."""
        return items[self.index(len(items))]

    def shuffled(self, items: Iterable[T]) -> list[T]:
        """Return the items in a new order (Fisher-Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.index(last + 1)
            order[last], order[other] = order[other], order[last]
        return order


class Rotation(Generic[T]):
    """Returns every item once per round, each round in a new order, so that counts stay even."""

    def __init__(self, items: Iterable[T], draw: Draw) -> None:
        self._items = tuple(items)
        self._draw = draw
        self._round: list[T] = []

    def deal(self) -> T:
        """Return the next item of the current round."""
        if not self._round:
            self._round = self._draw.shuffled(self._items)
        return self._round.pop()


def zipf_positions(draw: Draw, count: int, distinct: int) -> Iterator[int]:
    """Yield `count` positions below `distinct`: position k about 1/(k+1) as often as position 0.

    Every position occurs (count must be at least distinct): at each step the chance of a position
    not yet forced is what is left to force over what is left to yield. Memory grows with
    `distinct` only. The exponent is 1 because 1/k is exact in every floating point library.
    """
    bounds = list(accumulate(1 / rank for rank in range(1, distinct + 1)))
    forced = draw.shuffled(range(distinct))
    for left in range(count, 0, -1):
        if draw.index(left) < len(forced):
            yield forced.pop()
        else:
            yield bisect_right(bounds, draw.fraction() * bounds[-1], hi=distinct - 1)

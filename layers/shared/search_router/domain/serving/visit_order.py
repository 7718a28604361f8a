"""The order in which a worker looks up and asks the queries of its split.

Workers do not lock or message each other; they share only the cache. All of them sort the queries
by hash into the same ring and start at positions spread by the golden ratio, so two splits with the
same head queries begin far apart. A worker that finds at least half of a chunk cached has reached
queries that another worker answered, and continues at the other end of what it has left. The two
then approach each other instead of asking the same queries side by side.

Figures: docs/decisions.md, 18.
"""

from collections import deque
from collections.abc import Collection

from search_router.domain.queries import query_digest

MAX_CHUNK = 100  # queries per look-up while at least half of them are cached
MAX_STEP = 25  # queries per look-up otherwise
_MIN_STEP = 5
_STEPS = 40  # a small split takes smaller steps, so that two workers notice each other in time
_GOLDEN_RATIO = 0.618


class VisitOrder:
    """Chunks of normalised queries, starting where `start` (the split's number) puts this worker.

    `step` is the size of a chunk while fewer than half of the queries are cached.
    """

    def __init__(self, queries: Collection[str], start: int = 0) -> None:
        self.step = min(MAX_STEP, max(_MIN_STEP, len(queries) // _STEPS))
        self._left = deque(sorted(queries, key=query_digest))
        self._left.rotate(-int(start * _GOLDEN_RATIO % 1 * len(queries)))
        self._size = self.step
        self._forward = True

    def next_chunk(self) -> list[str]:
        """Return the next queries to look up; empty when all were returned."""
        take = self._left.popleft if self._forward else self._left.pop
        return [take() for _ in range(min(self._size, len(self._left)))]

    def record_cached(self, cached: int, chunk: int) -> None:
        """Choose the next chunk's size and direction by how many of this one were cached."""
        if 2 * cached >= chunk:
            self._forward = not self._forward
            self._size = min(MAX_CHUNK, 2 * self._size)
        else:
            self._size = self.step

"""Pauses between attempts: exponential with full jitter.

Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
"""

import random
from collections.abc import Callable, Iterator

_FIRST_SECONDS = 0.05
_MAX_SECONDS = 1.0


def jittered(attempt: int, first: float, most: float) -> float:
    """Return the seconds to wait before attempt number `attempt`, counted from 0."""
    return random.uniform(0, min(most, first * 2**attempt))  # noqa: S311 - spreads, guards nothing


def rounds(count: int, sleep: Callable[[float], None]) -> Iterator[int]:
    """Yield 0, 1, … below `count`, pausing before each but the first."""
    for attempt in range(count):
        if attempt:
            sleep(jittered(attempt, _FIRST_SECONDS, _MAX_SECONDS))
        yield attempt

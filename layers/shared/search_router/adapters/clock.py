"""The system clock, and the pauses between attempts.

Pauses are exponential with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter").
"""

import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

_FIRST_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 1.0


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def jittered(attempt: int, first: float, most: float) -> float:
    """Return the seconds to wait before attempt number `attempt`, counted from 0."""
    return random.uniform(0, min(most, first * 2**attempt))  # noqa: S311 - not for security


def rounds(count: int, sleep: Callable[[float], None]) -> Iterator[int]:
    """Yield 0, 1, … below `count`, pausing before each but the first."""
    for attempt in range(count):
        if attempt:
            sleep(jittered(attempt, _FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS))
        yield attempt

"""Time and chance, both repeatable: a clock that tests advance, and seeded draws."""

import hashlib
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_VIRTUAL_START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Clock(Protocol):
    """The time source of the fake."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for the duration of a simulated call."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        time.sleep(seconds)


class VirtualClock:
    """A clock that moves only when a test advances it."""

    def __init__(self, start: datetime = _VIRTUAL_START) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the time this clock was last advanced to."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move time forward."""
        with self._lock:
            self._now += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """Return at once, because only the waiting test could advance the clock."""


def draw(seed: int, *subject: str) -> float:
    """Return a number in (0, 1) that depends on the seed and subject only, not on call order."""
    text = "\x1f".join((str(seed), *subject)).encode(errors="surrogatepass")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
    return (number + 0.5) / 2**64

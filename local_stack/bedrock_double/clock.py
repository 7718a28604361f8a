"""The only source of time: the machine's clock, or one that tests advance."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_VIRTUAL_START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Clock(Protocol):
    """What the double needs of time."""

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let simulated work take its time."""
        ...


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        time.sleep(seconds)


class VirtualClock:
    """Time that stands still until a test advances it, so that hours of training take no time."""

    def __init__(self, start: datetime = _VIRTUAL_START) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the instant this clock was last advanced to."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move time forward for everybody who reads this clock."""
        with self._lock:
            self._now += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """Return at once: a sleeping answer must not wait for a test that waits for it."""

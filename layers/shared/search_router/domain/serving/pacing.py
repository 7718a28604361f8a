"""How fast one worker may ask the model: a continuous token bucket that yields to throttling.

The account's requests per minute are divided statically over the workers. Each lowers its own rate
by a quarter when throttled, at most once a second, and recovers a twentieth of its share per calm
second: additive increase, multiplicative decrease (Chiu and Jain, 1989).

Between two splits a worker asks nothing for a while: the last answers come in, the part is written,
the next rows are read. It makes up for that afterwards, as the quota is one of a minute; how fast,
its calls in flight limit.

A batch worker starts its calls in bursts, as many as are due within a quarter of a second: those
that follow each other at once find code and data in the processor's caches (decision 67).
"""

import math
import threading
from dataclasses import dataclass, field

_BACKOFF = 0.75
_RECOVERY_SHARE = 0.05
_MIN_SHARE = 0.05
SAVED_SECONDS = 5.0  # of unused share that may be made up for
BATCH_BURST_SECONDS = 0.25


@dataclass(slots=True)
class Pace:
    """Hands out the times at which requests may start; times are monotonic seconds.

    What is due within the next `burst_seconds` starts together, at their end.
    """

    per_second: float
    burst_seconds: float = 0.0
    _rate: float = field(init=False)
    _next: float | None = field(init=False, default=None)  # nothing is saved before the first
    _lowered: float = field(init=False, default=float("-inf"))
    _calm_since: float = field(init=False, default=float("-inf"))
    _refusals: int = field(init=False, default=0)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self._rate = self.per_second

    @property
    def rate(self) -> float:
        """Requests per second at the moment."""
        return self._rate

    def reserve(self, now: float) -> float:
        """Take the next slot and return the seconds to wait for it."""
        with self._lock:
            self._recover(now)
            start = now if self._next is None else max(self._next, now - SAVED_SECONDS)
            self._next = start + 1 / self._rate
            return max(0.0, self._burst(start) - now) if start > now else 0.0

    def throttled(self, now: float) -> None:
        """Lower the rate; many refusals within a second count as one."""
        with self._lock:
            self._refusals += 1
            self._calm_since = now
            if now - self._lowered >= 1.0:
                self._rate = max(self._rate * _BACKOFF, self.per_second * _MIN_SHARE)
                self._lowered = now
                self._next = now if self._next is None else max(self._next, now)

    def pop_throttle_count(self) -> int:
        """Return how often it was throttled since this was last asked."""
        with self._lock:
            refusals, self._refusals = self._refusals, 0
            return refusals

    def _burst(self, start: float) -> float:
        if not self.burst_seconds:
            return start
        return math.ceil(round(start / self.burst_seconds, 6)) * self.burst_seconds

    def _recover(self, now: float) -> None:
        calm = now - self._calm_since
        if self._rate < self.per_second and calm >= 1.0:
            gain = self.per_second * _RECOVERY_SHARE * calm
            self._rate = min(self.per_second, self._rate + gain)
            self._calm_since = now


# How long one call may take, and what must be left of a run after the last one was started.
CONNECT_SECONDS = 3.0
BATCH_READ_SECONDS = 15.0
API_READ_SECONDS = 4.0
CLOSING_SECONDS = 40.0
API_ANSWER_SECONDS = 8.0
# The seed's 833 ms mean, with the wait for a burst and room to make up for pauses.
EXPECTED_LATENCY_SECONDS = 1.3
MAX_IN_FLIGHT = 64


def worker_rate(requests_per_minute: int, share: float, workers: int) -> float:
    """Divide the account's quota: requests per second that one of `workers` may start."""
    return requests_per_minute * share / workers / 60

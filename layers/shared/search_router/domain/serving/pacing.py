"""Pace the calls of one worker: a continuous token bucket that slows down when throttled.

The account's requests per minute are divided statically over the workers. A worker lowers its rate
by a quarter when throttled, at most once a second, and recovers a twentieth of its share per second
without throttling: additive increase, multiplicative decrease (Chiu and Jain, 1989).

Between two splits a worker asks nothing: it waits for the last answers, writes the part and reads
the next rows. It may catch up on a few seconds of that, as the quota is per minute.

A batch worker starts all calls that are due within a quarter of a second together, which costs less
CPU than starting them one by one (docs/decisions.md, 29).
"""

import math
import threading
from dataclasses import dataclass, field

_BACKOFF = 0.75
_RECOVERY_SHARE = 0.05
_MIN_SHARE = 0.05
SAVED_SECONDS = 5.0  # of unused share that a worker may catch up on
BATCH_BURST_SECONDS = 0.25


@dataclass(slots=True)
class Pace:
    """Reserves start times for requests; all times are monotonic seconds.

    Requests that are due within the same `burst_seconds` start together, at the end of these.
    """

    per_second: float
    burst_seconds: float = 0.0
    _rate: float = field(init=False)
    _next: float | None = field(init=False, default=None)  # no request yet, so no unused share
    _lowered: float = field(init=False, default=float("-inf"))
    _calm_since: float = field(init=False, default=float("-inf"))
    _throttles: int = field(init=False, default=0)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self._rate = self.per_second

    @property
    def rate(self) -> float:
        """The current rate in requests per second."""
        return self._rate

    def reserve(self, now: float) -> float:
        """Reserve the next start time and return the seconds until then."""
        with self._lock:
            self._recover(now)
            start = now if self._next is None else max(self._next, now - SAVED_SECONDS)
            self._next = start + 1 / self._rate
            return max(0.0, self._burst(start) - now) if start > now else 0.0

    def throttled(self, now: float) -> None:
        """Lower the rate, at most once a second."""
        with self._lock:
            self._throttles += 1
            self._calm_since = now
            if now - self._lowered >= 1.0:
                self._rate = max(self._rate * _BACKOFF, self.per_second * _MIN_SHARE)
                self._lowered = now
                self._next = now if self._next is None else max(self._next, now)

    def pop_throttle_count(self) -> int:
        """Return the number of throttled requests since the last call."""
        with self._lock:
            throttles, self._throttles = self._throttles, 0
            return throttles

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


# Timeouts of one call, and the time reserved for closing a run after its last call.
CONNECT_SECONDS = 3.0
BATCH_READ_SECONDS = 15.0
API_READ_SECONDS = 4.0
CLOSING_SECONDS = 40.0
API_ANSWER_SECONDS = 8.0
# The reference post's mean of 833 ms, plus the wait for a burst and a margin for catching up.
EXPECTED_LATENCY_SECONDS = 1.3
MAX_IN_FLIGHT = 64


def worker_rate(requests_per_minute: int, share: float, workers: int) -> float:
    """Return one worker's share of the account's quota, in requests per second."""
    return requests_per_minute * share / workers / 60

"""What a shared endpoint does to calls: a quota of requests per minute, and latency."""

import math
import threading
from datetime import datetime
from statistics import NormalDist

from local_stack.bedrock_double.chance import draw
from local_stack.bedrock_double.clock import Clock
from local_stack.bedrock_double.errors import BedrockError
from local_stack.bedrock_double.settings import DoubleSettings, LiveSettings

_SECONDS_PER_MINUTE = 60.0
_SPREAD = 0.3  # sigma of the logarithm: the slowest 1 % take about twice the mean
_NORMAL = NormalDist()


class RequestQuota:
    """A continuous token bucket per model that holds at most one second's worth of requests."""

    def __init__(self, clock: Clock, settings: LiveSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._buckets: dict[str, tuple[float, datetime]] = {}
        self._lock = threading.Lock()

    def admit(self, model: str) -> None:
        """Take one request of the model's quota; `BedrockError` (ThrottlingException) if none."""
        per_second = self._settings.current.requests_per_minute / _SECONDS_PER_MINUTE
        if not per_second:
            return
        with self._lock:
            available = self._available(model, per_second)
            admitted = available >= 1.0
            self._buckets[model] = (available - admitted, self._clock.now())
        if not admitted:
            raise BedrockError(
                "ThrottlingException", "Too many requests, please wait before trying again."
            )

    def _available(self, model: str, per_second: float) -> float:
        capacity = max(1.0, per_second)
        left, since = self._buckets.get(model, (capacity, self._clock.now()))
        waited = max(0.0, (self._clock.now() - since).total_seconds())
        return min(capacity, left + waited * per_second)


def latency_ms(settings: DoubleSettings, query: str) -> float:
    """Return the simulated latency of a query: lognormal around the mean, 0 without one."""
    if not settings.mean_latency_ms:
        return 0.0
    deviation = _NORMAL.inv_cdf(draw(settings.seed, "latency", query))
    location = math.log(settings.mean_latency_ms) - _SPREAD**2 / 2
    return math.exp(location + _SPREAD * deviation)

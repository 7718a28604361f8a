"""CPU time, measured so that a busy machine slows both sides of a comparison alike.

Ways are measured in turn (A B A B ...), and a figure is the median of the rounds' ratios: each
ratio is of two neighbouring moments. Absolute times are the least of all rounds and are only shown.
"""

import gc
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of all threads and peak resident bytes since the process started."""

    cpu_seconds: float = 0.0
    peak_bytes: int = 0


def current_usage() -> Usage:
    """Return what this process has used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(used.ru_utime + used.ru_stime, _peak_bytes(used.ru_maxrss))


def _peak_bytes(maxrss: int) -> int:
    """Return the peak of resident memory; on Linux `ru_maxrss` includes the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return maxrss if sys.platform == "darwin" else maxrss * 1024


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the work, without garbage collection, as `timeit` does."""
    gc.disable()
    try:
        started = time.process_time()
        work()
        return time.process_time() - started
    finally:
        gc.enable()


def interleaved(
    ways: Mapping[str, Callable[[], float]], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Measure every way once per round, in turn; return each way's figures by round."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            figures[name].append(measure())
    return figures


def ratio(figures: Sequence[float], others: Sequence[float]) -> float:
    """Return the median over rounds of one way's figure divided by the other's."""
    return median(one / other for one, other in zip(figures, others, strict=True))


def slope(figures: Mapping[float, Sequence[float]]) -> float:
    """Return the exponent by which a figure grows with the size: 0 constant, 1 linear.

    The least-squares slope of log(figure) on log(size), the median over rounds.
    """
    logs = [math.log(size) for size in figures]
    mean = math.fsum(logs) / len(logs)
    spread = math.fsum((log - mean) ** 2 for log in logs)
    rounds = zip(*figures.values(), strict=True)
    return median(
        math.fsum((x - mean) * math.log(y) for x, y in zip(logs, ys, strict=True)) / spread
        for ys in rounds
    )


def doubled(work: Callable[P, T]) -> Callable[P, T]:
    """Return the same work at twice its CPU time: the slowdown that `--plant` adds."""

    def slow(*args: P.args, **kwargs: P.kwargs) -> T:
        started = time.thread_time()
        result = work(*args, **kwargs)
        until = 2 * time.thread_time() - started
        while time.thread_time() < until:
            pass
        return result

    return slow

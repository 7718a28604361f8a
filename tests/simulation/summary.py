"""Many histories, in several processes, added up."""

import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.conftest import pytest_configure
from tests.simulation.faults import Fault
from tests.simulation.histories import Report, run_history

_CHUNK = 10


@dataclass(slots=True)
class Summary:
    """Sums over histories; `broken` are those that found a violation."""

    histories: int = 0
    rows: int = 0
    calls: int = 0
    invocations: int = 0
    hours: float = 0.0
    slowest: list[float] = field(default_factory=list)
    fired: Counter[Fault] = field(default_factory=Counter)
    broken: list[Report] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, report: Report) -> None:
        self.histories += 1
        self.rows += report.rows
        self.calls += report.calls
        self.invocations += report.invocations
        self.hours += report.hours
        self.slowest.append(report.slowest)
        self.fired += report.fired
        if report.violations:
            self.broken.append(report)

    @property
    def never_fired(self) -> list[Fault]:
        """Return the kinds of trouble that no history met."""
        return [fault for fault in Fault if not self.fired[fault]]


def run_many(seeds: Iterable[int], processes: int) -> Summary:
    """Run a history for each seed."""
    started, summary = time.monotonic(), Summary()
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=pytest_configure
    ) as pool:
        for report in pool.map(run_history, seeds, chunksize=_CHUNK):
            summary.add(report)
    summary.seconds = time.monotonic() - started
    return summary


def told(summary: Summary) -> str:
    """Say it in words: what went wrong, what fired, how a failing history is replayed."""
    lines = [f"{summary.fired[fault]:9,} {fault}" for fault in Fault]
    for report in summary.broken[:10]:
        lines.append(f"seed {report.seed}: {'; '.join(report.violations[:3])}")
        lines.append(f"    replay it: make simulate SEED={report.seed}")
    late = sorted(summary.slowest)
    kinds = len(Fault) - len(summary.never_fired)
    sums = (
        f"{summary.rows:,} rows, {summary.invocations:,} invocations, {summary.calls:,} model calls"
    )
    rest = f"median {late[len(late) // 2]:.1f} h, latest {late[-1]:.1f} h"
    lines += [
        f"{sums}, {summary.hours:,.0f} virtual hours",
        f"{summary.fired.total():,} faults of {kinds} kinds; at rest after the last one: {rest}",
        f"{summary.histories:,} histories in {summary.seconds:.0f} s: {len(summary.broken)} broken",
    ]
    return "\n".join(lines)

"""How the answers of two models differ: for one query, and over the whole log."""

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from router_cli.comparison.answers import AnsweredTwice
from search_router.domain.logs.results import latency_bucket, latency_summary
from search_router.domain.serving.decisions import Decision, Status
from search_router.domain.weights import Modalities, dominant

_BINS = 100  # a largest change is counted to a hundredth
_MILLION = 1_000_000
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Difference:
    """The two answers to one query; `largest_change` is that of the weight of `modality`."""

    query: str
    rows: int
    dominant: tuple[str, str]
    largest_change: float
    modality: str
    base: dict[str, float]
    against: dict[str, float]
    status: tuple[str, str]

    @property
    def dominant_changed(self) -> bool:
        """Whether the dominant modality differs."""
        return self.dominant[0] != self.dominant[1]


def difference(pair: AnsweredTwice, modalities: Modalities) -> Difference:
    """Compare two answers; the first of equally large changes counts as the largest."""
    base, against = pair.base.weights, pair.against.weights
    changes = [round(abs(b - a), 6) for a, b in zip(base, against, strict=True)]
    largest = max(changes)
    return Difference(
        query=pair.query,
        rows=pair.rows,
        dominant=(dominant(base, modalities), dominant(against, modalities)),
        largest_change=largest,
        modality=modalities[changes.index(largest)],
        base=dict(zip(modalities, base, strict=True)),
        against=dict(zip(modalities, against, strict=True)),
        status=(pair.base.status.value, pair.against.status.value),
    )


@dataclass(slots=True)
class Side:
    """Calls, tokens, cost and latency of the answers of one model; a cost may be unknown."""

    is_priced: bool = True
    fallback: int = 0
    answers: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    latency: Counter[int] = field(default_factory=Counter)
    milliseconds: int = 0

    def add(self, decision: Decision) -> None:
        """Count one answer."""
        self.answers += 1
        self.fallback += decision.status is Status.FALLBACK
        if decision.latency_ms:
            self.calls += 1
            self.input_tokens += decision.input_tokens
            self.output_tokens += decision.output_tokens
            self.cost_usd += decision.cost_usd
            self.milliseconds += decision.latency_ms
            self.latency[latency_bucket(decision.latency_ms)] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the figures; answers from a cache have no calls."""
        return {
            "answers": self.answers,
            "fallback": self.fallback,
            "model_calls": self.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": round(self.cost_usd, 8) if self.is_priced else None,
            "cost_usd_per_million_calls": (
                round(self.cost_usd / self.calls * _MILLION, 4)
                if self.calls and self.is_priced
                else None
            ),
            "latency_ms": latency_summary(self.latency, self.milliseconds),
        }


@dataclass(slots=True)
class Differences:
    """Sums over all queries, and the `most` queries that moved furthest.

    A query has moved if its dominant modality differs or a weight changed by at least `moved_by`. A
    query to which one model gave no usable answer is not compared.
    """

    modalities: Modalities
    moved_by: float
    most: int
    base: Side = field(default_factory=Side)
    against: Side = field(default_factory=Side)
    queries: int = 0
    rows: int = 0
    compared: int = 0
    compared_rows: int = 0
    moved: int = 0
    moved_rows: int = 0
    turns: Counter[str] = field(default_factory=Counter)
    turned_rows: int = 0
    _sums: dict[str, list[float]] = field(default_factory=dict)
    _largest: list[int] = field(default_factory=lambda: [0] * (_BINS + 1))
    _furthest: list[tuple[tuple[float, int], int, Difference]] = field(default_factory=list)

    def add(self, pair: AnsweredTwice) -> Difference | None:
        """Count one query; return its difference if it moved."""
        self.base.add(pair.base)
        self.against.add(pair.against)
        self.queries += 1
        self.rows += pair.rows
        if Status.FALLBACK in (pair.base.status, pair.against.status):
            return None
        found = difference(pair, self.modalities)
        self._count(found)
        if not found.dominant_changed and found.largest_change < self.moved_by - _ROUNDING:
            return None
        self.moved += 1
        self.moved_rows += found.rows
        entry = ((found.largest_change, found.rows), -self.queries, found)
        if len(self._furthest) < self.most:
            heapq.heappush(self._furthest, entry)
        elif self.most:
            heapq.heappushpop(self._furthest, entry)
        return found

    def furthest(self) -> list[Difference]:
        """Return the queries that moved furthest, in descending order."""
        return [found for _, _, found in sorted(self._furthest, reverse=True)]

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the whole comparison."""
        turned = sum(self.turns.values())
        return {
            "queries": self.queries,
            "rows": self.rows,
            "compared": self.compared,
            "unanswered": self.queries - self.compared,
            "dominant_changed": turned,
            "dominant_changed_share": _share(turned, self.compared),
            "dominant_changed_share_of_rows": _share(self.turned_rows, self.compared_rows),
            "dominant_changes": dict(self.turns.most_common()),
            "moved_by": self.moved_by,
            "moved": self.moved,
            "moved_share_of_rows": _share(self.moved_rows, self.compared_rows),
            "mean_absolute_change": self._mean_absolute_change(),
            "modalities": {
                name: {
                    "mean_change": round(signed / self.compared, 4),
                    "mean_absolute_change": round(absolute / self.compared, 4),
                }
                for name, (signed, absolute) in self._sums.items()
            },
            "largest_change": {
                "p50": self._percentile(0.50),
                "p95": self._percentile(0.95),
                "max": self._percentile(1.0),
            },
        }

    def _count(self, found: Difference) -> None:
        self.compared += 1
        self.compared_rows += found.rows
        if found.dominant_changed:
            self.turns[f"{found.dominant[0]} to {found.dominant[1]}"] += 1
            self.turned_rows += found.rows
        self._largest[min(_BINS, round(found.largest_change * _BINS))] += 1
        for name in self.modalities:
            change = found.against[name] - found.base[name]
            signed, absolute = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = [signed + change, absolute + abs(change)]

    def _mean_absolute_change(self) -> float | None:
        if not self.compared:
            return None
        absolute = math.fsum(values[1] for values in self._sums.values())
        return round(absolute / (self.compared * len(self.modalities)), 4)

    def _percentile(self, share: float) -> float | None:
        """Return the nearest-rank percentile of the largest changes, to a hundredth."""
        seen, rank = 0, max(1, math.ceil(share * self.compared))
        for number, count in enumerate(self._largest):
            seen += count
            if seen >= rank:
                return number / _BINS
        return None


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None

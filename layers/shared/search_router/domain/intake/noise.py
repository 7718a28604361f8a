"""The noise of labels, and what a perfect student would score against them: the noise ceiling.

A perfect student answers each query with the consensus of infinitely many labels. It is scored like
every student: against the consensus of the labels that a query happens to have.

Pairs of labels of one query show the noise. If a label is perfect with probability p, p² of the
pairs are identical, and in a share 2p / (1 + p) of the others only one label is off, by their
difference. Those are taken to be the smaller differences. Where labels rarely agree, differences
are larger than errors, so at least the smaller 60 % are used. The ceiling is then rather too high.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, combinations
from random import Random
from typing import NamedTuple

from search_router.domain.grading import agrees, errors, grade, mean, within
from search_router.domain.intervals import share_interval
from search_router.domain.weights import Weights, consensus, leaders, normalise, snap

MIN_REPEATED = 20  # fewer queries with several labels give no ceiling
_MAX_QUERIES, _MAX_LABELS = 500, 10  # bounds the work
_SMALLER = 0.6
_GROUPS = 20  # of queries; the jackknife leaves out one at a time
_T = 2.093  # the 97.5 % point of Student's t with 19 degrees of freedom
_DRAWS = 2_000
_SEED = 6
_SHARES = ("dominant_agreement", "within_005", "within_010")
_BEST = {"mae": 0.0, **dict.fromkeys(_SHARES, 1.0), "rubric": 5.0}
_SIGNS = (1.0, *[-1.0] * len(_SHARES), -1.0)  # a loss adds to an error, and is taken off a score

Losses = tuple[float, ...]


class _Pair(NamedTuple):
    """Two differing labels: their difference, its size, its losses, its share of its query."""

    size: float
    losses: Losses
    difference: Weights
    share: float
    group: int


@dataclass(slots=True)
class LabelNoise:
    """The labels of queries that have several, and the number of queries by number of labels.

    Labels are `contradictory` if no modality leads in all of them.
    """

    sizes: Counter[int] = field(default_factory=Counter)
    pairs: int = 0
    contradictory: int = 0
    identical_pairs: int = 0
    _difference: float = 0.0
    _sample: list[Counter[Weights]] = field(default_factory=list)

    def add(self, labels: Counter[Weights]) -> None:
        """Add the labels of one query; queries come in the order of a hash."""
        count = labels.total()
        if not count:
            return
        self.sizes[count] += 1
        if count == 1:
            return
        self.pairs += count * (count - 1) // 2
        self.identical_pairs += sum(n * (n - 1) // 2 for n in labels.values())
        if len(labels) > 1:
            self.contradictory += not frozenset.intersection(*map(leaders, labels))
            self._difference += pairwise_difference(labels)
        if len(self._sample) < _MAX_QUERIES:
            self._sample.append(labels)

    def summary(self, step: float | None) -> dict[str, object]:
        """Return the figures for the manifest, None without data; `step` is the labels' grid."""
        return {
            "repeated_queries": self.sizes.total() - self.sizes[1],
            "contradictory": self.contradictory,
            "pairs": self.pairs,
            "identical": self.identical_pairs / self.pairs if self.pairs else None,
            "mean_difference": self._difference / self.pairs if self.pairs else None,
            "ceiling": self._ceiling(step),
        }

    def _ceiling(self, step: float | None) -> dict[str, object] | None:
        """Return a perfect student's scores and their intervals."""
        queries = [_spread(labels) for labels in self._sample]
        if len(queries) < MIN_REPEATED:
            return None
        noise = _Noise.of(queries)
        losses = _expected_losses(noise)
        parts = [_expected_losses(noise.without(group)) for group in range(_GROUPS)]
        ratios = _consensus_ratios(noise, queries, self.sizes, step)
        figures: dict[str, object] = {}
        intervals: dict[str, dict[str, float]] = {}
        for index, (name, best) in enumerate(_BEST.items()):
            spread = _T * _jackknife([part[index] for part in parts])
            loss, sign = losses[index], _SIGNS[index]
            figures[name] = best + sign * ratios[index] * loss
            off = [loss - spread, loss + spread]
            if name in _SHARES:  # a loss too rare for the jackknife: at least Wilson's interval
                wilson = share_interval(loss * len(queries), len(queries))
                off = [min(off[0], wilson.low), max(off[1], wilson.high)]
            ends = [best + sign * ratios[index] * max(0.0, it) for it in off]
            intervals[name] = {"low": max(0.0, min(ends)), "high": max(ends)}
        return {**figures, "intervals": intervals}


@dataclass(frozen=True, slots=True)
class _Noise:
    """The share of identical pairs of every query, and the differing pairs by size."""

    identical: Sequence[float]
    pairs: Sequence[_Pair]

    @classmethod
    def of(cls, queries: Sequence[Sequence[Weights]]) -> "_Noise":
        identical, differing = [], []
        for number, labels in enumerate(queries):
            pairs = list(combinations(labels, 2))
            differ = [(a, b) for a, b in pairs if a != b]
            identical.append(1 - len(differ) / len(pairs))
            share, group = 1 / len(pairs), number % _GROUPS
            differing += [_pair(a, b, share, group) for a, b in differ]
        return cls(identical, sorted(differing))

    @property
    def perfect(self) -> float:
        """The probability that a label is perfect."""
        return math.sqrt(mean(self.identical))

    def without(self, group: int) -> "_Noise":
        """Return the noise of the queries in all other groups."""
        kept = [same for number, same in enumerate(self.identical) if number % _GROUPS != group]
        return _Noise(kept, [pair for pair in self.pairs if pair.group != group])

    def deviations(self) -> Sequence[_Pair]:
        """Return the pairs whose difference is taken as the error of one label."""
        part = max(_SMALLER, 2 * self.perfect / (1 + self.perfect))
        limit = part * math.fsum(pair.share for pair in self.pairs)
        before = accumulate((pair.share for pair in self.pairs), initial=0.0)
        return [pair for pair, seen in zip(self.pairs, before, strict=False) if seen < limit]


def _expected_losses(noise: _Noise) -> Losses:
    """Return a perfect student's losses against single labels."""
    found = noise.deviations()
    total = math.fsum(pair.share for pair in found)
    if not total:
        return (0.0,) * len(_BEST)
    return tuple(
        (1 - noise.perfect) * math.fsum(pair.share * pair.losses[i] for pair in found) / total
        for i in range(len(_BEST))
    )


def _consensus_ratios(
    noise: _Noise,
    queries: Sequence[Sequence[Weights]],
    sizes: Counter[int],
    step: float | None,
) -> Losses:
    """Return the losses against the labels' consensus, as multiples of those against one label.

    Labels are drawn with the same noise, as many for a query as the dataset's queries have.
    """
    draw, found = Random(_SEED), noise.deviations()  # noqa: S311 - not used for security
    shares = list(accumulate(pair.share for pair in found))
    truths = [consensus(Counter(labels), step) or labels[0] for labels in queries]
    counts = draw.choices(list(sizes), list(sizes.values()), k=_DRAWS)
    one, all_ = [], []
    for count in counts:
        truth, labels = draw.choice(truths), []
        for _ in range(min(count, _MAX_LABELS)):
            label = truth
            if found and draw.random() >= noise.perfect:
                pair = draw.choices(found, cum_weights=shares)[0]
                label = _moved(truth, pair.difference, draw.choice((1, -1)), step)
            labels.append(label)
        one.append(_losses(truth, labels[0]))
        all_.append(_losses(truth, consensus(Counter(labels), step) or truth))
    single, combined = map(_sums, (one, all_))
    return tuple(b / a if a else 1.0 for a, b in zip(single, combined, strict=True))


def _moved(truth: Weights, difference: Weights, sign: int, step: float | None) -> Weights:
    moved = tuple(max(0.0, a + sign * b) for a, b in zip(truth, difference, strict=True))
    return snap(normalise(moved), step)


def _losses(answer: Weights, reference: Weights) -> Losses:
    """Return how much worse than the best an answer scores, in the order of `_BEST`."""
    off = errors(answer, reference)
    return (
        mean(off),
        1.0 - agrees(answer, reference),
        1.0 - within(off, 0.05),
        1.0 - within(off, 0.10),
        5.0 - grade(answer, reference),
    )


def _pair(one: Weights, other: Weights, share: float, group: int) -> _Pair:
    both = zip(_losses(one, other), _losses(other, one), strict=True)
    losses = tuple((a + b) / 2 for a, b in both)
    difference = tuple(b - a for a, b in zip(one, other, strict=True))
    return _Pair(losses[0], losses, difference, share, group)


def _sums(rows: Sequence[Losses]) -> Losses:
    return tuple(map(math.fsum, zip(*rows, strict=True)))


def _jackknife(values: Sequence[float]) -> float:
    """Return the standard error of a figure from its values without one group each."""
    middle, last = mean(values), len(values) - 1
    return math.sqrt(last / len(values) * math.fsum((value - middle) ** 2 for value in values))


def _spread(labels: Counter[Weights]) -> Sequence[Weights]:
    """Return at most ten labels of a query, evenly spread over the sorted ones."""
    ordered = sorted(labels.elements())
    return ordered[:: -(-len(ordered) // _MAX_LABELS)]


def pairwise_difference(labels: Counter[Weights]) -> float:
    """Sum the mean absolute differences of all pairs in n log n, by sorting."""
    total = 0.0
    width = len(next(iter(labels)))
    last = labels.total() - 1
    for column in range(width):
        before = 0
        for value, count in sorted((label[column], count) for label, count in labels.items()):
            # The value at rank r is added r times and subtracted last - r times; equal values have
            # the ranks before … before + count - 1.
            total += value * count * (2 * before + count - 1 - last)
            before += count
    return total / width

"""Measures how often the local tier abstains on query patterns that it was not trained on.

Patterns are found by wording alone. The weight of a word is the mean of P(word | other word of the
query), as in LogCluster (Vaarandi and Pihelgas, CNSM 2015); queries are grouped by the Jaccard
similarity of these weights, average linkage.

An eighth of the patterns is hidden at a time, together with a fifth of the queries of the others,
which are the known ones. The student learns the rest.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import AgglomerativeClustering

from benchmarks.figures import Row
from benchmarks.local_students import MAX_ERROR, Examples, Scored, mean
from router_cli.synthesis.draws import Draw
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Modalities

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SINGLE = 0.05  # the weight of a word that occurs once: a slot filler
_DISTANCE = 0.7
_GROUPS = 8
_MIN_QUERIES = 4  # smaller patterns are mostly close relatives of others
_ROUNDS = 2
_SEED = 11


def patterns_of(queries: Sequence[str]) -> dict[str, int]:
    """Number the pattern of each distinct query; quadratic in their number."""
    words = [set(_WORD.findall(query.lower())) for query in queries]
    frequency = Counter(word for found in words for word in found)
    together = Counter((a, b) for found in words for a in found for b in found)
    weights = [_weights(found, frequency, together) for found in words]
    grouping = AgglomerativeClustering(
        n_clusters=None, distance_threshold=_DISTANCE, metric="precomputed", linkage="average"
    )
    numbers = grouping.fit_predict(_distances(weights))
    return dict(zip(queries, map(int, numbers), strict=True))


def _weights(
    words: set[str], frequency: Counter[str], together: Counter[tuple[str, str]]
) -> dict[str, float]:
    weights = {}
    for word in words:
        others = [other for other in words if other != word and frequency[other] > 1]
        predicted = [together[other, word] / frequency[other] for other in others]
        weight = sum(predicted) / len(predicted) if predicted else 1.0
        weights[word] = _SINGLE if frequency[word] == 1 else weight
    return weights


def _distances(
    weights: Sequence[dict[str, float]],
) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    distances = np.zeros((len(weights), len(weights)))
    totals = [sum(one.values()) for one in weights]
    for row, one in enumerate(weights):
        for column in range(row):
            other = weights[column]
            shared = sum(min(weight, other[word]) for word, weight in one.items() if word in other)
            union = totals[row] + totals[column] - shared
            distances[row, column] = distances[column, row] = 1 - (shared / union if union else 0)
    return distances


@dataclass(frozen=True, slots=True)
class Signal:
    """The student's output for one query; `error` is None if it has no estimate."""

    familiarity: float
    answered: bool
    error: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """Signals of known queries and of queries of hidden patterns."""

    known: Sequence[Signal]
    hidden: Sequence[Signal]
    patterns: int

    def abstained_at(self, kept: float) -> float:
        """Return the share of hidden queries less familiar than this share of the known ones."""
        ranked = sorted((signal.familiarity for signal in self.known), reverse=True)
        bound = ranked[round(kept * len(ranked)) - 1]
        return mean([signal.familiarity < bound for signal in self.hidden])

    def rows(self, kept: Sequence[float]) -> list[Row]:
        """Return the shares by familiarity, then those of the gate."""
        slipped = [it.error for it in self.hidden if it.answered and it.error is not None]
        shares: list[Row] = [
            {
                "what": "new patterns by familiarity",
                "answers known %": 100 * share,
                "abstains on new %": 100 * self.abstained_at(share),
            }
            for share in kept
        ]
        gate: Row = {
            "what": f"new patterns by the gate, of {self.patterns}",
            "mean abs. error": mean(slipped) if slipped else None,
            "answers known %": 100 * mean([it.answered for it in self.known]),
            "abstains on new %": 100 * (1 - len(slipped) / len(self.hidden)),
        }
        return [*shares, gate]


def hold_out_patterns(examples: Examples, modalities: Modalities) -> Curve:
    """Train without hidden patterns, and collect the signals of known and hidden queries."""
    queries = sorted({query for query, _ in examples})
    patterns = patterns_of(queries)
    known: list[Signal] = []
    hidden: list[Signal] = []
    for number in range(_ROUNDS):
        for hide in _hidden_groups(patterns, number):
            new = {query for query in queries if patterns[query] in hide}
            others = Draw(_SEED + number, f"known {min(hide)}").shuffled(
                query for query in queries if query not in new
            )
            held = set(others[: len(others) // 5])
            seen = [it for it in examples if it[0] not in new and it[0] not in held]
            known += _signals(seen, [it for it in examples if it[0] in held], modalities)
            hidden += _signals(seen, [it for it in examples if it[0] in new], modalities)
    return Curve(known, hidden, len(set(patterns.values())))


def _hidden_groups(patterns: dict[str, int], number: int) -> list[set[int]]:
    sizes = Counter(patterns.values())
    large = sorted(pattern for pattern, size in sizes.items() if size >= _MIN_QUERIES)
    dealt = Draw(_SEED + number, "patterns").shuffled(large)
    groups = [set(dealt[group::_GROUPS]) for group in range(_GROUPS)]
    return [group for group in groups if group]


def _signals(seen: Examples, unseen: Examples, modalities: Modalities) -> Iterator[Signal]:
    model = train(seen, modalities, MAX_ERROR)
    for query, label in unseen:
        estimate = model.neighbourhood.estimate(query)
        yield Signal(
            familiarity=estimate.familiarity if estimate else 0.0,
            answered=model.answer(query) is not None,
            error=Scored.of(query, estimate.weights, label).error if estimate else None,
        )

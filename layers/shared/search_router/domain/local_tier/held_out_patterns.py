"""Measures the local model on patterns that it was not trained on.

Patterns are not labelled, so queries are grouped by their wording. A fifth of the patterns is
hidden at a time, and a student trained on the others estimates the hidden queries. Similar patterns
that were not grouped together leak, so the share of answered queries is an overestimate.

A word belongs to the pattern to the degree that the other words of the query predict it: its weight
is the mean of P(word | other word), as in the log-template miner LogCluster (Vaarandi and
Pihelgas, CNSM 2015). A query joins the pattern whose first query has the most similar weights
(Jaccard, at least `ALIKE`) or starts a new one (leader clustering: Hartigan, Clustering Algorithms,
1975, chapter 3), the most common wordings first. Labels are not used.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from search_router.domain.grading import errors, mean
from search_router.domain.local_tier.indexing import (
    LabelledQuery,
    LabelledRow,
    distinct_rows,
    index_rows,
)
from search_router.domain.local_tier.local_model import Gate
from search_router.domain.local_tier.neighbours import Estimate
from search_router.domain.local_tier.scores import HeldOutPatterns
from search_router.domain.local_tier.terms import words_of
from search_router.domain.weights import Modalities, mean_weights

SAMPLE = 2_000  # distinct queries; more would only cost time
FOLDS = 5
LEAST_QUERIES = 4  # smaller patterns are mostly variants of others
LEAST_PATTERNS = 10
ALIKE = 0.3
_UNIQUE = 0.05  # the weight of a word that occurs once: a slot filler
_COMMON = 0.3  # words of at least this weight form the wording
_COMPARED = 20  # patterns per word, which bounds the time where nothing is alike

_Wording = Mapping[str, float]


def hold_out_patterns(
    examples: Iterable[LabelledQuery], modalities: Modalities, gate: Gate
) -> HeldOutPatterns | None:
    """Measure student and gate on hidden patterns; None if there are too few patterns.

    A pure function of the set of examples.
    """
    rows = distinct_rows(examples)[:SAMPLE]
    patterns = patterns_of([query for _, query, _ in rows])
    sizes = Counter(patterns)
    large = sorted(pattern for pattern, size in sizes.items() if size >= LEAST_QUERIES)
    if len(large) < LEAST_PATTERNS:
        return None
    tried: list[tuple[Estimate | None, float]] = []
    for fold in range(FOLDS):
        hidden = set(large[fold::FOLDS])
        seen = [row for row, its in zip(rows, patterns, strict=True) if its not in hidden]
        new = [row for row, its in zip(rows, patterns, strict=True) if its in hidden]
        tried += _tried(seen, new, modalities)
    answered = [error for estimate, error in tried if estimate and gate.admits(estimate)]
    return HeldOutPatterns(
        patterns=len(large),
        queries=len(tried),
        mae=mean([error for _, error in tried]),
        answered=len(answered) / len(tried),
        answered_mae=mean(answered) if answered else None,
    )


def patterns_of(queries: Sequence[str]) -> list[int]:
    """Return the number of each query's pattern, independent of the order of the queries."""
    wordings = _wordings([sorted(set(words_of(query))) for query in queries])
    common = [tuple(word for word, weight in it.items() if weight >= _COMMON) for it in wordings]
    frequency = Counter(common)
    leaders: list[_Wording] = []
    led: defaultdict[str, list[int]] = defaultdict(list)
    patterns = [0] * len(queries)
    by_frequency = sorted(range(len(queries)), key=lambda at: (-frequency[common[at]], queries[at]))
    for index in by_frequency:
        near = {leader for word in common[index] for leader in led[word][:_COMPARED]}
        alike = ((_similarity(wordings[index], leaders[it]), -it) for it in near)
        best, negative = max(alike, default=(0.0, 0))
        if best >= ALIKE:
            patterns[index] = -negative
            continue
        patterns[index] = len(leaders)
        for word in common[index]:
            led[word].append(len(leaders))
        leaders.append(wordings[index])
    return patterns


def _tried(
    seen: Sequence[LabelledRow], new: Iterable[LabelledRow], modalities: Modalities
) -> Iterator[tuple[Estimate | None, float]]:
    """Yield estimates with their error per weight; without one, the error of the mean label."""
    student = index_rows(seen, modalities)
    fallback = mean_weights([label for _, _, label in seen])
    for _, query, label in new:
        estimate = student.estimate(query)
        yield estimate, mean(errors(estimate.weights if estimate else fallback, label))


def _wordings(queries: Sequence[Sequence[str]]) -> list[_Wording]:
    """Weigh the words of each query, which are distinct and sorted."""
    frequency = Counter(word for words in queries for word in words)
    frequent = [[word for word in words if frequency[word] > 1] for words in queries]
    together = Counter((one, other) for words in frequent for one in words for other in words)

    def weight(word: str, others: Sequence[str]) -> float:
        predicted = [together[other, word] / frequency[other] for other in others if other != word]
        return sum(predicted) / len(predicted) if predicted else 1.0

    return [
        {word: weight(word, others) if frequency[word] > 1 else _UNIQUE for word in words}
        for words, others in zip(queries, frequent, strict=True)
    ]


def _similarity(one: _Wording, other: _Wording) -> float:
    shared = sum(min(weight, other[word]) for word, weight in one.items() if word in other)
    union = sum(one.values()) + sum(other.values()) - shared
    return shared / union if union else 0.0

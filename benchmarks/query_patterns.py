"""Finds the patterns that labelled queries follow, so that whole patterns can be held out.

A word belongs to the pattern as far as the other words of the query predict it: the weight of a
word is the mean of P(word | other word), as in the log-template miner LogCluster (Vaarandi and
Pihelgas, CNSM 2015). Queries are grouped by the Jaccard similarity of these weights, average
linkage. It knows nothing of labels, nor of how the data was made.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import AgglomerativeClustering

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SINGLE = 0.05  # the weight of a word that occurs once: a slot filler
_DISTANCE = 0.7


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

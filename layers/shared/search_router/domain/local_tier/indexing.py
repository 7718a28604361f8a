"""Indexes labelled queries for the search of nearest neighbours.

A term's weight is its inverse document frequency times a factor for how well it predicts the label:
a slot filler ("Priya") occurs with all labels, "guest appearance" with nearly one. The factor is
1 - TRUST * dispersion / overall dispersion, where dispersion is the mean distance of a term's
labels from their mean, shrunk towards the overall one for rare terms (supervised term weighting:
Debole and Sebastiani, SAC 2003).
"""

from __future__ import annotations

import math
import struct
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from search_router.domain.errors import InvalidInputError
from search_router.domain.local_tier.neighbours import (
    POSTINGS_KEPT,
    Neighbourhood,
    Posting,
    density_of,
    query_key,
)
from search_router.domain.local_tier.terms import terms_of
from search_router.domain.weights import Modalities, Weights, consensus, grid_step, mean_weights

TRUST = 0.6
_SHRINKAGE = 2.0  # pseudo-labels of overall dispersion for every term

LabelledQuery = tuple[str, Weights]
LabelledRow = tuple[int, str, Weights]  # key, query, label


def distinct_rows(examples: Iterable[LabelledQuery]) -> list[LabelledRow]:
    """Return each distinct query with the consensus of its labels, ordered by key."""
    rows = sorted((query_key(query), query, weights) for query, weights in examples)
    step = grid_step([weights for _, _, weights in rows])
    queries: dict[int, str] = {}
    labels: defaultdict[int, Counter[Weights]] = defaultdict(Counter)
    for key, query, weights in rows:
        queries.setdefault(key, query)
        labels[key][weights] += 1
    agreed = ((key, consensus(labels[key], step)) for key in queries)
    return [(key, queries[key], label) for key, label in agreed if label is not None]


def index_rows(rows: Sequence[LabelledRow], modalities: Modalities) -> Neighbourhood:
    """Index distinct rows, which are ordered by key; raises InvalidInputError if there are none."""
    if not rows:
        raise InvalidInputError("no labelled queries. The local tier needs at least one.")
    terms = [terms_of(query) for _, query, _ in rows]
    rows_of: defaultdict[int, list[int]] = defaultdict(list)
    for row, found in enumerate(terms):
        for term in found:
            rows_of[term].append(row)
    weights = [label for _, _, label in rows]
    squares = _squares(rows_of, weights)
    index, postings = _index(rows_of, squares)
    distinct = sorted(set(weights))
    numbers = {label: number for number, label in enumerate(distinct)}
    neighbourhood = Neighbourhood(
        modalities=modalities,
        labels=distinct,
        label_of=array("I", [numbers[label] for label in weights]),
        row_of={key: row for row, (key, _, _) in enumerate(rows)},
        inverse_norms=_halves([_inverse_norm(found, squares) for found in terms]),
        densities=[0.0] * len(rows),
        terms=index,
        postings=postings,
        unseen_square=_rarity(1, len(rows)) ** 2,
    )
    neighbourhood.densities = _densities(neighbourhood, terms)
    return neighbourhood


def _rarity(frequency: int, rows: int) -> float:
    return math.log((1 + rows) / (1 + frequency)) + 1.0


def _squares(rows_of: Mapping[int, Sequence[int]], labels: Sequence[Weights]) -> dict[int, float]:
    overall = max(_dispersion(labels), 1e-9)
    squares = {}
    for term, rows in rows_of.items():
        dispersion = overall
        if len(rows) > 1:
            own = _dispersion([labels[row] for row in rows]) * len(rows) / (len(rows) - 1)
            dispersion = (len(rows) * own + _SHRINKAGE * overall) / (len(rows) + _SHRINKAGE)
        predictive = max(1 - TRUST, 1 - TRUST * dispersion / overall)
        squares[term] = (_rarity(len(rows), len(labels)) * predictive) ** 2
    return dict(zip(squares, _halves(list(squares.values())), strict=True))


def _dispersion(labels: Sequence[Weights]) -> float:
    centre = mean_weights(labels)
    distances = (abs(a - b) for label in labels for a, b in zip(label, centre, strict=True))
    return math.fsum(distances) / (len(labels) * len(centre))


def _inverse_norm(terms: Iterable[int], squares: Mapping[int, float]) -> float:
    total = math.fsum(squares[term] for term in terms)
    return 1 / math.sqrt(total) if total else 0.0


def _index(
    rows_of: Mapping[int, Sequence[int]], squares: Mapping[int, float]
) -> tuple[dict[int, Posting], array[int]]:
    index: dict[int, Posting] = {}
    postings = array("I")
    for term in sorted(rows_of):
        start = len(postings)
        postings.extend(rows_of[term][:POSTINGS_KEPT])
        index[term] = (len(postings) - start, -squares[term], start)
    return index, postings


def _densities(neighbourhood: Neighbourhood, terms: Sequence[set[int]]) -> Sequence[float]:
    nearest = (neighbourhood.nearest(found, but=row) for row, found in enumerate(terms))
    return _halves([density_of(neighbours) for neighbours in nearest])


def _halves(numbers: Sequence[float]) -> tuple[float, ...]:
    """Round to the precision of an artifact, so that the calibrated model is the served one."""
    return struct.unpack(f"{len(numbers)}e", struct.pack(f"{len(numbers)}e", *numbers))

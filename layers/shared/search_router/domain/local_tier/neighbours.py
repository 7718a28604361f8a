"""Estimates weights from the nearest labelled queries, in a bounded number of steps.

A query's terms are looked up rarest first until `BUDGET` postings are read. A term keeps its first
`POSTINGS_KEPT` rows. Rows are ordered by fingerprint, so the samples of all terms are coordinated:
a row in one is likely to be in the others (bottom-k sketches: Cohen and Kaplan, PODC 2007). The
neighbours vote by the square of their cosine for the label of least expected error, so an answer is
always a label that the teacher gave.

`familiarity` is the density around a query over the density around its neighbours, the inverse of
the local outlier factor (Breunig et al., SIGMOD 2000), which tolerates sparse patterns with many
slot fillers. Density is the mean cosine to the neighbours weighted by itself, so that the few
queries of a small pattern count more than less similar ones.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from operator import sub

from search_router.domain.local_tier.terms import terms_of
from search_router.domain.queries import fingerprint
from search_router.domain.weights import Modalities, Weights

BUDGET = 300
POSTINGS_KEPT = 40
NEIGHBOURS = 9
_LEAST_DENSITY = 0.15  # an isolated neighbour would make any query look familiar

Neighbour = tuple[float, int]  # cosine, row
Posting = tuple[int, float, int]  # number of rows, minus the term's squared weight, start


class Estimate:
    """Weights for one query, with familiarity and risk.

    `risk` is the mean absolute error per weight that the votes imply. `familiarity` is 1 for a
    query as close to its neighbours as they are to each other, 0 for one unlike all of them.
    `labelled` marks a query that is in the training set itself.
    """

    __slots__ = ("familiarity", "labelled", "risk", "weights")

    def __init__(
        self, weights: Weights, familiarity: float, risk: float, *, labelled: bool = False
    ) -> None:
        self.weights = weights
        self.familiarity = familiarity
        self.risk = risk
        self.labelled = labelled


class Neighbourhood:
    """The index of the labelled queries, one row per distinct query.

    `row_of` maps query keys to rows, `label_of` rows to indexes into the distinct `labels`.
    `inverse_norms` and `densities` are per row. A term that no row has adds `unseen_square` to a
    query's squared norm.
    """

    def __init__(
        self,
        modalities: Modalities,
        labels: Sequence[Weights],
        label_of: Sequence[int],
        row_of: Mapping[int, int],
        inverse_norms: Sequence[float],
        densities: Sequence[float],
        terms: Mapping[int, Posting],
        postings: Sequence[int],
        unseen_square: float,
    ) -> None:
        self.modalities = modalities
        self.labels = labels
        self.label_of = label_of
        self.row_of = row_of
        self.inverse_norms = inverse_norms
        self.densities = densities
        self.terms = terms
        self.postings = postings
        self.unseen_square = unseen_square

    def estimate(self, query: str) -> Estimate | None:
        """Return the label of a labelled query, else an estimate; None if no term was seen."""
        row = self.row_of.get(query_key(query))
        if row is not None:
            return Estimate(self.labels[self.label_of[row]], math.inf, 0.0, labelled=True)
        return self.estimate_from(self.nearest(terms_of(query)))

    def estimate_from(self, neighbours: Sequence[Neighbour]) -> Estimate | None:
        """Return the neighbours' vote; None without neighbours."""
        if not neighbours:
            return None
        votes: dict[int, float] = {}
        for cosine, row in neighbours:
            label = self.label_of[row]
            votes[label] = votes.get(label, 0.0) + cosine * cosine
        label, risk = self._least_risk(votes)
        return Estimate(self.labels[label], self._familiarity(neighbours), risk)

    def nearest(self, terms: set[int], but: int = -1, budget: int = BUDGET) -> list[Neighbour]:
        """Return the most similar rows, closest first, without the row `but`."""
        of = self.terms.get
        seen = [posting for posting in map(of, terms) if posting is not None]
        square = (len(terms) - len(seen)) * self.unseen_square - sum([it[1] for it in seen])
        scores = self._scores(sorted(seen), budget)
        scores.pop(but, None)
        if not scores:
            return []
        return self._closest(scores, 1 / math.sqrt(square))

    def _scores(self, rarest_first: Sequence[Posting], budget: int) -> dict[int, float]:
        scores: dict[int, float] = {}
        get, postings = scores.get, self.postings
        for length, negative_square, start in rarest_first:
            budget -= length
            if budget < 0:
                break
            square = -negative_square
            for row in postings[start : start + length]:
                scores[row] = get(row, 0.0) + square
        return scores

    def _closest(self, scores: Mapping[int, float], own: float) -> list[Neighbour]:
        """Return the best cosines, ties by row; sorting floats first is three times faster."""
        inverse = self.inverse_norms
        cosines = [score * inverse[row] for row, score in scores.items()]
        least = sorted(cosines)[-NEIGHBOURS:][0]
        best = [
            (-cosine, row) for cosine, row in zip(cosines, scores, strict=True) if cosine >= least
        ]
        return [(-negative * own, row) for negative, row in sorted(best)[:NEIGHBOURS]]

    def _familiarity(self, neighbours: Sequence[Neighbour]) -> float:
        squares, around = [], []
        for cosine, row in neighbours:  # an isolated row has at least the query as a neighbour
            squares.append(cosine * cosine)
            around.append(cosine * max(_LEAST_DENSITY, cosine, self.densities[row]))
        return math.fsum(squares) / math.fsum(around)

    def _least_risk(self, votes: Mapping[int, float]) -> tuple[int, float]:
        """Return the label with the least expected distance to all votes, and that distance."""
        risks = dict.fromkeys(sorted(votes), 0.0)
        for one, other in combinations(risks, 2):
            distance = sum(map(abs, map(sub, self.labels[one], self.labels[other])))
            risks[one] += votes[other] * distance
            risks[other] += votes[one] * distance
        best = min(risks, key=risks.__getitem__)
        return best, risks[best] / (len(self.modalities) * sum(votes.values()))


def density_of(neighbours: Sequence[Neighbour]) -> float:
    """Return the mean cosine to the neighbours, weighted by itself; 0 without neighbours."""
    total = math.fsum([cosine for cosine, _ in neighbours])
    return math.fsum([cosine * cosine for cosine, _ in neighbours]) / total if total else 0.0


def query_key(query: str) -> int:
    """Return 64 bits of a query's fingerprint."""
    return int.from_bytes(fingerprint(query)[:8], "big")

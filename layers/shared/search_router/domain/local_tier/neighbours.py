"""Nearest neighbours over labelled queries, in a bounded number of steps whatever the size.

A query's terms are looked up rarest first until `BUDGET` postings are read; a term of many rows is
stood for by its first `POSTINGS_KEPT` rows. Rows are in the order of their fingerprints, so the
samples of all terms are coordinated: a row that is in one is likely to be in the others (bottom-k
sketches: Cohen and Kaplan, PODC 2007). The neighbours vote by the square of their cosine for the
label of least expected error, so an answer is always a label that the teacher gave, on its grid.

`familiarity` is the density around a query over the density around its neighbours, the local
outlier factor turned over (Breunig et al., SIGMOD 2000): a pattern with many slot fillers is thin,
and a new filler in it is no news. Density is the mean cosine to the neighbours weighted by itself,
so that the few siblings of a small pattern count more than the strangers that follow them.
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
_LEAST_DENSITY = 0.15  # what is near to none is no measure of nearness

Neighbour = tuple[float, int]  # cosine, row
Posting = tuple[int, float, int]  # number of rows, minus the term's squared weight, place


class Estimate:
    """What the neighbours say of one query.

    `risk` is the mean absolute error per weight that is expected from their votes, `familiarity`
    1 for a query as close to them as they are to each other, 0 for one that is far from all.
    `known` tells that the query itself is labelled.
    """

    __slots__ = ("familiarity", "known", "risk", "weights")

    def __init__(
        self, weights: Weights, familiarity: float, risk: float, *, known: bool = False
    ) -> None:
        self.weights = weights
        self.familiarity = familiarity
        self.risk = risk
        self.known = known


class Neighbourhood:
    """The labelled queries, indexed; `labels` are distinct, `label_of` names each row's.

    `inverse_norms` and `densities` (of the other rows around it) are per row. A term that no row
    has adds `unknown_square` to a query's squared norm.
    """

    def __init__(
        self,
        modalities: Modalities,
        labels: Sequence[Weights],
        label_of: Sequence[int],
        known: Mapping[int, int],
        inverse_norms: Sequence[float],
        densities: Sequence[float],
        terms: Mapping[int, Posting],
        postings: Sequence[int],
        unknown_square: float,
    ) -> None:
        self.modalities = modalities
        self.labels = labels
        self.label_of = label_of
        self.known = known
        self.inverse_norms = inverse_norms
        self.densities = densities
        self.terms = terms
        self.postings = postings
        self.unknown_square = unknown_square

    def estimate(self, query: str) -> Estimate | None:
        """Return what is known of a query; None if nothing in it was ever seen."""
        row = self.known.get(known_key(query))
        if row is not None:
            return Estimate(self.labels[self.label_of[row]], math.inf, 0.0, known=True)
        return self.estimate_from(self.nearest(terms_of(query)))

    def estimate_from(self, neighbours: Sequence[Neighbour]) -> Estimate | None:
        """Let neighbours vote; None if there are none."""
        if not neighbours:
            return None
        votes: dict[int, float] = {}
        for cosine, row in neighbours:
            label = self.label_of[row]
            votes[label] = votes.get(label, 0.0) + cosine * cosine
        label, risk = self._least_risk(votes)
        return Estimate(self.labels[label], self._familiarity(neighbours), risk)

    def nearest(self, terms: set[int], but: int = -1, budget: int = BUDGET) -> list[Neighbour]:
        """Return the rows most like these terms, closest first, as (cosine, row)."""
        of = self.terms.get
        known = [posting for posting in map(of, terms) if posting is not None]
        square = (len(terms) - len(known)) * self.unknown_square - sum([it[1] for it in known])
        scores = self._scores(sorted(known), budget)
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
        """Return the best cosines, equal ones by row; plain floats sort three times faster."""
        inverse = self.inverse_norms
        cosines = [score * inverse[row] for row, score in scores.items()]
        least = sorted(cosines)[-NEIGHBOURS:][0]
        best = [
            (-cosine, row) for cosine, row in zip(cosines, scores, strict=True) if cosine >= least
        ]
        return [(-negative * own, row) for negative, row in sorted(best)[:NEIGHBOURS]]

    def _familiarity(self, neighbours: Sequence[Neighbour]) -> float:
        squares, around = [], []
        for cosine, row in neighbours:  # a row that was alone has the query for company
            squares.append(cosine * cosine)
            around.append(cosine * max(_LEAST_DENSITY, cosine, self.densities[row]))
        return math.fsum(squares) / math.fsum(around)

    def _least_risk(self, votes: Mapping[int, float]) -> tuple[int, float]:
        """Return the label of least expected distance to all votes, and that distance."""
        risks = dict.fromkeys(sorted(votes), 0.0)
        for one, other in combinations(risks, 2):
            distance = sum(map(abs, map(sub, self.labels[one], self.labels[other])))
            risks[one] += votes[other] * distance
            risks[other] += votes[one] * distance
        best = min(risks, key=risks.__getitem__)
        return best, risks[best] / (len(self.modalities) * sum(votes.values()))


def density_of(neighbours: Sequence[Neighbour]) -> float:
    """Return the mean cosine to the neighbours, each weighted by its own; 0 without any."""
    total = math.fsum([cosine for cosine, _ in neighbours])
    return math.fsum([cosine * cosine for cosine, _ in neighbours]) / total if total else 0.0


def known_key(query: str) -> int:
    """Identify a query as intake does, in 64 bits."""
    return int.from_bytes(fingerprint(query)[:8], "big")

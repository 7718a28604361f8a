"""The small real student: word-level nearest neighbours over the training queries.

A query is its set of words and word pairs (adjacent, or with one word between), weighted by rarity.
Its nine most similar training queries vote with their labels; the weighted median of each modality,
put on the labels' grid, is the answer. Standard library only: 15,000 rows learn in about 2 s, an
answer over 2,000 rows takes well under 1 ms.
"""

import heapq
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from local_stack.bedrock_double.chance import draw
from local_stack.bedrock_double.grid import levels_of, snap

_NEIGHBOURS = 9
_REACH = 2  # words up to this far apart form a pair
# A word of thousands of queries says little about each: this many of them stand for all.
_POSTINGS_KEPT = 200
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")

Example = tuple[str, Mapping[str, float]]
Vote = tuple[float, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Student:
    """What was learned from labelled queries."""

    modalities: tuple[str, ...]
    levels: int
    labels: Sequence[Sequence[float]]
    postings: Mapping[str, Sequence[tuple[int, float]]]
    typical: Sequence[float]

    @classmethod
    def learn(cls, examples: Sequence[Example]) -> "Student":
        """Return a student of these (query, label) pairs; line order does not matter."""
        modalities = tuple(dict.fromkeys(name for _, label in examples for name in label))
        rows = sorted(
            (query, tuple(label.get(name, 0.0) for name in modalities)) for query, label in examples
        )
        rows.sort(key=lambda row: draw(0, row[0]))  # shuffled: the postings kept are a fair sample
        labels = [label for _, label in rows]
        return cls(
            modalities,
            levels_of([value for label in labels for value in label]),
            labels,
            _index([_terms(query) for query, _ in rows]),
            _medians([(1.0, label) for label in labels]),
        )

    def answer(self, query: str) -> dict[str, float]:
        """Return the weights of a query: every modality, on the labels' grid, summing to one."""
        votes = [(score, self.labels[row]) for row, score in self._nearest(query)]
        shares = _medians(votes) if votes else self.typical
        return dict(zip(self.modalities, snap(shares, self.levels), strict=True))

    def _nearest(self, query: str) -> list[tuple[int, float]]:
        """Return the rows most like the query, with cosines up to the query's own norm."""
        scores: dict[int, float] = {}
        score_of = scores.get
        for term in _terms(query):
            for row, weight in self.postings.get(term, ()):
                scores[row] = score_of(row, 0.0) + weight
        return heapq.nlargest(_NEIGHBOURS, scores.items(), key=itemgetter(1))


def _terms(query: str) -> list[str]:
    words = _WORD.findall(query.lower())
    return list(dict.fromkeys((*words, *_pairs(words))))


def _pairs(words: Sequence[str]) -> Iterator[str]:
    for distance in range(1, _REACH + 1):
        for first, second in zip(words, words[distance:], strict=False):
            yield f"{first} {second}"


def _index(rows: Sequence[Sequence[str]]) -> dict[str, list[tuple[int, float]]]:
    """Return for each term the rows that hold it, with the term's share of their cosine."""
    frequency = Counter(term for terms in rows for term in terms)
    rarity = {
        term: math.log((1 + len(rows)) / (1 + count)) + 1.0 for term, count in frequency.items()
    }
    postings: dict[str, list[tuple[int, float]]] = {term: [] for term in frequency}
    for row, terms in enumerate(rows):
        norm = math.sqrt(sum(rarity[term] ** 2 for term in terms))
        for term in terms:
            if len(postings[term]) < _POSTINGS_KEPT:
                postings[term].append((row, rarity[term] ** 2 / norm))
    return postings


def _medians(votes: Sequence[Vote]) -> list[float]:
    half = sum(score for score, _ in votes) / 2
    return [_median(column, half) for column in _columns(votes)]


def _columns(votes: Sequence[Vote]) -> Iterator[list[tuple[float, float]]]:
    for place in range(len(votes[0][1])):
        yield sorted((label[place], score) for score, label in votes)


def _median(column: Sequence[tuple[float, float]], half: float) -> float:
    reached = 0.0
    for value, score in column:
        reached += score
        if reached >= half:
            return value
    return column[-1][0]

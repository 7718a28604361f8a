"""The students that the local tier is compared with, each behind `predict(queries)`."""

import heapq
import math
import pickle
import re
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import Ridge

from local_stack.bedrock_fake.teacher import weigh
from search_router.domain.local_tier.artifact import pack
from search_router.domain.local_tier.indexing import distinct_rows, index_rows
from search_router.domain.local_tier.neighbours import Neighbourhood, Posting
from search_router.domain.local_tier.terms import terms_of
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Modalities, Weights, grid_step, mean_weights, snap

SERVED = "search_router.domain.local_tier.artifact"
SERVED_BY_PYTHON = "array, functools, hashlib, json, math, re, struct, unicodedata, zlib"
MAX_ERROR = 0.045
Examples = Sequence[tuple[str, Weights]]
_NEIGHBOURS = 9
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Student:
    """A trained student: how it answers, what it weighs, what must be imported to serve it."""

    predict: Callable[[Sequence[str]], list[Weights]]
    size: int
    imports: str


class WordIndex:
    """An inverted index of words, weighted by rarity: the obvious way to find alike queries."""

    def __init__(self, examples: Examples) -> None:
        self.prior = mean_weights([label for _, label in examples])
        words = [set(_WORD.findall(query.lower())) for query, _ in examples]
        frequency = Counter(word for found in words for word in found)
        rows = len(examples)
        self.idf = {w: math.log((1 + rows) / (1 + n)) + 1 for w, n in frequency.items()}
        self.rare = math.log((1 + rows) / 2) + 1
        self.postings: dict[str, list[tuple[int, float]]] = {word: [] for word in frequency}
        for row, found in enumerate(words):
            norm = math.sqrt(sum(self.idf[word] ** 2 for word in found)) or 1.0
            for word in found:
                self.postings[word].append((row, self.idf[word] ** 2 / norm))

    def nearest(self, query: str) -> list[tuple[float, int]]:
        """Return the nine rows of the largest cosine."""
        words = set(_WORD.findall(query.lower()))
        scores: defaultdict[int, float] = defaultdict(float)
        for word in words:
            for row, score in self.postings.get(word, ()):
                scores[row] += score
        norm = math.sqrt(sum(self.idf.get(word, self.rare) ** 2 for word in words)) or 1.0
        best = heapq.nlargest(_NEIGHBOURS, ((score, row) for row, score in scores.items()))
        return [(score / norm, row) for score, row in best]


def constant_mean(examples: Examples, modalities: Modalities) -> Student:
    """Answer everything with the mean label."""
    answer = mean_weights([label for _, label in examples])
    return Student(lambda queries: [answer] * len(queries), 8 * len(modalities), "math")


def keyword_rules(_examples: Examples, modalities: Modalities) -> Student:
    """The cue words of the Bedrock double's teacher; learns nothing."""

    def predict(queries: Sequence[str]) -> list[Weights]:
        return [tuple(weigh(query, modalities, trust=2.0).values()) for query in queries]

    return Student(predict, 2_000, "re")


def hashed_softmax(examples: Examples, modalities: Modalities) -> Student:
    """Words and word pairs hashed to 2^13 columns, softmax regression on soft labels (KL)."""
    hashing = HashingVectorizer(n_features=2**13, ngram_range=(1, 2), alternate_sign=False)
    columns = hashing.transform([query for query, _ in examples])
    labels = np.array([label for _, label in examples])
    weights, first, second = (np.zeros((2**13, len(modalities))) for _ in range(3))
    for step in range(1, 301):  # Adam on the full batch
        slope = columns.T @ (_softmax(columns @ weights) - labels) / len(examples) + 1e-5 * weights
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        weights -= 0.05 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)

    def predict(queries: Sequence[str]) -> list[Weights]:
        return _snapped(_softmax(hashing.transform(queries) @ weights), examples)

    return Student(predict, weights.astype("f4").nbytes, "numpy, scipy.sparse")


def tfidf_ridge(examples: Examples, _modalities: Modalities) -> Student:
    """scikit-learn's TF-IDF over words and word pairs, ridge regression per modality."""
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    columns = vectors.fit_transform([query for query, _ in examples])
    model = Ridge(alpha=0.5).fit(columns, [label for _, label in examples])

    def predict(queries: Sequence[str]) -> list[Weights]:
        return _snapped(model.predict(vectors.transform(queries)), examples)

    size = len(pickle.dumps((vectors, model)))
    return Student(predict, size, "sklearn.feature_extraction.text, sklearn.linear_model")


def word_neighbours(examples: Examples, _modalities: Modalities) -> Student:
    """Plain word neighbours: idf cosine over all postings, the mean of nine votes."""
    index = WordIndex(examples)
    step = grid_step([label for _, label in examples])

    def answer(query: str) -> Weights:
        votes = [(cosine, examples[row][1]) for cosine, row in index.nearest(query)]
        if not votes:
            return index.prior
        columns = zip(*[label for _, label in votes], strict=True)
        shares = (sum(c * w for (c, _), w in zip(votes, column, strict=True)) for column in columns)
        return snap(tuple(shares), step)

    size = len(pickle.dumps(index))
    return Student(lambda queries: [answer(query) for query in queries], size, "re, math, pickle")


def plain_scan(examples: Examples, modalities: Modalities) -> Student:
    """Our own terms and weights with every posting read: what the budget is measured against."""
    hood = unbudgeted(index_rows(distinct_rows(examples), modalities), examples)

    def answer(query: str) -> Weights:
        return scanned(hood, query) or hood.labels[0]

    size = len(pickle.dumps(hood))
    return Student(lambda queries: [answer(query) for query in queries], size, SERVED)


def scanned(hood: Neighbourhood, query: str) -> Weights | None:
    """Return what a full scan answers."""
    estimate = hood.estimate_from(hood.nearest(terms_of(query), budget=sys.maxsize))
    return estimate.weights if estimate else None


def unbudgeted(hood: Neighbourhood, examples: Examples) -> Neighbourhood:
    """Return the same neighbourhood with all postings instead of samples of them."""
    rows_of: defaultdict[int, list[int]] = defaultdict(list)
    for row, (_, query, _) in enumerate(distinct_rows(examples)):
        for term in terms_of(query):
            rows_of[term].append(row)
    terms: dict[int, Posting] = {}
    postings = array("I")
    for term, rows in rows_of.items():
        terms[term] = (len(rows), hood.terms[term][1], len(postings))
        postings.extend(rows)
    full = copy(hood)
    full.terms, full.postings = terms, postings
    return full


def ours(examples: Examples, modalities: Modalities) -> Student:
    """The local tier as it is trained and served, its gate left aside."""
    model = train(examples, modalities, MAX_ERROR)
    prior = mean_weights([label for _, label in examples])

    def predict(queries: Sequence[str]) -> list[Weights]:
        estimates = map(model.neighbourhood.estimate, queries)
        return [estimate.weights if estimate else prior for estimate in estimates]

    return Student(predict, len(pack(model)), SERVED)


STUDENTS: dict[str, Callable[[Examples, Modalities], Student]] = {
    "ours": ours,
    "constant mean": constant_mean,
    "keyword rules": keyword_rules,
    "hashed n-gram softmax": hashed_softmax,
    "TF-IDF + ridge (scikit-learn)": tfidf_ridge,
    "word neighbours (idf cosine)": word_neighbours,
    "plain scan (ours, unbudgeted)": plain_scan,
}


def _softmax(scores: Any) -> Any:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _snapped(rows: Any, examples: Examples) -> list[Weights]:
    step = grid_step([label for _, label in examples])
    positive = np.clip(rows, 1e-9, None)
    return [snap(tuple(map(float, row)), step) for row in positive]

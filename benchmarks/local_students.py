"""The local tier and its rivals, trained on the same folds and scored on unseen queries."""

import math
import pickle
import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from router_cli.synthesis.draws import Draw
from search_router.domain.bootstrap import Resampling
from search_router.domain.fingerprints import fingerprint
from search_router.domain.grading import agrees, errors, within
from search_router.domain.intake.prompt_reader import PromptReader
from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.intake.training_records import MAX_RECORD_BYTES
from search_router.domain.lines import split_lines
from search_router.domain.local_tier.artefact import pack
from search_router.domain.local_tier.indexing import distinct_rows
from search_router.domain.local_tier.neighbours import Neighbourhood, Posting
from search_router.domain.local_tier.terms import terms_of
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Modalities, Weights, grid_step, mean_weights, snap

FOLDS = 5
MAX_ERROR = 0.045
Examples = Sequence[tuple[str, Weights]]
_SEED = 1


def labelled_queries(chunks: Iterable[bytes], modalities: Modalities) -> list[tuple[str, Weights]]:
    """Return the queries of a prompt file that have labels."""
    records = map(PromptReader(modalities).read, split_lines(chunks, MAX_RECORD_BYTES))
    return [
        (record.query, record.weights)
        for record in records
        if isinstance(record, PromptRecord) and record.weights is not None
    ]


@dataclass(frozen=True, slots=True)
class Student:
    """A trained student and its size in bytes."""

    predict: Callable[[Sequence[str]], list[Weights]]
    size: int


def local_tier(examples: Examples, modalities: Modalities) -> Student:
    """Train the local tier; its gate is ignored, so it answers everything."""
    model = train(examples, modalities, MAX_ERROR)
    prior = mean_weights([label for _, label in examples])

    def predict(queries: Sequence[str]) -> list[Weights]:
        estimates = map(model.neighbourhood.estimate, queries)
        return [estimate.weights if estimate else prior for estimate in estimates]

    return Student(predict, len(pack(model)))


def constant_mean(examples: Examples, modalities: Modalities) -> Student:
    """Answer everything with the mean label."""
    answer = mean_weights([label for _, label in examples])
    return Student(lambda queries: [answer] * len(queries), 8 * len(modalities))


def tfidf_ridge(examples: Examples, _modalities: Modalities) -> Student:
    """Fit scikit-learn's ridge regression on TF-IDF of words and word pairs."""
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    columns = vectors.fit_transform([query for query, _ in examples])
    model = Ridge(alpha=0.5).fit(columns, [label for _, label in examples])
    step = grid_step([label for _, label in examples])

    def predict(queries: Sequence[str]) -> list[Weights]:
        rows: Any = np.clip(model.predict(vectors.transform(queries)), 1e-9, None)
        return [snap(tuple(map(float, row)), step) for row in rows]

    return Student(predict, len(pickle.dumps((vectors, model))))


STUDENTS: dict[str, Callable[[Examples, Modalities], Student]] = {
    "local tier": local_tier,
    "constant mean": constant_mean,
    "TF-IDF + ridge (scikit-learn)": tfidf_ridge,
}


def scanned(hood: Neighbourhood, query: str) -> Weights | None:
    """Return the answer of a scan of all postings, without the budget."""
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


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer compared with its label; `error` is the mean absolute error per weight."""

    error: float
    agrees: bool
    within_005: bool

    @classmethod
    def of(cls, answer: Weights, label: Weights) -> "Scored":
        """Score one answer."""
        off = errors(answer, label)
        return cls(mean(off), agrees(answer, label), within(off, 0.05))


def folds_of(examples: Examples, seed: int = _SEED) -> Iterator[tuple[Examples, Examples]]:
    """Yield (seen, unseen) for each of five folds of distinct queries."""
    keys = sorted({fingerprint(query) for query, _ in examples})
    fold = {key: n % FOLDS for n, key in enumerate(Draw(seed, "folds").shuffled(keys))}
    for number in range(FOLDS):
        yield (
            [it for it in examples if fold[fingerprint(it[0])] != number],
            [it for it in examples if fold[fingerprint(it[0])] == number],
        )


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN, which misses every goal, if there is no value."""
    return math.fsum(values) / len(values) if values else math.nan


def mean_interval(errors: Sequence[float]) -> str:
    """Return the 95 % bootstrap interval of the mean error."""
    if not errors:
        return ""
    interval = Resampling(len(errors)).interval(errors)
    return f"{interval.low:.4f}-{interval.high:.4f}"

"""The distilled model: nearest neighbours over the words of the training queries.

A query is its set of words and word pairs (adjacent, or with one word between), weighted by rarity.
The nine most similar training queries vote with their labels. The answer is the weighted median of
each modality on the labels' grid. 15,000 rows train in about 2 s; an answer over 2,000 rows takes
less than 1 ms.
"""

import heapq
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from local_stack.bedrock_fake.clock import draw
from local_stack.bedrock_fake.settings import FakeSettings
from local_stack.bedrock_fake.teacher import (
    Answer,
    Teacher,
    dominant,
    levels_of,
    modalities_of,
    snap,
    weights_text,
)

_NEIGHBOURS = 9
_PAIR_DISTANCE = 2  # words up to this far apart form a pair
_MAX_POSTINGS = 200  # rows kept per word
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")

Example = tuple[str, Mapping[str, float]]
Vote = tuple[float, Sequence[float]]


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """One training record; the teacher labels records without an answer."""

    query: str
    system: str = ""
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Student:
    """The trained index of labelled queries."""

    modalities: tuple[str, ...]
    levels: int
    labels: Sequence[Sequence[float]]
    postings: Mapping[str, Sequence[tuple[int, float]]]
    typical: Sequence[float]

    @classmethod
    def train(cls, examples: Sequence[Example]) -> "Student":
        """Return a student of these (query, label) pairs, whose order does not matter."""
        modalities = tuple(dict.fromkeys(name for _, label in examples for name in label))
        rows = sorted(
            (query, tuple(label.get(name, 0.0) for name in modalities)) for query, label in examples
        )
        rows.sort(key=lambda row: draw(0, row[0]))  # shuffled, so that kept postings are a sample
        labels = [label for _, label in rows]
        return cls(
            modalities,
            levels_of([value for label in labels for value in label]),
            labels,
            _index([_terms(query) for query, _ in rows]),
            _medians([(1.0, label) for label in labels]),
        )

    def answer(self, query: str) -> dict[str, float]:
        """Return a weight per modality on the labels' grid; the weights sum to one."""
        votes = [(score, self.labels[row]) for row, score in self._nearest(query)]
        shares = _medians(votes) if votes else self.typical
        return dict(zip(self.modalities, snap(shares, self.levels), strict=True))

    def _nearest(self, query: str) -> list[tuple[int, float]]:
        """Return the most similar rows with their cosine similarity, up to a common factor."""
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
    for distance in range(1, _PAIR_DISTANCE + 1):
        for first, second in zip(words, words[distance:], strict=False):
            yield f"{first} {second}"


def _index(rows: Sequence[Sequence[str]]) -> dict[str, list[tuple[int, float]]]:
    """Return the rows of each term, with the term's share of their cosine similarity."""
    frequency = Counter(term for terms in rows for term in terms)
    rarity = {
        term: math.log((1 + len(rows)) / (1 + count)) + 1.0 for term, count in frequency.items()
    }
    postings: dict[str, list[tuple[int, float]]] = {term: [] for term in frequency}
    for row, terms in enumerate(rows):
        norm = math.sqrt(sum(rarity[term] ** 2 for term in terms))
        for term in terms:
            if len(postings[term]) < _MAX_POSTINGS:
                postings[term].append((row, rarity[term] ** 2 / norm))
    return postings


def _medians(votes: Sequence[Vote]) -> list[float]:
    """Return the weighted median of each modality."""
    half = sum(score for score, _ in votes) / 2
    columns = (
        sorted((label[index], score) for score, label in votes) for index in range(len(votes[0][1]))
    )
    return [_median(column, half) for column in columns]


def _median(column: Sequence[tuple[float, float]], half: float) -> float:
    reached = 0.0
    for value, score in column:
        reached += score
        if reached >= half:
            return value
    return column[-1][0]


@dataclass(frozen=True, slots=True)
class DistilledModel:
    """A trained student behind Converse.

    It answers in the form of its labels. Under a system prompt that it was not trained with, it
    answers in prose, as a real distilled model may.
    """

    student: Student
    system_prompts: frozenset[str]
    with_reasoning: bool

    def reply(self, system: str, query: str, settings: FakeSettings) -> Answer:
        """Answer with the student's weights; a seeded `malformed_rate` of answers is broken."""
        weights = self.student.answer(query)
        if system not in self.system_prompts:
            return Answer(f"This search is probably about {dominant(weights)} content.")
        text = weights_text(weights, with_reasoning=self.with_reasoning)
        if draw(settings.seed, "malformed", query) < settings.malformed_rate:
            return _malformed(text, draw(settings.seed, "malformed form", query))
        return Answer(text)


def _malformed(text: str, form: float) -> Answer:
    if form < 1 / 2:
        return Answer(text[: len(text) // 2], "max_tokens")
    return Answer(text.replace(":", "", 1).removesuffix("}"))


def distill(records: Sequence[TrainingRecord]) -> DistilledModel:
    """Return a model of these records; the teacher labels those without usable weights."""
    teacher = Teacher()
    labels = [_read_label(record.answer) for record in records]
    given = [label for label in labels if label is not None]
    modalities = tuple(dict.fromkeys(name for weights, _ in given for name in weights))
    examples = [
        (
            record.query,
            label[0]
            if label
            else teacher.label(record.query, modalities or modalities_of(record.system)),
        )
        for record, label in zip(records, labels, strict=True)
    ]
    reasoned = sum(has_reasoning for _, has_reasoning in given)
    return DistilledModel(
        Student.train(examples),
        frozenset(record.system for record in records),
        with_reasoning=2 * reasoned > len(given) if given else True,
    )


def _read_label(answer: str | None) -> tuple[dict[str, float], bool] | None:
    """Return weights and whether a reasoning comes with them, or None if they are unusable."""
    try:
        fields = json.loads(answer or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    weights = {
        name: value
        for name, value in fields.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    if not any(weights.values()) or not all(0 <= value <= 1 for value in weights.values()):
        return None
    return {name: float(value) for name, value in weights.items()}, "reasoning" in fields

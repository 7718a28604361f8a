"""Benchmark the local tier: `make bench-local-tier PROMPTS=file`.

Quality: five folds of distinct queries of the prompt file, so that no query is on both sides.
Without a file, labelled prompts are generated. Intervals are 95 % bootstraps. Rivals are trained
and scored on the same folds. Speed: see `local_speed`.

`--plant` doubles the CPU time of each answer: the exit code becomes 1.
"""

import argparse
import json
import math
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from benchmarks.figures import Goal, Row, conclude, options
from benchmarks.local_speed import (
    MAX_ERROR,
    Examples,
    generated,
    import_goal,
    measure_imports,
    measure_speed,
    speed_goals,
    speed_rows,
)
from benchmarks.timing import cpu_seconds, doubled, interleaved
from router_cli import synthesis
from router_cli.synthesis.draws import Draw
from search_router.domain.grading import agrees, errors, within
from search_router.domain.intake.prompt_reader import PromptReader
from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.intake.training_records import MAX_RECORD_BYTES
from search_router.domain.intervals import Resampling
from search_router.domain.local_tier.artifact import pack
from search_router.domain.local_tier.held_out_patterns import hold_out_patterns
from search_router.domain.local_tier.neighbours import Neighbourhood
from search_router.domain.local_tier.training import train
from search_router.domain.queries import fingerprint
from search_router.domain.streams import split_lines
from search_router.domain.weights import (
    Modalities,
    Weights,
    grid_step,
    mean_weights,
    parse_modalities,
    snap,
)

FOLDS = 5
_GENERATED_PROMPTS = 1_000
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


def local_student(examples: Examples, modalities: Modalities) -> Student:
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
    "local tier": local_student,
    "constant mean": constant_mean,
    "TF-IDF + ridge (scikit-learn)": tfidf_ridge,
}


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


def compare_students(examples: Examples, modalities: Modalities) -> list[Row]:
    """Cross-validate every student on the same folds; times are those of the last fold."""
    scored: dict[str, list[Scored]] = {name: [] for name in STUDENTS}
    students: dict[str, Student] = {}
    queries: list[str] = []
    for seen, unseen in folds_of(examples):
        queries = [query for query, _ in unseen]
        for name, make in STUDENTS.items():
            students[name] = make(seen, modalities)
            answers = students[name].predict(queries)
            scored[name] += [
                Scored.of(answer, label) for (_, label), answer in zip(unseen, answers, strict=True)
            ]

    def single(student: Student) -> float:
        return cpu_seconds(lambda: [student.predict([query]) for query in queries])

    times = interleaved({name: partial(single, one) for name, one in students.items()}, rounds=3)
    return [
        {
            **_quality_row(name, scored[name]),
            "CPU µs/query": 1e6 * min(times[name]) / len(queries),
            "artifact kB": student.size / 1_000,
        }
        for name, student in students.items()
    ]


def try_gate(examples: Examples, modalities: Modalities) -> Row:
    """Calibrate the gate on four folds and score what it answers of the fifth."""
    asked, answered = 0, []
    for seen, unseen in folds_of(examples):
        model = train(seen, modalities, MAX_ERROR)
        asked += len(unseen)
        answered += [
            Scored.of(estimate.weights, label)
            for query, label in unseen
            if (estimate := model.answer(query)) is not None
        ]
    share = 100 * len(answered) / asked
    return {**_quality_row("answers that the gate admits", answered), "answered %": share}


def try_new_patterns(examples: Examples, modalities: Modalities) -> Row:
    """Hide a fifth of the query patterns at a time, and ask students of the rest for them."""
    found = hold_out_patterns(examples, modalities, train(examples, modalities, MAX_ERROR).gate)
    if found is None:
        return {"what": "too few patterns", "mean abs. error": None, "answered %": math.nan}
    return {
        "what": f"{found.queries:,} queries of hidden patterns",
        "mean abs. error": found.answered_mae,
        "answered %": 100 * found.answered,
    }


def _quality_row(name: str, rows: Sequence[Scored]) -> Row:
    return {
        "what": name,
        "mean abs. error": mean([row.error for row in rows]),
        "95 % interval": mean_interval([row.error for row in rows]),
        "same dominant %": 100 * mean([row.agrees for row in rows]),
        "within 0.05 %": 100 * mean([row.within_005 for row in rows]),
    }


def quality_goals(students: Sequence[Row], gate: Row, patterns: Row) -> list[Goal]:
    """Return the goals of quality; the error is judged against the students of the same folds."""
    errors = {str(row["what"]): float(str(row["mean abs. error"])) for row in students}
    ours, mean_label, ridge = errors.values()
    error, answered = float(str(gate["mean abs. error"])), float(str(gate["answered %"]))
    return [
        Goal("error / TF-IDF + ridge", ours / ridge, 0.9, "times"),
        Goal("error / constant mean", ours / mean_label, 0.5, "times"),
        Goal("error of answers that the gate admits", error, MAX_ERROR, "per weight"),
        Goal("queries of known patterns that are answered", answered, 85, "%", True),
        Goal(
            "queries of new patterns that are answered", float(str(patterns["answered %"])), 20, "%"
        ),
    ]


def foreign_log(examples: Examples, modalities: Modalities, path: Path) -> tuple[Row, Goal]:
    """Ask a JSONL log of queries that are unlike the prompts: the gate should abstain."""
    model = train(examples, modalities, MAX_ERROR)
    with path.open(encoding="utf-8") as file:
        answers = [model.answer(json.loads(line)["query"]) is not None for line in file]
    answered = 100 * mean(answers)
    row: Row = {"what": f"{len(answers):,} foreign queries", "answered %": answered}
    return row, Goal("foreign queries that are answered", answered, 5, "%")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    given = _parser().parse_args(arguments)
    if given.plant:
        hood: Any = Neighbourhood
        hood.estimate = doubled(hood.estimate)
    modalities = parse_modalities(given.modalities)
    examples = _examples(given.prompts, modalities)
    students, gate = compare_students(examples, modalities), try_gate(examples, modalities)
    patterns = try_new_patterns(examples, modalities)
    speed, starts = measure_speed(), measure_imports()
    rows = [*students, gate, patterns, *speed_rows(speed)]
    rows += [{"what": f"import {name}", "CPU ms": 1e3 * min(s)} for name, s in starts.items()]
    goals = [*quality_goals(students, gate, patterns), *speed_goals(speed), import_goal(starts)]
    if given.query_log:
        row, goal = foreign_log(examples, modalities, given.query_log)
        rows.append(row)
        goals.append(goal)
    source = given.prompts.name if given.prompts else "generated prompts"
    return conclude(f"local tier, {len(examples):,} of {source}", rows, goals, given.json)


def _examples(prompts: Path | None, modalities: Modalities) -> Examples:
    if prompts is None:
        return generated(_GENERATED_PROMPTS)
    with prompts.open("rb") as file:
        return labelled_queries(file, modalities)


def _parser() -> argparse.ArgumentParser:
    parser = options("local_tier", __doc__)
    parser.add_argument("--prompts", type=Path, help="labelled prompts; generated by default")
    parser.add_argument("--query-log", type=Path, help="queries of another kind, JSONL")
    parser.add_argument("--modalities", default=",".join(synthesis.DEFAULT_MODALITIES))
    parser.add_argument("--plant", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Benchmark the local tier: `make bench-local-tier PROMPTS=file`.

Quality: five folds of distinct queries of the prompt file, so that no query is on both sides.
Without a file, labelled prompts are generated. Intervals are 95 % bootstraps.

Speed: CPU time of one thread over generated rows. An answer is measured beside `json.loads` of the
query's log row, a plain scan of the same rows, and answers from fewer and more rows, all in turn.
Sizes that are measured minutes apart differ by the machine's speed: 15,000 rows seemed to cost more
than 200,000. In turn they cost less: both read 280 postings, and score 110 rows instead of 150.

`--plant` doubles the CPU time of each answer: the exit code becomes 1.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.cloud import jsonl
from benchmarks.figures import Goal, Row, conclude, options
from benchmarks.local_students import (
    MAX_ERROR,
    STUDENTS,
    Examples,
    Scored,
    Student,
    folds_of,
    labelled_queries,
    mean,
    mean_interval,
    scanned,
    unbudgeted,
)
from benchmarks.timing import ROUNDS, cpu_seconds, doubled, interleaved, ratio, slope
from router_cli import synthesis
from search_router.domain.local_tier.artefact import pack, unpack
from search_router.domain.local_tier.held_out_patterns import hold_out_patterns
from search_router.domain.local_tier.indexing import index_queries
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.neighbours import Neighbourhood
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Modalities, Weights, parse_modalities

SIZES = (3_750, 7_500, 15_000, 30_000)
SERVED = "search_router.domain.local_tier.artefact"
STANDARD_MODULES = "array, functools, hashlib, json, math, re, struct, unicodedata, zlib"
_GENERATED_PROMPTS = 1_000
_QUERIES, _SCANNED, _LOADS = 500, 50, 20
_SEED = 5
_STARTS = 15
_NO_BYTECODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


@dataclass(frozen=True, slots=True)
class Speed:
    """CPU seconds by round, per query and per artifact loaded."""

    usual_rows: int
    answer: Mapping[float, Sequence[float]]  # by rows
    scan: Sequence[float]  # of the usual rows
    json_row: Sequence[float]
    load: Sequence[float]
    artifact_bytes: Mapping[float, int]
    same_as_scan: float

    @property
    def usual(self) -> Sequence[float]:
        """Return the seconds per answer from the usual rows."""
        return self.answer[self.usual_rows]


def generated(rows: int) -> list[tuple[str, Weights]]:
    """Return distinct generated queries with their labels."""
    names = synthesis.DEFAULT_MODALITIES
    made = islice(synthesis.evaluation_rows(_SEED, rows), rows)
    return [
        (row["query"], tuple(json.loads(row["reference"])[name] for name in names)) for row in made
    ]


def measure_speed(
    sizes: Sequence[int] = SIZES, rounds: int = ROUNDS, count: int = _QUERIES
) -> Speed:
    """Measure answers and their comparisons in turn; the third size is the usual one."""
    usual = sizes[2]
    many = generated(max(sizes) + count)
    queries = [query for query, _ in many[-count:]]
    hoods = {size: index_queries(many[:size], synthesis.DEFAULT_MODALITIES) for size in sizes}
    full = unbudgeted(hoods[usual], many[:usual])
    gate = train(many[:50], synthesis.DEFAULT_MODALITIES, MAX_ERROR).gate
    artifacts = {size: pack(LocalModel(hood, gate)) for size, hood in hoods.items()}
    log = jsonl(
        {**row, "query": query}
        for row, query in zip(synthesis.query_log_rows(_SEED, count, count), queries, strict=True)
    ).splitlines()
    few = queries[:_SCANNED]

    def answer(hood: Neighbourhood) -> float:
        return cpu_seconds(lambda: [hood.estimate(query) for query in queries]) / count

    figures = interleaved(
        {
            "json": lambda: (
                cpu_seconds(lambda: [json.loads(row) for row in log * _LOADS]) / len(log * _LOADS)
            ),
            **{str(size): partial(answer, hood) for size, hood in hoods.items()},
            "scan": lambda: cpu_seconds(lambda: [scanned(full, query) for query in few]) / len(few),
            "load": lambda: cpu_seconds(
                lambda: unpack(artifacts[usual], synthesis.DEFAULT_MODALITIES)
            ),
        },
        rounds,
    )
    same = [(hoods[usual].estimate(query), scanned(full, query)) for query in few]
    return Speed(
        usual_rows=usual,
        answer={float(size): figures[str(size)] for size in sizes},
        scan=figures["scan"],
        json_row=figures["json"],
        load=figures["load"],
        artifact_bytes={float(size): len(artifact) for size, artifact in artifacts.items()},
        same_as_scan=mean([one is not None and one.weights == two for one, two in same]),
    )


def measure_imports() -> dict[str, list[float]]:
    """Measure the import of the local tier and of the standard modules that it needs, in turn."""
    ways = {"local tier": SERVED, "its standard modules": STANDARD_MODULES}
    return interleaved(
        {name: partial(_import_seconds, modules) for name, modules in ways.items()}, _STARTS
    )


def import_goal(starts: Mapping[str, Sequence[float]]) -> Goal:
    """Return the goal of the import's CPU time."""
    ours, standard = starts.values()
    return Goal("import / its standard modules", ratio(ours, standard), 2.0, "times")


def _import_seconds(modules: str) -> float:
    """Return the CPU seconds of these imports in a new interpreter, with bytecode."""
    environment = {name: os.environ[name] for name in os.environ if name not in _NO_BYTECODE}
    program = f"import time; t = time.process_time(); import {modules}"
    command = [sys.executable, "-c", f"{program}; print(time.process_time() - t)"]
    done = subprocess.run(  # noqa: S603 - our own module
        command, env=environment, capture_output=True, check=True, text=True
    )
    return float(done.stdout)


def speed_rows(speed: Speed) -> list[Row]:
    """Return the least CPU time of each measured way."""
    answers: list[Row] = [
        {
            "what": f"local answer, {rows:,.0f} generated rows",
            "CPU µs/query": 1e6 * min(seconds),
            "artifact kB": speed.artifact_bytes[rows] / 1_000,
        }
        for rows, seconds in speed.answer.items()
    ]
    return [
        *answers,
        {
            "what": f"plain scan, {speed.usual_rows:,} generated rows",
            "CPU µs/query": 1e6 * min(speed.scan),
        },
        {"what": "json.loads of a log row", "CPU µs/query": 1e6 * min(speed.json_row)},
        {"what": "load the artifact", "CPU ms": 1e3 * min(speed.load)},
    ]


def speed_goals(speed: Speed) -> list[Goal]:
    """Return the goals of speed and size."""
    per_row = max(size / rows for rows, size in speed.artifact_bytes.items())
    return [
        Goal(
            "local answer / json.loads of the row", ratio(speed.usual, speed.json_row), 70, "times"
        ),
        Goal("local answer / plain scan", ratio(speed.usual, speed.scan), 0.06, "times"),
        Goal("growth of an answer with rows (0: constant)", slope(speed.answer), 0.2, "exponent"),
        Goal("answers that equal the plain scan's", 100 * speed.same_as_scan, 90, "%", True),
        Goal("artifact per row", per_row, 67, "bytes"),
    ]


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

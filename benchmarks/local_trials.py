"""Trying a student: folds of distinct queries, scores per row, and what it costs."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import search_router
from benchmarks.local_rivals import Examples, Student
from router_cli.synthesis.draws import Draw
from search_router.domain.grading import agrees, errors, grade, within
from search_router.domain.queries import fingerprint
from search_router.domain.weights import Weights

FOLDS = 5
_SEED = 1
_BATCH = 1_000
_RESAMPLES = 2_000
_STARTS = 15  # the least of them counts: others use the machine too
_NO_BYTECODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


@dataclass(frozen=True, slots=True)
class Tried:
    """One answer beside its label."""

    query: str
    error: float
    agrees: bool
    within_005: bool
    within_010: bool
    grade: int

    @classmethod
    def of(cls, query: str, answer: Weights, label: Weights) -> "Tried":
        """Score one answer."""
        off = errors(answer, label)
        return cls(
            query,
            sum(off) / len(off),
            agrees(answer, label),
            within(off, 0.05),
            within(off, 0.10),
            grade(answer, label),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """One student on one fold; times are CPU microseconds per query."""

    rows: list[Tried]
    single_us: float
    batch_us: float
    size: int
    imports: str


def folds_of(examples: Examples, seed: int = _SEED) -> Iterator[tuple[Examples, Examples]]:
    """Yield what is seen and what is not, for each of five folds of distinct queries."""
    keys = sorted({fingerprint(query) for query, _ in examples})
    fold = {key: n % FOLDS for n, key in enumerate(Draw(seed, "folds").shuffled(keys))}
    for number in range(FOLDS):
        yield (
            [it for it in examples if fold[fingerprint(it[0])] != number],
            [it for it in examples if fold[fingerprint(it[0])] == number],
        )


def tried(student: Student, unseen: Examples) -> Result:
    """Score a student and take its time, asked one by one and a thousand at once."""
    queries = [query for query, _ in unseen]
    answers = student.predict(queries)
    many = (queries * (_BATCH // len(queries) + 1))[:_BATCH]
    return Result(
        [
            Tried.of(query, answer, label)
            for (query, label), answer in zip(unseen, answers, strict=True)
        ],
        cpu_us(lambda: [student.predict([query]) for query in queries], len(queries)),
        cpu_us(lambda: student.predict(many), len(many)),
        student.size,
        student.imports,
    )


def cpu_us(work: Callable[[], object], queries: int, repeats: int = 3) -> float:
    """Return the least CPU time of several goes, in microseconds per query."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return 1e6 * best / queries


def import_ms(modules: str) -> float:
    """Return the least CPU milliseconds that these imports add to a fresh interpreter's start.

    With bytecode, which pip leaves beside every package, however this process was started.
    """
    environment = {name: os.environ[name] for name in os.environ if name not in _NO_BYTECODE}
    return max(0.0, _start_ms(f"import {modules}", environment) - _start_ms("pass", environment))


def layer_import_ms(modules: str) -> float:
    """Return the same for this project's package without bytecode, as in a layer that has none."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(search_router.__file__).parent
        shutil.copytree(
            package, Path(folder, package.name), ignore=shutil.ignore_patterns("__pycache__")
        )
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        return _start_ms(f"import {modules}", environment) - _start_ms("pass", environment)


def mean_interval(rows: Sequence[Tried]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean error, drawing whole queries."""
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        sums[row.query][0] += row.error
        sums[row.query][1] += 1
    pairs = np.array(list(sums.values()))
    draws = np.random.default_rng(_SEED).integers(len(pairs), size=(_RESAMPLES, len(pairs)))
    totals = pairs[draws].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], (0.025, 0.975))
    return float(low), float(high)


def _start_ms(code: str, environment: Mapping[str, str]) -> float:
    program = f"import time; t = time.process_time(); {code}; print(time.process_time() - t)"
    command = [sys.executable, "-c", program]
    goes = [
        subprocess.run(command, env=environment, capture_output=True, check=True, text=True)  # noqa: S603
        for _ in range(_STARTS)
    ]
    return 1_000 * min(float(go.stdout) for go in goes)

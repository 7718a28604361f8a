"""Measures the CPU time of local answers over generated rows, for `make bench-local-tier`.

An answer is measured beside `json.loads` of the query's log row, a plain scan of the same rows, and
answers from fewer and more rows, all in turn. Sizes that are measured minutes apart differ by the
machine's speed: 15,000 rows seemed to cost more than 200,000. In turn they cost less: both read 280
postings, and score 110 rows instead of 150.
"""

import json
import os
import subprocess
import sys
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import fmean

from benchmarks.cloud import jsonl
from benchmarks.figures import Goal, Row
from benchmarks.timing import ROUNDS, cpu_seconds, interleaved, ratio, slope
from router_cli import synthesis
from search_router.domain.local_tier.artifact import pack, unpack
from search_router.domain.local_tier.indexing import distinct_rows, index_rows
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.neighbours import Neighbourhood, Posting
from search_router.domain.local_tier.terms import terms_of
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Weights

MAX_ERROR = 0.045
SIZES = (3_750, 7_500, 15_000, 30_000)
SERVED = "search_router.domain.local_tier.artifact"
STANDARD_MODULES = "array, functools, hashlib, json, math, re, struct, unicodedata, zlib"
Examples = Sequence[tuple[str, Weights]]
_QUERIES, _SCANNED, _LOADS = 500, 50, 20
_SEED = 5
_STARTS = 15
_NO_BYTECODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


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
    hoods = {
        size: index_rows(distinct_rows(many[:size]), synthesis.DEFAULT_MODALITIES) for size in sizes
    }
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
        same_as_scan=fmean([one is not None and one.weights == two for one, two in same]),
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

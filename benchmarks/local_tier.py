"""`make bench-local-tier PROMPTS=file`: the local tier's student and gate beside its rivals.

Labels come from the file alone: five folds of distinct queries, so that no query is on both sides.
Intervals are 95 % bootstraps over queries. Times are CPU of one thread, of each way on the machine
it happens to run on. The student's few constants were chosen by the same kind of cross-validation
on the public 965 rows: on that file the first figure is a little flattered.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from benchmarks.figures import Goal, Row, conclude
from benchmarks.local_patterns import hold_out_patterns
from benchmarks.local_rivals import (
    MAX_ERROR,
    SERVED,
    SERVED_BY_PYTHON,
    STUDENTS,
    Examples,
    scanned,
    unbudgeted,
)
from benchmarks.local_trials import (
    Result,
    Tried,
    cpu_us,
    folds_of,
    import_ms,
    layer_import_ms,
    mean_interval,
    tried,
)
from router_cli import synthesis
from search_router.domain.intake.prompt_reader import PromptReader
from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.intake.training_records import MAX_RECORD_BYTES
from search_router.domain.local_tier.artifact import pack, unpack
from search_router.domain.local_tier.indexing import distinct_rows, index_rows
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.training import train
from search_router.domain.streams import split_lines
from search_router.domain.weights import Modalities, Weights, mean_weights, parse_modalities

KEPT = (0.95, 0.90, 0.80)  # shares of known queries that the distance lets through
SIZES = (15_000, 200_000)
_QUERIES = 1_000
_SCANNED = 100  # queries that the slow way is measured with
_SEED = 5
_OTHER_DEALS = (2, 3, 4, 5, 6)  # seeds of folds


def read_examples(path: Path, modalities: Modalities) -> list[tuple[str, Weights]]:
    """Read the labelled queries of a prompt file."""
    with path.open("rb") as file:
        records = map(PromptReader(modalities).read, split_lines(file, MAX_RECORD_BYTES))
        return [
            (record.query, record.weights)
            for record in records
            if isinstance(record, PromptRecord) and record.weights is not None
        ]


def compare_students(examples: Examples, modalities: Modalities) -> dict[str, list[Result]]:
    """Cross-validate every student on the same folds."""
    results: dict[str, list[Result]] = {name: [] for name in STUDENTS}
    for seen, unseen in folds_of(examples):
        for name, make in STUDENTS.items():
            results[name].append(tried(make(seen, modalities), unseen))
    return results


def student_row(name: str, results: Sequence[Result]) -> Row:
    """Sum one student's folds up."""
    rows = [row for result in results for row in result.rows]
    low, high = mean_interval(rows)
    return {
        "what": name,
        "MAE": mean([row.error for row in rows]),
        "95 %": f"{low:.4f}-{high:.4f}",
        "dom.": mean([row.agrees for row in rows]),
        "≤.05": mean([row.within_005 for row in rows]),
        "≤.10": mean([row.within_010 for row in rows]),
        "rubric": mean([row.grade for row in rows]),
        "µs": min(result.single_us for result in results),
        "batch µs": min(result.batch_us for result in results),
        "kB": max(result.size for result in results) / 1_000,
        "import ms": import_ms(results[0].imports),
    }


def deal_again(examples: Examples, modalities: Modalities) -> Row:
    """Cross-validate ours on other folds: how much of a figure is the luck of the deal."""
    found = []
    for seed in _OTHER_DEALS:
        errors: list[float] = []
        for seen, unseen in folds_of(examples, seed):
            hood, prior = (
                index_rows(distinct_rows(seen), modalities),
                mean_weights([w for _, w in seen]),
            )
            for query, label in unseen:
                estimate = hood.estimate(query)
                weights = estimate.weights if estimate else prior
                errors.append(Tried.of(query, weights, label).error)
        found.append(mean(errors))
    what = f"ours, {len(found)} other deals: {min(found):.4f}-{max(found):.4f}"
    return {"what": what, "MAE": mean(found)}


def try_gate(examples: Examples, modalities: Modalities) -> tuple[Row, list[Tried]]:
    """Choose the gate on four folds and measure what it answers of the fifth."""
    asked, answered = 0, []
    for seen, unseen in folds_of(examples):
        model = train(seen, modalities, MAX_ERROR)
        for query, label in unseen:
            asked += 1
            estimate = model.answer(query)
            if estimate is not None:
                answered.append(Tried.of(query, estimate.weights, label))
    low, high = mean_interval(answered)
    return {
        "what": "what the gate answers",
        "MAE": mean([row.error for row in answered]),
        "95 %": f"{low:.4f}-{high:.4f}",
        "dom.": mean([row.agrees for row in answered]),
        "≤.05": mean([row.within_005 for row in answered]),
        "≤.10": mean([row.within_010 for row in answered]),
        "rubric": mean([row.grade for row in answered]),
        "known": len(answered) / asked,
    }, answered


def generated(rows: int) -> list[tuple[str, Weights]]:
    """Return distinct generated queries with their labels."""
    names = synthesis.DEFAULT_MODALITIES
    made = islice(synthesis.evaluation_rows(_SEED, rows), rows)
    return [
        (row["query"], tuple(json.loads(row["reference"])[name] for name in names)) for row in made
    ]


def at_size(examples: Examples, queries: Sequence[str]) -> list[Row]:
    """Measure time, size and recall of the student with this many generated rows."""
    hood = index_rows(distinct_rows(examples), synthesis.DEFAULT_MODALITIES)
    gate = train(examples[:2_000], synthesis.DEFAULT_MODALITIES, MAX_ERROR).gate
    artifact = pack(LocalModel(hood, gate))
    load_us = cpu_us(lambda: unpack(artifact, synthesis.DEFAULT_MODALITIES), 1)
    single_us = cpu_us(lambda: [hood.estimate(query) for query in queries], len(queries))
    full = unbudgeted(hood, examples)
    few = queries[:_SCANNED]
    same = [(hood.estimate(query), scanned(full, query)) for query in few]
    return [
        {
            "what": f"ours, {len(examples):,} generated rows",
            "µs": single_us,
            "kB": len(artifact) / 1_000,
            "load ms": load_us / 1_000,
            "as scan": mean([one is not None and one.weights == two for one, two in same]),
        },
        {
            "what": f"plain scan, {len(examples):,} generated rows",
            "µs": cpu_us(lambda: [scanned(full, query) for query in few], len(few), 1),
        },
    ]


def lines_of(path: Path) -> Iterator[str]:
    """Yield the queries of a JSONL query log."""
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line)["query"] for line in file)


def mean(values: Sequence[float]) -> float:
    """Average; NaN of nothing, which misses every goal."""
    return math.fsum(values) / len(values) if values else math.nan


def main() -> int:
    """Run the benchmark."""
    arguments = _arguments()
    modalities = parse_modalities(arguments.modalities)
    examples = read_examples(arguments.prompts, modalities)
    results = compare_students(examples, modalities)
    rows = [student_row(name, found) for name, found in results.items()]
    rows.append(deal_again(examples, modalities))
    rows += [
        {"what": "ours, Python's own modules alone", "import ms": import_ms(SERVED_BY_PYTHON)},
        {"what": "ours, its layer without bytecode", "import ms": layer_import_ms(SERVED)},
    ]
    gate_row, _ = try_gate(examples, modalities)
    curve = hold_out_patterns(examples, modalities, KEPT)
    out = Path(arguments.out)
    many = generated(max(SIZES) + _QUERIES)
    queries = [query for query, _ in many[-_QUERIES:]]
    sizes = [row for size in SIZES for row in at_size(many[:size], queries)]
    goals = [
        Goal("MAE, cross-validated", float(str(rows[0]["MAE"])), 0.040, "per weight"),
        Goal("MAE aimed at", float(str(rows[0]["MAE"])), 0.035, "per weight"),
        Goal(
            "error on what the gate answers", float(str(gate_row["MAE"])), MAX_ERROR, "per weight"
        ),
        Goal("new patterns refused, 90 % of known kept", curve.refused_at(0.90), 0.85, "", True),
        Goal("one query at 15,000 rows", float(str(sizes[0]["µs"])), 200, "µs"),
        Goal("one query at 200,000 rows", float(str(sizes[2]["µs"])), 400, "µs"),
        Goal("import", float(str(rows[0]["import ms"])), 15, "ms"),
        Goal("artifact per 15,000 rows", float(str(sizes[0]["kB"])) / 1_000, 1, "MB"),
    ]
    human: list[Row] = []
    if arguments.query_log:
        model = train(examples, modalities, MAX_ERROR)
        asked = list(lines_of(arguments.query_log))
        taken = sum(model.answer(query) is not None for query in asked)
        human = [
            {"what": f"refused of {len(asked):,} others", "new refused": 1 - taken / len(asked)}
        ]
        goals.append(Goal("of these answered", taken / len(asked), 0.05, ""))
    return conclude("the local tier", [*rows, gate_row, *curve.rows, *sizes, *human], goals, out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=Path, required=True, help="labelled prompts")
    parser.add_argument("--query-log", type=Path, help="queries of another kind, JSONL")
    parser.add_argument("--modalities", default=",".join(synthesis.DEFAULT_MODALITIES))
    parser.add_argument("--out", default="bench-results/local-tier.json")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

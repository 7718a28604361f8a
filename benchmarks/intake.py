"""Benchmark the intake of prompt files: `make bench-intake`, `make bench-intake-gib`.

Every way reads the same generated file, with labels and reasoning, in a process of its own:

    intake          both passes; training set, holdout and rejected lines written to disk
    pydantic loop   json.loads, a pydantic model, a set of seen queries, a line written per record
    json.loads      each line parsed and dropped

`--gib` takes in 1 GiB within the memory of a 512 MB Lambda, beside json.loads of the same file.
`--plant` doubles the CPU time of the intake: the exit code becomes 1.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.figures import Goal, Row, conclude, options
from benchmarks.timing import current_usage, doubled, interleaved, ratio, slope
from router_cli import synthesis
from router_cli.prompt_files import prompt_file
from search_router.domain.intake.prompt_files import select_rows
from search_router.domain.intake.prompts import rejected_line
from search_router.domain.intake.selection import IntakeRules
from search_router.domain.intake.training_records import shards

MIB = 1024**2
LAMBDA_BYTES = 512 * MIB
LAMBDA_CPU_SECONDS = 260  # 15 minutes at 0.29 vCPU, the share of 512 MB
SIZES = (3_750, 7_500, 15_000, 30_000)  # records
_USUAL = 15_000
_ROUNDS = 5
_LARGE_BYTES, _GIB_BYTES, _LONG_LINE_BYTES = 256 * MIB, 1024 * MIB - 16_000, 64 * MIB
_SEED = 11
_ENDLESS = 10**9

Counts = dict[str, int]
Figures = dict[str, float]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Block(_Strict):
    text: str


class _Message(_Strict):
    role: str
    content: list[_Block]


class _Record(_Strict):
    schema_version: str = Field(alias="schemaVersion")
    system: list[_Block]
    messages: list[_Message]


class _Label(BaseModel):
    visual: float
    audio: float
    transcription: float
    metadata: float


def intake(file: Path, out: Path) -> Counts:
    """Take the file in as `shard_prompts` does, with a folder instead of S3."""
    files = [prompt_file(file)]
    rules = IntakeRules(synthesis.DEFAULT_MODALITIES, 0.1)
    with (out / "rejected.jsonl").open("wb") as rejected:
        selection = select_rows(
            files, rules, lambda name, line: rejected.write(rejected_line(name.name, line))
        )
    (out / "training.jsonl").write_bytes(b"".join(row.line for row in selection.training))
    (out / "holdout.jsonl").write_bytes(b"".join(row.line for row in selection.holdout))
    for number, shard in enumerate(shards(selection.training)):
        (out / f"shard-{number:05d}.jsonl").write_bytes(shard)
    return {"rows": selection.counts.rows_in, "rejected": selection.counts.rejected}


def pydantic_loop(file: Path, out: Path) -> Counts:
    """Validate and deduplicate line by line; it checks far less."""
    rows = rejected = 0
    seen: set[str] = set()
    with file.open(encoding="utf-8") as lines, (out / "training.jsonl").open("w") as training:
        for line in lines:
            rows += 1
            try:
                record = _Record.model_validate(json.loads(line))
                _Label.model_validate(json.loads(record.messages[1].content[0].text))
            except (ValueError, ValidationError):
                rejected += 1
                continue
            query = " ".join(record.messages[0].content[0].text.lower().split())
            if query not in seen:
                seen.add(query)
                training.write(record.model_dump_json(by_alias=True) + "\n")
    return {"rows": rows, "rejected": rejected}


def json_loads(file: Path, _: Path) -> Counts:
    """Parse each line and drop it."""
    rows = rejected = 0
    with file.open("rb") as lines:
        for line in lines:
            rows += 1
            try:
                json.loads(line)
            except ValueError:
                rejected += 1
    return {"rows": rows, "rejected": rejected}


WAYS: Mapping[str, Callable[[Path, Path], Counts]] = {
    "intake": intake,
    "pydantic loop": pydantic_loop,
    "json.loads": json_loads,
    "planted": doubled(intake),
}


def labelled_lines() -> Iterator[bytes]:
    """Yield labelled records with reasoning, without end."""
    for record in synthesis.training_records(_SEED, _ENDLESS, with_reasoning=True):
        yield json.dumps(record, ensure_ascii=False).encode() + b"\n"


def odd_lines() -> Iterator[bytes]:
    """Yield short forms that need the slow parser, without end; queries and labels differ."""
    padding = "x" * 240  # 3,000,000 such lines, the most that are allowed, are 1 GiB
    for number in range(_ENDLESS):
        share = (100_000 + number % 800_000) / 1_000_000
        weights = f'"audio": {share}, "visual": {1 - share:.6f}, "transcription": 0, "metadata": 0'
        query = f"{number} \\ud83d\\ude00 {padding}"
        yield f'{{"reference": {{{weights}}}, "query": "{query}"}}\n'.encode()


def write_file(path: Path, lines: Iterable[bytes], size: int) -> Path:
    """Write lines until a file has about this size in bytes."""
    written = 0
    with path.open("wb") as file:
        for line in lines:
            file.write(line)
            written += len(line)
            if written >= size:
                break
    return path


def write_long_line(path: Path) -> Path:
    """Write 1,000 good lines, one line of 64 MiB, and 1,000 more."""
    good = list(islice(labelled_lines(), 2_000))
    with path.open("wb") as file:
        file.writelines(good[:1_000])
        file.write(b'{"query": "' + b"x" * _LONG_LINE_BYTES + b'"}\n')
        file.writelines(good[1_000:])
    return path


def run_way(name: str, file: Path, out: Path) -> None:
    """Run one way in this process and print its figures as JSON."""
    started = time.process_time()
    counts = WAYS[name](file, out)
    work = time.process_time() - started
    usage = current_usage()
    figures = {"work": work, "cpu": usage.cpu_seconds, "peak_mib": usage.peak_bytes / MIB}
    sys.stdout.write(json.dumps({**counts, **figures}))


def measured(name: str, file: Path, *, limited: bool = False) -> Figures:
    """Run one way in a new process, within the memory of a 512 MB Lambda if `limited`."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "benchmarks.intake", "--way", name, str(file), out]
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=_limit if limited else None,
        )
    if done.returncode:
        raise RuntimeError(f"{name} failed on {file.name}: {done.stderr[-2_000:]}")
    found: Figures = json.loads(done.stdout)
    return found


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LAMBDA_BYTES, LAMBDA_BYTES))


def command_seconds(*command: str) -> float:
    """Return the CPU seconds of a Python command, from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], capture_output=True, check=True)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def row_of(file: str, way: str, size: int, rounds: Sequence[Figures]) -> Row:
    """Return one row of the table: median CPU time and the largest peak of memory."""
    work = median(found["work"] for found in rounds)
    return {
        "file": file,
        "way": way,
        "rows": int(rounds[0]["rows"]),
        "rejected": int(rounds[0]["rejected"]),
        "CPU s": work,
        "MiB/CPU s": size / MIB / max(work, 1e-9),
        "peak MiB": max(found["peak_mib"] for found in rounds),
    }


def measure(
    files: Mapping[str, Path], cases: Sequence[tuple[str, str]], rounds: int
) -> dict[tuple[str, str], list[Figures]]:
    """Measure cases of (file, way) in turn; return their figures by round."""
    found: dict[tuple[str, str], list[Figures]] = {case: [] for case in cases}
    for _ in range(rounds):
        for label, way in cases:
            found[label, way].append(measured(way, files[label]))
    return found


def compare(folder: Path, out: Path | None, own: str) -> int:
    """Measure the ways on 15,000 rows, and intake on other sizes and on one long line."""
    names = {size: f"{size:,} rows" for size in SIZES}
    files = {name: folder / f"{size}.jsonl" for size, name in names.items()}
    for size, name in names.items():
        files[name].write_bytes(b"".join(islice(labelled_lines(), size)))
    files["256 MiB"] = write_file(folder / "large.jsonl", labelled_lines(), _LARGE_BYTES)
    files["64 MiB line"] = write_long_line(folder / "long.jsonl")
    usual, others = names[_USUAL], [names[size] for size in SIZES if size != _USUAL]
    ways = (own, "pydantic loop", "json.loads")
    cases = [*((usual, way) for way in ways), *((name, own) for name in others)]
    found = measure(files, [*cases, ("64 MiB line", own), ("64 MiB line", "json.loads")], _ROUNDS)
    found |= measure(files, [("256 MiB", own), ("256 MiB", "json.loads")], 1)
    shell = interleaved(
        {
            "validate": lambda: command_seconds(
                "-m", "router_cli", "validate", "--json", str(files[usual])
            ),
            "intake": lambda: command_seconds(
                "-m", "benchmarks.intake", "--way", own, str(files[usual]), str(folder)
            ),
        },
        3,
    )
    rows = [
        row_of(label, way, files[label].stat().st_size, figures)
        for (label, way), figures in found.items()
    ]
    rows += [
        {"file": usual, "way": f"{way}, whole process", "CPU s": median(seconds)}
        for way, seconds in shell.items()
    ]
    work = {case: [one["work"] for one in figures] for case, figures in found.items()}
    peak = {case: max(one["peak_mib"] for one in figures) for case, figures in found.items()}
    growth = slope({size: work[names[size], own] for size in SIZES})
    long = found["64 MiB line", own][0]

    def beside(label: str, way: str) -> float:
        return ratio(work[label, own], work[label, way])

    goals = [
        Goal(f"{usual}: intake / pydantic loop", beside(usual, "pydantic loop"), 2.0, "times"),
        Goal(f"{usual}: intake / json.loads", beside(usual, "json.loads"), 8.0, "times"),
        Goal("256 MiB: intake / json.loads", beside("256 MiB", "json.loads"), 8.0, "times"),
        Goal("64 MiB line: intake / json.loads", beside("64 MiB line", "json.loads"), 4.0, "times"),
        Goal("growth of intake with rows (1: linear)", growth, 1.1, "exponent"),
        Goal(
            "validate / intake, whole processes",
            *(ratio(shell["validate"], shell["intake"]), 1.75, "times"),
        ),
        Goal(f"{usual}: peak memory", peak[usual, own], 128, "MiB"),
        Goal("256 MiB: peak memory", peak["256 MiB", own], 256, "MiB"),
        Goal("64 MiB line: good rows kept", long["rows"] - long["rejected"], 2_000, "rows", True),
        Goal("64 MiB line: rows rejected", long["rejected"], 1, "rows", True),
    ]
    return conclude("intake of prompt files", rows, goals, out)


def take_in_gib(folder: Path, out: Path | None, own: str) -> int:
    """Take in 1 GiB within a 512 MB Lambda's memory; CPU time is judged beside json.loads."""
    rows: list[Row] = []
    goals: list[Goal] = []
    for label, lines, bound in (("usual", labelled_lines, 8.0), ("odd", odd_lines, 24.0)):
        path = write_file(folder / "gib.jsonl", lines(), _GIB_BYTES)
        found = {
            own: measured(own, path, limited=True),
            "json.loads": measured("json.loads", path),
        }
        rows += [
            {
                **row_of(f"1 GiB, {label}", way, _GIB_BYTES, [figures]),
                "% of Lambda's CPU time": 100 * figures["cpu"] / LAMBDA_CPU_SECONDS,
            }
            for way, figures in found.items()
        ]
        times = found[own]["work"] / found["json.loads"]["work"]
        goals += [
            Goal(f"1 GiB, {label}: intake / json.loads", times, bound, "times"),
            Goal(f"1 GiB, {label}: peak memory", found[own]["peak_mib"], 512, "MiB"),
        ]
        path.unlink()
    return conclude("intake of 1 GiB in a 512 MB Lambda's memory", rows, goals, out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison, or the 1 GiB files, and return the exit code."""
    parser = options("intake", __doc__)
    parser.add_argument("--gib", action="store_true", help="take in 1 GiB instead (minutes)")
    parser.add_argument("--plant", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--way", nargs=3, metavar=("WAY", "FILE", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.way:
        name, file, out = given.way
        run_way(name, Path(file), Path(out))
        return 0
    own = "planted" if given.plant else "intake"
    with tempfile.TemporaryDirectory(prefix="bench-intake-") as folder:
        return (take_in_gib if given.gib else compare)(Path(folder), given.json, own)


if __name__ == "__main__":
    sys.exit(main())

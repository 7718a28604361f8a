"""How fast and in what memory prompt files are taken in: ours, the obvious way, and the limits.

Every way reads the same file in a process of its own, so that its peak memory and CPU time are its
own. The files are made by `generate`, with labels and reasoning.

    ours            both passes, and training set, holdout and rejected lines written to disk
    obvious         a line loop: json.loads, a pydantic model, a set of seen queries, write
    json.loads      the limit of whoever parses each line and does nothing else
    reading         the limit of whoever reads the bytes in chunks
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from benchmarks.figures import Goal, Row, conclude
from benchmarks.intake_files import (
    MEBIBYTE,
    labelled_lines,
    odd_lines,
    with_a_long_line,
    write_file,
)
from benchmarks.intake_ways import WAYS

GIBIBYTE = 1024**3
ROWS = 15_000
LARGE_BYTES = 256 * MEBIBYTE
LAMBDA_CPU_SECONDS = 260  # what 512 MB, 0.29 of a vCPU, have in 15 minutes
LAMBDA_BYTES = 512 * MEBIBYTE


def run_way(name: str, file: Path, out: Path) -> None:
    """Go one way in this process and print what it took; called in a process of its own."""
    started = time.perf_counter()
    before = time.process_time()
    counts = WAYS[name](file, out)
    work = time.process_time() - before
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        **counts,
        "work_s": work,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.perf_counter() - started,
        "peak_mib": _peak_mib(),
    }
    sys.stdout.write(json.dumps(figures))


def _peak_mib() -> float:
    """Return the peak memory of this program; `ru_maxrss` would begin with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE  # bytes where no /proc is


def measured(name: str, file: Path, *, limited: bool = False) -> dict[str, float]:
    """Go one way in a process of its own, in the limits of a 512 MB Lambda if asked for."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "benchmarks.intake", "--way", name, str(file), out]
        done = subprocess.run(  # noqa: S603 - ourselves
            command,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=_limit if limited else None,
        )
    if done.returncode:
        sys.stderr.write(done.stderr[-2_000:])
        raise SystemExit(f"{name} on {file.name} ended with {done.returncode}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LAMBDA_CPU_SECONDS, LAMBDA_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (LAMBDA_BYTES, LAMBDA_BYTES))


def validate_seconds(file: Path) -> float:
    """Run the verb from the shell and return the CPU time of the whole process, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "router_cli", "validate", "--json", str(file)]
    subprocess.run(command, capture_output=True, check=True)  # noqa: S603 - ourselves
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def row_of(file: Path, label: str, way: str, found: Mapping[str, float]) -> Row:
    """Return one row of the table."""
    size = file.stat().st_size / MEBIBYTE
    return {
        "file": label,
        "way": way,
        "rows": int(found["rows"]),
        "rejected": int(found["rejected"]),
        "CPU s": round(found["work_s"], 3),
        "MiB/s of CPU": round(size / max(found["work_s"], 1e-9), 1),
        "wall s": round(found["wall_s"], 3),
        "peak MiB": round(found["peak_mib"], 1),
    }


def compare(folder: Path, out: Path) -> int:
    """Measure every way on the three files."""
    rows: list[Row] = []
    found: dict[tuple[str, str], dict[str, float]] = {}
    small, large, long = folder / "rows.jsonl", folder / "large.jsonl", folder / "long.jsonl"
    with small.open("wb") as file:
        file.writelines(islice(labelled_lines(), ROWS))
    write_file(large, labelled_lines(), LARGE_BYTES)
    with_a_long_line(long)
    for label, path in (("15,000 rows", small), ("256 MiB", large), ("64 MiB line", long)):
        for way in WAYS:
            found[label, way] = measured(way, path)
            rows.append(row_of(path, label, way, found[label, way]))
    shell = validate_seconds(small)
    rows.append({"file": "15,000 rows", "way": "validate, from the shell", "CPU s": shell})
    few, many, odd = (found[label, "ours"] for label in ("15,000 rows", "256 MiB", "64 MiB line"))
    speed = large.stat().st_size / MEBIBYTE / many["work_s"]
    goals = [
        Goal("15,000 rows: work", few["work_s"], 1.0, "s of CPU"),
        Goal("15,000 rows: validate", shell, 2.0, "s of CPU"),
        Goal("15,000 rows: memory", few["peak_mib"], 128, "MiB"),
        Goal("256 MiB: speed", speed, 25, "MiB/s of CPU", at_least=True),
        Goal("256 MiB: memory", many["peak_mib"], 256, "MiB"),
        Goal("64 MiB line: work", odd["work_s"], 2.0, "s of CPU"),
        Goal("64 MiB line: good lines kept", odd["rows"] - odd["rejected"], 2_000, "", True),
        Goal("64 MiB line: refused", odd["rejected"], 1, "", at_least=True),
    ]
    return conclude("Taking in prompt files", rows, goals, out)


def worst_cases(folder: Path, out: Path) -> int:
    """Take in 1 GiB within what a 512 MB Lambda has; a limit that is passed kills the process."""
    rows: list[Row] = []
    goals: list[Goal] = []
    cases = (("1 GiB, usual", labelled_lines), ("1 GiB, odd", odd_lines))
    for label, lines in cases:
        path = folder / "gibibyte.jsonl"
        write_file(path, lines(), GIBIBYTE - 16_000)
        found = measured("ours", path, limited=True)
        rows.append(row_of(path, label, "ours", found))
        goals += [
            Goal(f"{label}: CPU", found["cpu_s"], LAMBDA_CPU_SECONDS, "s"),
            Goal(f"{label}: memory", found["peak_mib"], LAMBDA_BYTES / MEBIBYTE, "MiB"),
        ]
        path.unlink()
    return conclude("Worst cases in the limits of a 512 MB Lambda", rows, goals, out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison, or the worst cases."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--gib", action="store_true", help="the worst cases instead")
    parser.add_argument("--out", type=Path, default=Path("bench-results/intake.json"))
    parser.add_argument("--way", nargs=3, metavar=("WAY", "FILE", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.way:
        name, file, out = given.way
        run_way(name, Path(file), Path(out))
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-intake-") as folder:
        return (worst_cases if given.gib else compare)(Path(folder), given.out)


if __name__ == "__main__":
    sys.exit(main())

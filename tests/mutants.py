"""`make mutants`: change one operator of the layer at a time and run the tests that reach it.

Samples the lines on which Cosmic Ray finds a mutation, with a fixed seed, and makes one mutant of
each. The unit and integration tests that run code of the mutated function judge the mutant.
"""

import ast
import random
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from coverage import CoverageData

ROOT = Path(__file__).parent.parent
LAYER, WORK = "layers/shared/search_router", ROOT / "build" / "mutation"
SEED, SAMPLE, PROCESSES, TEST_SECONDS = 2026, 150, 2, 60
NEAREST = 12  # most mutants fail one of the first few tests, and few tests start faster
# Bit operators make a TypeError of most lines; the last two operators need arguments.
SKIPPED = re.compile("_Bit|Shift|VariableReplacer|VariableInserter")
KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"
MODULES = {str(p.relative_to(ROOT)): p.read_text("utf-8") for p in (ROOT / LAYER).rglob("*.py")}


class Mutant(NamedTuple):
    """One changed line; `path` is relative to the repository, lines count from 1."""

    path: str
    line: int
    code: str

    def __str__(self) -> str:
        lines = zip(MODULES[self.path].splitlines(), self.code.splitlines(), strict=False)
        old, new = next((a.strip(), b.strip()) for a, b in lines if a != b)
        return f"{self.path.removeprefix(LAYER + '/')}:{self.line}  {old}  ->  {new}"


def sample() -> list[Mutant]:
    """Draw the mutants from the layer as it is now; decorators stay as they are."""
    found = defaultdict(list)
    operators = [get_operator(name)() for name in operator_names() if not SKIPPED.search(name)]
    for path, source in sorted(MODULES.items()):
        nodes, lines = list(ast_nodes(get_ast(source))), source.splitlines()
        for operator in operators:
            positions = (place for node in nodes for place in operator.mutation_positions(node))
            for occurrence, ((line, _), _) in enumerate(positions):
                if not lines[line - 1].lstrip().startswith("@"):
                    found[path, line].append((operator, occurrence))
    drawn: list[Mutant] = []
    chance = random.Random(SEED)  # noqa: S311
    for path, line in chance.sample(sorted(found), len(found)):
        code = mutate_code(MODULES[path], *chance.choice(found[path, line]))
        try:
            compile(code, path, "exec")
        except SyntaxError:
            continue
        drawn.append(Mutant(path, line, code))
        if len(drawn) == SAMPLE:
            return drawn
    sys.exit(f"the layer has fewer than {SAMPLE} lines to mutate")


class Reach:
    """Which test functions run which lines, from one run of all tests with coverage."""

    def __init__(self, copy: Path) -> None:
        parallel = [f"-n{PROCESSES}", "--dist=loadfile", "--no-loadscope-reorder"]
        coverage = [f"--cov={LAYER}", "--cov-context=test", "--cov-report="]
        ran = run_tests(copy, "tests/unit", "tests/integration", *parallel, *coverage)
        if ran.returncode > 1:  # 1 says that tests failed: those do not judge
            sys.exit(f"pytest could not run the tests:\n{ran.stdout[-4000:]}")
        self._failing = set(re.findall(r"^(?:FAILED|ERROR) ([^ \[]+)", ran.stdout, re.MULTILINE))
        print("".join(f"fails without a mutant: {it}\n" for it in self._failing))  # noqa: T201
        data = CoverageData(str(copy / ".coverage"))
        data.read()
        self._lines = {path: data.contexts_by_lineno(str(copy / path)) for path in MODULES}
        self._sizes = Counter(test for path in MODULES for test in self._of(path))

    def tests(self, mutant: Mutant) -> list[str]:
        """Return the judges: first the module's own test file, then tests that run fewest modules.

        All tests of the module and of its importers judge a line outside of functions. The own file
        always judges: of a cached function, coverage sees only the first call.
        """
        name = mutant.path.removeprefix(f"{LAYER}/").removesuffix(".py").replace("/", ".")
        functions = (
            n for n in ast.walk(ast.parse(MODULES[mutant.path])) if isinstance(n, ast.FunctionDef)
        )
        bodies = [range(n.body[0].lineno, (n.end_lineno or 0) + 1) for n in functions]
        if inside := [body for body in bodies if mutant.line in body]:
            found = self._of(mutant.path, min(inside, key=len))
        else:
            users = [path for path, source in MODULES.items() if f"{name} import" in source]
            found = set().union(*map(self._of, [mutant.path, *users]))
        own = f"/test_{name.rpartition('.')[2]}.py"
        found |= {test for test in self._sizes if own in test}
        found -= self._failing
        return sorted(found, key=lambda test: (own not in test, self._sizes[test], test))

    def _of(self, path: str, lines: range = range(10**5)) -> set[str]:
        contexts = (c for n, found in self._lines[path].items() if n in lines for c in found if c)
        return {context.rpartition("|")[0].partition("[")[0] for context in contexts}


def run_tests(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a copy of the repository."""
    python = str(ROOT / ".venv" / "bin" / "python")
    command = [python, "-mpytest", "-q", "-pno:cacheprovider", *arguments]
    return subprocess.run(command, cwd=copy, stdout=subprocess.PIPE, text=True, check=False)


def judge(mutant: Mutant, tests: list[str], copies: "SimpleQueue[Path]") -> str:
    """Run the tests on one mutant in a free copy of the repository."""
    copy, verdict = copies.get(), SURVIVED
    (copy / mutant.path).write_text(mutant.code, "utf-8")
    for some in filter(None, (tests[:NEAREST], tests[NEAREST:])):
        ran = run_tests(copy, "-x", "-n0", f"--timeout={TEST_SECONDS}", *some)
        if ran.returncode:
            verdict = TIMED_OUT if "Timeout (>" in ran.stdout else KILLED
            break
    shutil.copy2(ROOT / mutant.path, copy / mutant.path)
    copies.put(copy)
    return verdict


def main() -> None:
    """Judge the sample; print the survivors and a table by package."""
    chosen, copies, counts = sample(), SimpleQueue[Path](), defaultdict[str, Counter[str]](Counter)
    shutil.rmtree(WORK, ignore_errors=True)
    omit = shutil.ignore_patterns(".git", ".venv", "build", ".hypothesis", "__pycache__")
    for number in range(PROCESSES):
        copies.put(shutil.copytree(ROOT, WORK / str(number), ignore=omit))
    reach = Reach(WORK / "0")
    with ThreadPoolExecutor(PROCESSES) as pool:
        jobs = [pool.submit(judge, mutant, reach.tests(mutant), copies) for mutant in chosen]
        for mutant, job in zip(chosen, jobs, strict=True):
            for package in (str(Path(mutant.path).parent.relative_to(LAYER)), "total"):
                counts[package][job.result()] += 1
            if job.result() != KILLED:
                print(f"{job.result()}: {mutant}", flush=True)  # noqa: T201
    columns = [KILLED, SURVIVED, TIMED_OUT]
    table = [
        ("package", *columns),
        *((name, *map(n.__getitem__, columns)) for name, n in sorted(counts.items())),
    ]
    lines = [f"{row[0]:24}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in table]
    score = 1 - counts["total"][SURVIVED] / SAMPLE
    print("", *lines, f"{score:.0%} of {SAMPLE} mutants fail a test or time out", sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()

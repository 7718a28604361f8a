"""Whatever process collects the tests finds the same ones: ids hold no time, hash, zone or locale.

pytest-xdist refuses to run when two workers disagree, so an id must not differ between them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TESTS

ROOT = TESTS.parent
# A day apart, as if between the two collections lay more than any clock rounds away.
COLLECT = """
import sys, time
import pytest
now, now_ns, apart = time.time, time.time_ns, int(sys.argv[1])
time.time = lambda: now() + apart
time.time_ns = lambda: now_ns() + apart * 10**9
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""
HERE = {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "apart": "0"}
THERE = {"PYTHONHASHSEED": "2", "TZ": "UTC", "LC_ALL": "C.UTF-8", "apart": "86400"}
PLANTED = {
    "the time in gzip": "__import__('gzip').compress(b'')",
    "the time": "str(__import__('time').time_ns() // 10**9)",
    "the hash seed": "str(hash('query'))",
    "the time zone": "__import__('time').strftime('%Z')",
    "the locale": "__import__('os').environ['LC_ALL']",
}


def collected_twice(*arguments: str) -> tuple[list[str], list[str]]:
    """Collect in two processes at once and return the ids that each found."""
    started = []
    for circumstances in (HERE, THERE):
        environment = os.environ | circumstances
        command = [sys.executable, "-c", COLLECT, environment.pop("apart"), *arguments]
        started.append(
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        )
    first, second = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], first + second
    return ids_in(first), ids_in(second)


def ids_in(output: str) -> list[str]:
    return [line for line in output.splitlines() if "::" in line]


@pytest.mark.sweep
def test_every_process_collects_the_same_tests() -> None:
    first, second = collected_twice("tests")

    assert len(first) > 2_000
    assert first == second
    assert all(name.isascii() and name.isprintable() for name in first)


@pytest.mark.sweep
def test_an_id_that_differs_between_processes_is_found(tmp_path: Path) -> None:
    cases = [f"pytest.param({code}, id=repr({code}))" for code in PLANTED.values()]
    tests = [
        f"@pytest.mark.parametrize('data', [{case}])\ndef test_{number}(data): pass\n"
        for number, case in enumerate(cases)
    ]
    file = tmp_path / "test_planted.py"
    file.write_text("import pytest\n" + "\n".join(tests))

    first, second = collected_twice(str(file), "--noconftest", "-c", os.devnull)

    assert len(first) == len(second) == len(PLANTED)
    same = [name for name, one, other in zip(PLANTED, first, second, strict=True) if one == other]
    assert same == []

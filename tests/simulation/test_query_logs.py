"""Query logs in simulated time: whatever goes wrong, every row comes out once.

`make simulate SEEDS=10000` runs more of the same histories, `make simulate SEED=7` tells one.
"""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.simulation.histories import run_history
from tests.simulation.planted_bugs import PLANTED_BUGS, planted
from tests.simulation.summary import run_many, told
from tests.simulation.wiring import ROOT
from tests.sweeps import sampled

SEEDS = 12
FOUND_WITHIN = 25


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_no_history_breaks_a_promise(seed: int) -> None:
    assert run_history(seed).violations == ()


@pytest.mark.sweep
def test_of_500_histories_none_breaks_a_promise_and_every_kind_of_trouble_is_met(
    tell: Callable[[str], None],
) -> None:
    summary = run_many(range(1, 501), processes=2)  # 90 s of two idle cores

    tell(told(summary))
    assert not summary.broken, told(summary)
    assert summary.never_fired == []


@pytest.mark.parametrize("name", sampled(PLANTED_BUGS, kept=4))
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        found = any(run_history(seed).violations for seed in range(1, FOUND_WITHIN + 1))

    assert found


def test_a_seed_is_the_same_history_in_every_process() -> None:
    def digest(hash_seed: str) -> str:
        code = "from tests.simulation.histories import run_history as run; print(run(8).digest)"
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'layers' / 'shared'}"
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return run.stdout.strip()

    run_history(7)  # what this process has run before must not matter either
    assert {digest("1"), digest("2")} == {run_history(8).digest}


def test_histories_differ() -> None:
    assert len({run_history(seed).digest for seed in range(1, 6)}) == 5

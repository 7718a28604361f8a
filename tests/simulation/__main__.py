"""`python -m tests.simulation`: run many histories, or replay one and tell it line by line."""

import argparse
import sys

from tests.conftest import pytest_configure

pytest_configure()  # before the product is imported: Powertools reads the environment then

from tests.simulation.histories import run_history  # noqa: E402
from tests.simulation.summary import run_many, told  # noqa: E402


def main() -> int:
    """Run what the command line asks for; 1 if any history broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="run seeds 1 to this many")
    parser.add_argument("--seed", type=int, help="replay one history and print what happened")
    parser.add_argument("--processes", type=int, default=2)
    wanted = parser.parse_args()
    if wanted.seed is not None:
        report = run_history(wanted.seed, verbose=True)
        broken = [f"BROKEN: {violation}" for violation in report.violations]
        sys.stdout.write("\n".join([*report.lines, *broken, ""]))
        return bool(broken)
    summary = run_many(range(1, wanted.seeds + 1), wanted.processes)
    sys.stdout.write(told(summary) + "\n")
    return bool(summary.broken)


if __name__ == "__main__":
    sys.exit(main())

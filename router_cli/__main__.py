"""`search-router VERB`: reads the arguments, runs one verb, turns errors into exit codes.

0: done. 1: the work failed; the message says what to do next. 2: wrong usage.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from router_cli.console import fail
from router_cli.failures import CommandError
from search_router.domain.errors import SearchRouterError

VERBS = (
    "validate",
    "generate",
    "label",
    "upload",
    "runs",
    "distill",
    "promote",
    "rollback",
    "champions",
    "report",
    "route",
    "results",
    "compare",
    "export",
    "redrive",
    "cost",
    "cleanup",
    "local",
)
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="search-router", description="Distil, evaluate and run a video-search query router."
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in _named(arguments):
        importlib.import_module(f"router_cli.{verb}").add_parser(verbs)
    parsed = parser.parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except (CommandError, SearchRouterError) as error:
        return fail(str(error))
    except ModuleNotFoundError as error:  # matplotlib: `make demo` does not install it
        return fail(f"{error.name} is not installed: run `make setup`")
    except KeyboardInterrupt:
        fail("interrupted")
        return _INTERRUPTED
    return code


def _named(arguments: Sequence[str]) -> Sequence[str]:
    """Return the verb asked for, so that `validate` need not import boto3; all for the help."""
    return [verb for verb in VERBS if arguments and arguments[0] == verb] or VERBS


if __name__ == "__main__":
    sys.exit(main())

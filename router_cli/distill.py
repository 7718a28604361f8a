"""`search-router distill RUN [--again]`: takes a run up again that ended without a model."""

import argparse
from typing import Any

from router_cli.console import print_json, say
from router_cli.stack import add_stack_arguments, open_stack
from search_router.use_cases.restart_run import RestartRun


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("distill", help="start a failed or stopped run again")
    parser.add_argument("run_id", metavar="RUN")
    parser.add_argument(
        "--again",
        action="store_true",
        help="buy another job; without it a job that lives or is completed is adopted",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start the run and say how it is watched."""
    stack = open_stack(arguments)
    restarted = RestartRun(stack.run_deployments)(arguments.run_id, again=arguments.again)
    if arguments.json:
        print_json(restarted.model_dump(mode="json", include={"run_id", "state", "attempt"}))
    else:
        say(
            f"{restarted.run_id} starts with attempt {restarted.attempt}; "
            f"`search-router runs {restarted.run_id}` shows how far it is"
        )
    return 0

"""`search-router promote RUN`: a person approves a model that awaits it."""

import argparse
from typing import Any

from router_cli.console import print_json, say
from router_cli.stack import add_stack_arguments, open_stack
from search_router.domain.lifecycle.runs import Run
from search_router.use_cases.champion_moves import Approve


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("promote", help="approve a run that is AWAITING_APPROVAL")
    parser.add_argument("run_id", metavar="RUN")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Promote the run's model."""
    stack = open_stack(arguments)
    approve = Approve(stack.champions, stack.lifecycle)
    approved = approve(arguments.run_id, "approved by an operator")
    if arguments.json:
        fields = {"run_id", "state", "champion_version"}
        print_json(approved.model_dump(mode="json", include=fields))
    else:
        say(_said(approved))
    return 0


def _said(run: Run) -> str:
    if run.promoted:
        return (
            f"{run.run_id} serves as version {run.champion_version}; "
            "`search-router rollback` undoes it"
        )
    return (
        "another champion came meanwhile: the run is compared with that one first; "
        f"`search-router runs {run.run_id}` shows when it awaits approval again"
    )

"""`search-router rollback [--to VERSION]`: lets a former champion serve again."""

import argparse
from typing import Any

from router_cli.console import print_json, say
from router_cli.stack import add_stack_arguments, open_stack
from search_router.use_cases.champion_moves import Rollback


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("rollback", help="let a former champion serve again")
    parser.add_argument(
        "--to", type=int, metavar="VERSION", help="default: the champion before this one"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Move the pointer back."""
    stack = open_stack(arguments)
    rollback = Rollback(stack.champions, stack.deployments, stack.lifecycle.clock)
    former = rollback(arguments.to, "rolled back by an operator")
    if arguments.json:
        print_json({"champion_version": former.version, "run_id": former.run_id})
    else:
        say(f"version {former.version} of {former.run_id} serves from the next query on")
    return 0

"""`search-router champions`: every model that ever served, and every move between them."""

import argparse
from typing import Any

from router_cli.console import print_json, print_table
from router_cli.stack import Stack, add_stack_arguments, open_stack


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("champions", help="list the models that served or serve")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print versions and moves."""
    stack = open_stack(arguments)
    champions = _champions(stack)
    moves = [move.model_dump(mode="json") for move in stack.champions.moves()]
    if arguments.json:
        print_json({"champions": champions, "moves": moves})
        return 0
    columns = ("version", "run_id", "promoted_at", "serves", "deployed")
    print_table("Champions", columns, [[row[name] for name in columns] for row in champions])
    names = ("moved_at", "from_version", "to_version", "reason")
    print_table("Moves", names, [[move[name] for name in names] for move in moves])
    return 0


def _champions(stack: Stack) -> list[dict[str, Any]]:
    current = stack.champions.current()
    deployed = set(stack.deployments.arns())
    return [
        {
            "version": champion.version,
            "run_id": champion.run_id,
            "promoted_at": champion.promoted_at.isoformat(),
            "previous_version": champion.previous_version,
            "serves": current is not None and champion.version == current.version,
            "deployed": champion.serving.model_id in deployed,
            "deployment_arn": champion.serving.model_id,
        }
        for champion in stack.champions.history()
    ]

"""`search-router route QUERY`: one signed request to the route API."""

import argparse
from typing import Any

from router_cli import api
from router_cli.console import print_json, print_table
from router_cli.stack import Stack, open_stack


def run(arguments: argparse.Namespace) -> int:
    """Print the weights of one query."""
    reply = ask(open_stack(arguments), arguments.query)
    if arguments.json:
        print_json(reply)
        return 0
    details = f"{reply['tier']}, {reply['status']}, champion {reply['champion_version']}"
    rows = [(name, f"{weight:.4g}") for name, weight in reply["weights"].items()]
    print_table(f"Weights ({details}, {reply['latency_ms']} ms)", ["modality", "weight"], rows)
    return 0


def ask(stack: Stack, query: str) -> dict[str, Any]:
    """Return the route API's reply for one query; raises CommandError."""
    return api.post(stack, "route", f"{stack.route_url.rstrip('/')}/route", {"query": query})

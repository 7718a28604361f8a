"""`search-router results LOG --out FILE`: one tidy file from a log's parts, in input order."""

import argparse
import json
from pathlib import Path
from typing import Any

from router_cli.console import print_json, print_table
from router_cli.failures import CommandError
from router_cli.stack import Stack, add_stack_arguments, open_stack
from search_router.domain import naming
from search_router.domain.query_logs import LogState
from search_router.domain.routing import query_digest


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("results", help="fetch a routed query log")
    parser.add_argument("log_id", metavar="LOG")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rows as JSON Lines")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a log's summary and, if asked, write its rows."""
    stack = open_stack(arguments)
    summary = read_summary(stack, arguments.log_id)
    if arguments.out:
        summary["distinct"] = write_rows(stack, arguments.log_id, arguments.out)
    if arguments.json:
        print_json(summary)
    else:
        shown = {k: v for k, v in summary.items() if k != "weight_histograms"}
        print_table(arguments.log_id, ["", ""], shown.items())
    return 0


def read_summary(stack: Stack, log_id: str) -> dict[str, Any]:
    """Read the summary of a routed log; raises CommandError while there is none."""
    log = stack.ledger.get(log_id)
    if log is None:
        raise CommandError(f"there is no query log {log_id}; `search-router runs` lists them")
    if log.state is LogState.FAILED:
        raise CommandError(f"{log_id} failed: {log.reason}")
    if log.state is not LogState.ROUTED:
        raise CommandError(f"{log_id} is not finished: {log.parts} of {log.splits} parts")
    summary: dict[str, Any] = json.loads(stack.objects.get(naming.log_key(log_id, "summary.json")))
    return summary


def write_rows(stack: Stack, log_id: str, out: Path) -> int:
    """Write all parts in input order and return the number of distinct queries."""
    distinct: set[str] = set()
    manifest = json.loads(stack.objects.get(naming.log_key(log_id, "manifest.json")))
    with out.open("wb") as file:
        for part in manifest["parts"]:
            body = stack.objects.get(part["key"])
            file.write(body)
            rows = (json.loads(line) for line in body.split(b"\n") if line)
            distinct.update(query_digest(row["query"]) for row in rows)
    return len(distinct)

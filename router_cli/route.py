"""`search-router route "query"`: ask the route API for one query's weights, signed."""

import argparse
import json
import urllib.error
import urllib.request
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from router_cli.console import print_json, print_table
from router_cli.failures import CommandError
from router_cli.stack import Stack, add_stack_arguments, open_stack

_TIMEOUT_SECONDS = 30


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("route", help="route one query")
    parser.add_argument("query")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the weights of one query."""
    reply = ask(open_stack(arguments), arguments.query)
    if arguments.json:
        print_json(reply)
        return 0
    rows = [[name, weight] for name, weight in reply["weights"].items()]
    where = f"{reply['tier']}, {reply['status']}, champion {reply['champion_version']}"
    print_table(f"Weights ({where}, {reply['latency_ms']} ms)", ["modality", "weight"], rows)
    return 0


def ask(stack: Stack, query: str) -> dict[str, Any]:
    """POST one query with a SigV4 signature; raises CommandError with the API's own message."""
    url = f"{stack.route_url.rstrip('/')}/route"
    request = AWSRequest(
        method="POST",
        url=url,
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    SigV4Auth(stack.credentials(), "lambda", stack.region).add_auth(request)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    signed = urllib.request.Request(  # noqa: S310 - the stack's own output, https or loopback
        url, request.data, dict(request.headers), method="POST"
    )
    try:
        with opener.open(signed, timeout=_TIMEOUT_SECONDS) as response:
            reply: dict[str, Any] = json.load(response)
            return reply
    except urllib.error.HTTPError as error:
        message = error.read().decode(errors="replace")[:500]
        raise CommandError(f"the route API answered {error.code}: {message}") from None
    except OSError as error:
        raise CommandError(f"the route API cannot be reached: {error}") from None

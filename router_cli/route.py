"""`search-router route QUERY`: one signed request to the route API."""

import argparse
import json
from http import HTTPStatus
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session

from router_cli.console import CommandError, print_json, print_table
from router_cli.stack import Stack, open_stack

_TIMEOUT_SECONDS = 30


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
    """POST one query with a SigV4 signature and return the API's reply; raises CommandError."""
    request = AWSRequest(
        method="POST",
        url=f"{stack.route_url.rstrip('/')}/route",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    SigV4Auth(stack.credentials(), "lambda", stack.region).add_auth(request)
    try:
        response = URLLib3Session(timeout=_TIMEOUT_SECONDS).send(request.prepare())
    except HTTPClientError as error:
        raise CommandError(f"cannot reach the route API: {error}. Try again.") from None
    if response.status_code != HTTPStatus.OK:
        raise CommandError(f"the route API answered {response.status_code}: {response.text[:500]}")
    reply: dict[str, Any] = json.loads(response.content)
    return reply

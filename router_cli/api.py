"""Signed requests to the stack's HTTP API: its function URLs authorise callers by IAM."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session

from router_cli.console import CommandError
from router_cli.stack import Stack

_TIMEOUT_SECONDS = 30
_SHOWN_CHARACTERS = 500


class RejectedError(CommandError):
    """The API rejected the request; `field` names the parameter, if one is to blame."""

    def __init__(self, message: str, status: int, field: str) -> None:
        super().__init__(message)
        self.status = status
        self.field = field


def get(stack: Stack, what: str, url: str, parameters: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """GET with a query string; raises RejectedError or CommandError. `what` names the API."""
    # "%20" and not "+": the signature covers the query string as it is sent.
    text = urlencode(parameters, quote_via=quote, safe="")
    return _send(stack, what, AWSRequest(method="GET", url=f"{url}?{text}"))


def post(stack: Stack, what: str, url: str, body: dict[str, object]) -> dict[str, Any]:
    """POST a JSON object; raises RejectedError or CommandError. `what` names the API."""
    headers = {"Content-Type": "application/json"}
    data = json.dumps(body).encode()
    return _send(stack, what, AWSRequest(method="POST", url=url, data=data, headers=headers))


def _send(stack: Stack, what: str, request: AWSRequest) -> dict[str, Any]:
    SigV4Auth(stack.credentials(), "lambda", stack.region).add_auth(request)
    try:
        response = URLLib3Session(timeout=_TIMEOUT_SECONDS).send(request.prepare())
    except BotoCoreError as error:
        raise CommandError(f"cannot reach the {what} API: {error}. Try again.") from None
    if response.status_code != HTTPStatus.OK:
        raise _error(what, response.status_code, response.text)
    reply: dict[str, Any] = json.loads(response.content)
    return reply


def _error(what: str, status: int, text: str) -> CommandError:
    answered = f"the {what} API answered {status}: {text[:_SHOWN_CHARACTERS]}"
    try:
        problem = json.loads(text)
        message, field = str(problem["message"]), str(problem.get("field", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        return CommandError(answered)
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        return RejectedError(message, status, field)
    return CommandError(answered)

"""A boto3 client wired to a double of the same process: real SDK, no socket, thousands a second."""

import io
from collections.abc import Callable
from typing import Any, cast

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError

from local_stack.bedrock_double.api import HttpReply


def connect(client: Any, answer: Callable[[str, str, bytes], HttpReply]) -> None:
    """Let a `bedrock` or `bedrock-runtime` client be answered by `BedrockDouble.answer`.

    A lost reply reaches the SDK as a closed connection, which it retries as it would on AWS.
    """

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        target = request.url.partition("://")[2].partition("/")[2]
        reply = answer(request.method, f"/{target}", _bytes(request.body))
        if reply.is_lost:
            raise ConnectionClosedError(endpoint_url=request.url)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body))}
        if reply.error_type:
            headers["x-amzn-ErrorType"] = reply.error_type
        return AWSResponse(request.url, reply.status, cast("Any", headers), _Raw(reply.body))

    client.meta.events.register("before-send", send)


class _Raw(io.BytesIO):
    """A body in the form that botocore reads from."""

    def stream(self, **_: object) -> Any:
        yield self.read()


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else bytes(body)

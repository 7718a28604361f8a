"""Runs one cold start of the API: imports the function, answers one query, reports the CPU time.

It is run by path, `python -S first_answer.py functions|libraries`, with the unpacked layer and the
function in PYTHONPATH, so that only deployed modules can be imported. Event and AWS's replies come
from stdin; the replies are given inside the process. `libraries` imports no module of the project.
"""

import importlib
import io
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Answer = Callable[[], object]


def libraries(_: dict[str, Any]) -> Answer:
    """Import the libraries that an answer needs; the first answer makes two clients."""
    import botocore.session
    from aws_lambda_powertools import Logger, Metrics, Tracer
    from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver
    from pydantic import create_model

    create_model("Champion", version=int)
    for make in (Logger, Metrics, LambdaFunctionUrlResolver):
        make()
    Tracer(auto_patch=False)

    def make_clients() -> None:
        session = botocore.session.get_session()
        for service in ("dynamodb", "bedrock-runtime"):
            session.create_client(service, region_name="us-east-1")

    return make_clients


def functions(event: dict[str, Any]) -> Answer:
    """Import the function; an answer is one call of its handler."""
    handler: Any = importlib.import_module("app").lambda_handler

    def answer() -> None:
        reply = handler(event, _Context())
        if reply["statusCode"] != 200:
            raise RuntimeError(reply["body"])

    return answer


class _Context:
    function_name = function_version = aws_request_id = invoked_function_arn = "route_api"
    memory_limit_in_mb = 512

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


class _Body(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


def answer_at_once(replies: dict[str, Any]) -> None:
    """Replace botocore's transport; Bedrock's requests are those without a target."""
    from botocore.awsrequest import AWSResponse
    from botocore.compat import HTTPHeaders
    from botocore.httpsession import URLLib3Session

    def send(_session: object, request: Any) -> AWSResponse:
        target = request.headers.get("X-Amz-Target", b"")
        name = target.decode() if isinstance(target, bytes) else target
        headers = HTTPHeaders()
        headers["Content-Type"] = "application/json"
        body: Any = _Body(json.dumps(replies[name]).encode())
        return AWSResponse(request.url, 200, headers, body)

    transport: Any = URLLib3Session
    transport.send = send


def main() -> None:
    """Run one cold start."""
    given = json.load(sys.stdin)
    begin = time.process_time()
    first_answer = {"functions": functions, "libraries": libraries}[sys.argv[1]](given["event"])
    imported = time.process_time()
    answer_at_once(given["replies"])
    asked = time.process_time()
    first_answer()
    answered = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {"import": imported - begin, "answer": answered - asked, "peak_kib": peak}
    sys.stderr.write(json.dumps(figures))


if __name__ == "__main__":
    main()

"""One Lambda environment: a child process that runs one function's handler, event by event.

`python -m benchmarks.lambda_process FUNCTION` reads one event per line. It answers with the
handler's result and the process's CPU seconds and peak memory. The function's log goes to stderr.
`--plant` doubles the CPU time of each model call.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from botocore.client import BaseClient

from benchmarks.timing import Usage, current_usage, doubled

PROJECT = Path(__file__).resolve().parent.parent
_TIMEOUT_SECONDS = 900


class LambdaProcess:
    """A child process that holds one function; `usage` is what it has used so far."""

    def __init__(
        self, function: str, environment: Mapping[str, str], folder: Path, *options: str
    ) -> None:
        self._function = function
        self._log = (folder / f"{function}-{time.monotonic_ns()}.log").open("wb")
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", __spec__.name, function, *options],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=PROJECT,
        )
        self.usage = Usage()

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Return the handler's result; raise RuntimeError with the end of the log if it failed."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        self._process.stdin.write(json.dumps(event).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        reply: Any = json.loads(line) if line else {"error": "the process ended"}
        if "error" in reply:
            tail = Path(self._log.name).read_text("utf-8", "replace")[-2_000:]
            raise RuntimeError(f"{self._function}: {reply['error']}\n{tail}")
        self.usage = Usage(**reply["usage"])
        return reply["result"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        self._log.close()


def upload_event(bucket: str, key: str, version_id: str, size: int) -> dict[str, Any]:
    """Return S3's event for an uploaded query log."""
    event = _example("split_query_log")
    event["detail"]["bucket"]["name"] = bucket
    event["detail"]["object"].update({"key": key, "version-id": version_id, "size": size})
    return event


def complete_event(log_id: str) -> dict[str, Any]:
    """Return the event that all parts of a log are written."""
    event = _example("finish_query_log")
    event["detail"]["log_id"] = log_id
    return event


def split_event(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the batch of one message that Lambda makes of a reply of SQS's ReceiveMessage."""
    record: dict[str, Any] = _example("route_queries")["Records"][0]
    receives = message["Attributes"]["ApproximateReceiveCount"]
    changed = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": record["attributes"] | {"ApproximateReceiveCount": receives},
    }
    return {"Records": [record | changed]}


def _example(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((PROJECT / "events" / f"{name}.json").read_bytes())
    return event


@dataclass(frozen=True, slots=True)
class _Context:
    """The fields of Lambda's context that handlers and Powertools read."""

    function_name: str
    deadline: float
    memory_limit_in_mb: int = 1024
    function_version: str = "$LATEST"
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        return int((self.deadline - time.monotonic()) * 1000)


def plant_slow_model_calls() -> None:
    """Make each Converse call of this process take twice its CPU time."""
    client: Any = BaseClient
    call = client._make_api_call  # noqa: SLF001 - every operation goes through it
    slow_call = doubled(call)

    def planted(self: Any, operation: str, parameters: Any) -> Any:
        return (slow_call if operation == "Converse" else call)(self, operation, parameters)

    client._make_api_call = planted  # noqa: SLF001


def serve(function: str) -> None:
    """Answer events until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the function prints is its log
    handler = importlib.import_module(f"functions.{function}.app").lambda_handler
    for line in sys.stdin:
        context = _Context(function, time.monotonic() + _TIMEOUT_SECONDS)
        try:
            result = handler(json.loads(line), context)
            reply = {"result": result, "usage": asdict(current_usage())}
        except Exception as error:  # noqa: BLE001 - the parent raises it again
            reply = {"error": repr(error)}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def main() -> None:
    """Apply the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("function", help="the folder's name in functions/")
    parser.add_argument("--plant", action="store_true", help="double the CPU time of model calls")
    given = parser.parse_args()
    if given.plant:
        plant_slow_model_calls()
    serve(given.function)


if __name__ == "__main__":
    main()

"""One Lambda environment: a process that runs one function's handler, one event at a time.

`python -m benchmarks.lambda_process FUNCTION` reads an event per line and answers with the
handler's result and what the process has used so far: CPU seconds and peak memory.
What the function logs goes to stderr.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

TIMEOUT_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of all threads, and the peak of resident memory, since the process began."""

    cpu_seconds: float = 0.0
    peak_bytes: int = 0


class LambdaProcess:
    """A child process with a function inside; `invoke` runs it, `usage` tells what it took."""

    def __init__(self, function: str, environment: Mapping[str, str], folder: Path) -> None:
        self._function = function
        self._log = (folder / f"{function}-{time.monotonic_ns()}.log").open("wb")
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", __spec__.name, function],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=Path(__file__).resolve().parent.parent,
        )
        self.usage = Usage()

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Return the handler's result; RuntimeError with the end of the log if it failed."""
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


@dataclass(frozen=True, slots=True)
class Context:
    """What handlers and Powertools look at in Lambda's context."""

    function_name: str
    deadline: float
    memory_limit_in_mb: int = 1024
    function_version: str = "$LATEST"
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"

    @property
    def invoked_function_arn(self) -> str:
        """Return an ARN of the right form."""
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Return what is left of 15 minutes."""
        return int((self.deadline - time.monotonic()) * 1000)


def current_usage() -> Usage:
    """Return what this process has used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(used.ru_utime + used.ru_stime, _peak_bytes(used.ru_maxrss))


def _peak_bytes(maxrss: int) -> int:
    """Return the peak of resident memory since this program began.

    On Linux `ru_maxrss` starts with the size of the process that started this one; the kernel's
    own status file does not.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return maxrss  # macOS, in bytes
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


def serve(function: str) -> None:
    """Answer events until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the function prints is its log
    handler = importlib.import_module(f"functions.{function}.app").lambda_handler
    for line in sys.stdin:
        context = Context(function, time.monotonic() + TIMEOUT_SECONDS)
        try:
            result = handler(json.loads(line), context)
            reply = {"result": result, "usage": asdict(current_usage())}
        except Exception as error:  # noqa: BLE001 - the parent raises it again
            reply = {"error": repr(error)}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1])

"""A local stack in its own process: `search-router local up` and `local down`.

`python -m local_stack.background [OPTIONS_AS_JSON]` runs the stack until a signal ends it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from local_stack.connection import StackConnection
from local_stack.launcher import PROJECT, LocalStack, LocalStackOptions
from local_stack.processes import LocalStackError
from local_stack.state_file import published, running_stacks, runtime_folder
from local_stack.template import SamTemplate

# The first start installs the layer's dependencies.
_START_SECONDS = 300
_STOP_SECONDS = 15
_POLL_SECONDS = 0.1
_WATCH_SECONDS = 0.5


def start_in_background(options: LocalStackOptions, environ: Mapping[str, str]) -> StackConnection:
    """Start a stack that outlives this process; return it when it is deployed.

    Raises `LocalStackError` with the end of its log if it fails or takes over five minutes.
    """
    SamTemplate.load(options.template).check_parameters(options.parameters)
    folder = runtime_folder(environ)
    log = folder / "local-up.log"
    # `subprocess` would warn that the process is never waited for.
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "local_stack.background", to_json(options)],
        {**environ, "PYTHONPATH": str(PROJECT)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,  # closing the terminal must not end it
    )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        for connection in running_stacks(folder):
            if connection.pid == pid:
                return connection
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            raise LocalStackError(f"the local stack did not start:\n{log.read_text()[-4000:]}")
        time.sleep(_POLL_SECONDS)
    os.kill(pid, signal.SIGTERM)
    raise LocalStackError(f"the local stack was not deployed in {_START_SECONDS} s. See {log}.")


def stop_in_background(connection: StackConnection) -> None:
    """Stop a stack of another process; return when its processes and folder are gone."""
    os.kill(connection.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while connection.folder.exists():
        if time.monotonic() > deadline:
            raise LocalStackError(
                f"process {connection.pid} did not end in {_STOP_SECONDS} s. "
                f"`kill -9 {connection.pid}` ends it and all its children."
            )
        time.sleep(_POLL_SECONDS)


def serve(options: LocalStackOptions, environ: Mapping[str, str]) -> None:
    """Run a stack with a state file until a signal arrives or one of its processes dies."""
    folder = runtime_folder(environ)
    with LocalStack(options) as stack, published(stack.connection, folder):
        while True:
            stack.require_alive()
            time.sleep(_WATCH_SECONDS)


def to_json(options: LocalStackOptions) -> str:
    """Return options as a command-line argument of this module."""
    values = asdict(options) | {"template": str(options.template)}
    return json.dumps(values | {"parameters": dict(options.parameters)})


def from_json(text: str) -> LocalStackOptions:
    """Return the options that `to_json` wrote."""
    values = json.loads(text)
    return LocalStackOptions(**(values | {"template": Path(values["template"])}))


def main(arguments: list[str]) -> int:
    """Run in the foreground; return 1 if the stack fails."""
    options = from_json(arguments[0]) if arguments else LocalStackOptions()
    try:
        serve(options, os.environ)
    except LocalStackError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is a command
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A local stack in a process of its own: `search-router local up` and `local down`."""

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
from local_stack.state_file import announced, running_stacks, runtime_folder

# The first start installs the layer's dependencies.
_START_SECONDS = 300
_STOP_SECONDS = 15
_POLL_SECONDS = 0.1
_WATCH_SECONDS = 0.5


def start_in_background(options: LocalStackOptions, environ: Mapping[str, str]) -> StackConnection:
    """Start a stack that goes on after this process and return it when it is deployed.

    Raises `LocalStackError` with the end of its log if it ends or is not deployed in five minutes.
    """
    folder = runtime_folder(environ)
    log = folder / "local-up.log"
    # Unlike `subprocess`, this expects nobody to wait for the process.
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "local_stack", to_json(options)],
        {**environ, "PYTHONPATH": str(PROJECT)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        # Closing the terminal must not end it.
        setsid=True,
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
    raise LocalStackError(f"the local stack was not deployed in {_START_SECONDS} s; see {log}")


def stop_in_background(connection: StackConnection) -> None:
    """End a stack that another process runs and return when nothing of it is left."""
    os.kill(connection.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while connection.folder.exists():
        if time.monotonic() > deadline:
            raise LocalStackError(
                f"process {connection.pid} did not end in {_STOP_SECONDS} s; "
                f"`kill -9 {connection.pid}` ends it and all its children"
            )
        time.sleep(_POLL_SECONDS)


def serve(options: LocalStackOptions, environ: Mapping[str, str]) -> None:
    """Run a stack, announced to other processes, until a signal ends this one or a part dies."""
    folder = runtime_folder(environ)
    with LocalStack(options) as stack, announced(stack.connection, folder):
        while True:
            stack.require_alive()
            time.sleep(_WATCH_SECONDS)


def to_json(options: LocalStackOptions) -> str:
    """Return options as one argument for `python -m local_stack`."""
    values = asdict(options) | {"template": str(options.template)}
    return json.dumps(values | {"parameters": dict(options.parameters)})


def from_json(text: str) -> LocalStackOptions:
    """Return the options that `to_json` wrote."""
    values = json.loads(text)
    return LocalStackOptions(**(values | {"template": Path(values["template"])}))

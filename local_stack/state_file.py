"""The small file by which `search-router --local` finds a stack that another process runs."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from local_stack.connection import StackConnection
from local_stack.processes import LocalStackError


def runtime_folder(environ: Mapping[str, str]) -> Path:
    """Return this user's folder for state files, made if absent and closed to others.

    Raises `LocalStackError` if somebody else owns it, who could send us to another endpoint.
    """
    parent = Path(environ.get("XDG_RUNTIME_DIR", tempfile.gettempdir()))
    folder = parent / f"search-router-{os.getuid()}"
    folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise LocalStackError(f"{folder} must be a folder of yours that only you can open")
    return folder


@contextlib.contextmanager
def announced(connection: StackConnection, folder: Path) -> Iterator[Path]:
    """Leave the state file of a stack in `folder` for the time of the block."""
    path = folder / f"{connection.pid}.json"
    values = asdict(connection) | {"folder": str(connection.folder)}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values), encoding="utf-8")
    partial.replace(path)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def running_stacks(folder: Path) -> list[StackConnection]:
    """Return the stacks that are running, newest first; files of dead ones are removed."""
    found = sorted(folder.glob("*.json"), key=_changed_at, reverse=True)
    stacks = []
    for path in found:
        connection = _read(path)
        if connection is not None and connection.is_running():
            stacks.append(connection)
        else:
            path.unlink(missing_ok=True)
    return stacks


def find_running_stack(folder: Path) -> StackConnection:
    """Return the stack that was started last.

    Raises `LocalStackError` if none is running.
    """
    stacks = running_stacks(folder)
    if not stacks:
        raise LocalStackError("no local stack is running: start one with `search-router local up`")
    return stacks[0]


def _changed_at(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _read(path: Path) -> StackConnection | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return StackConnection(**(values | {"folder": Path(values["folder"])}))
    except (OSError, ValueError, KeyError, TypeError):
        return None

"""The state file by which `search-router --local` finds a stack in another process.

Importing this module loads neither boto3 nor the emulator.
"""

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

STACK_NAME = "search-router"


def runtime_folder(environ: Mapping[str, str]) -> Path:
    """Return this user's private folder for state files; create it if it does not exist.

    Raises `LocalStackError` if another user can write to it.
    """
    parent = Path(environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = parent / f"search-router-{os.getuid()}"
    with contextlib.suppress(FileExistsError):  # checked below
        folder.mkdir(mode=stat.S_IRWXU)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise LocalStackError(f"folder is not private: {folder}. Only you may have access to it.")
    return folder


@contextlib.contextmanager
def published(connection: StackConnection, folder: Path) -> Iterator[Path]:
    """Write the state file of a stack to `folder`; remove it at the end of the block."""
    path = folder / f"{connection.pid}.json"
    values = asdict(connection) | {"folder": str(connection.folder)}
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=stat.S_IRUSR | stat.S_IWUSR, exist_ok=False)
    partial.write_text(json.dumps(values), encoding="utf-8")
    partial.replace(path)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def running_stacks(folder: Path) -> list[StackConnection]:
    """Return the running stacks, newest first; remove the files of others."""
    stacks = []
    for path in sorted(folder.glob("*.json"), key=_changed_at, reverse=True):
        connection = _read(path)
        if connection is not None and connection.is_running():
            stacks.append(connection)
        else:
            path.unlink(missing_ok=True)
    return stacks


def find_running_stack(folder: Path) -> StackConnection:
    """Return the newest running stack; raises `LocalStackError` if there is none."""
    stacks = running_stacks(folder)
    if not stacks:
        raise LocalStackError("no local stack is running. Start one with `search-router local up`.")
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

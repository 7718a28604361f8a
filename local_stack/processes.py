"""Child processes that cannot outlive the stack, and the folder they share."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

FOLDER_PREFIX = "search-router-local-"
_FOLDER_NAME = re.compile(re.escape(FOLDER_PREFIX) + r"(?P<pid>\d+)-")
_POLL_SECONDS = 0.02


class LocalStackError(RuntimeError):
    """The local stack could not be started, deployed or reached; the text says what to do."""


class ChildProcess:
    """A process in a session of its own that ends when its parent closes the pipe to its stdin.

    The child promises to end at end of file on stdin. The kernel closes the pipe with the parent,
    so this holds after `kill -9` too.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        env: Mapping[str, str],
        cwd: Path,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log_file = folder / f"{name}.log"
        self._output_file = folder / f"{name}.out"
        with self.log_file.open("ab") as log, self._output_file.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=log,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    def require_alive(self) -> None:
        """Raise `LocalStackError` with the end of the log if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise LocalStackError(f"{self.name} ended with exit code {code}:\n{self.log_tail()}")

    def send_line(self, message: Mapping[str, object]) -> None:
        """Write one JSON line to the process, whose stdin stays open."""
        stdin = self._stdin()
        try:
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            self._process.wait()
            self.require_alive()

    def first_line(self, *, timeout_seconds: float) -> dict[str, Any]:
        """Wait for the JSON line that the process prints when it is ready."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            line, ended, _ = self._output_file.read_text(encoding="utf-8").partition("\n")
            if ended:
                ready: dict[str, Any] = json.loads(line)
                return ready
            self.require_alive()
            time.sleep(_POLL_SECONDS)
        raise LocalStackError(
            f"{self.name} was not ready in {timeout_seconds:.0f} s:\n{self.log_tail()}"
        )

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines the process wrote to stderr."""
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:]) or "(it wrote nothing)"

    def stop(self) -> None:
        """End the process and everything it started, at once: all they hold is thrown away."""
        # The group is gone if its last member is; macOS answers EPERM for a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._stdin().close()

    def _stdin(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise LocalStackError(f"{self.name} was started without a pipe")
        return self._process.stdin


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Yield a temp folder named after this process, locked while in use and removed after."""
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-"))
    try:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_stale_folders(parent: Path | None = None) -> list[Path]:
    """Remove the folders that killed stacks left in `parent` (the temp folder), and return them."""
    stale = [
        folder
        for folder in (parent or Path(tempfile.gettempdir())).glob(f"{FOLDER_PREFIX}*")
        if _is_abandoned(folder)
    ]
    for folder in stale:
        shutil.rmtree(folder, ignore_errors=True)
    return stale


def is_alive(pid: int) -> bool:
    """Return whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_abandoned(folder: Path) -> bool:
    """Return whether the owner is gone: its id is dead and nobody holds the lock.

    The id covers the moment before the lock is taken; the lock covers an owner in another process
    namespace (a container sharing the temp folder), whose id means nothing here.
    """
    name = _FOLDER_NAME.match(folder.name)
    if name is None or folder.is_symlink() or is_alive(int(name["pid"])):
        return False
    try:
        with (folder / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True

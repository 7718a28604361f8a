"""Files that the verbs write: complete or not there, never in place of a device or pipe."""

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from router_cli.console import CommandError

STDOUT = Path("-")
_STDOUT_NAMES = {STDOUT, Path("/dev/stdout"), Path("/dev/fd/1"), Path("/proc/self/fd/1")}
_DESCRIPTORS = ("/dev/", "/proc/")


def is_stdout(out: Path | None) -> bool:
    """Return whether an output is stdout, by any of its names."""
    return out in _STDOUT_NAMES


@contextmanager
def output(out: Path) -> Iterator[IO[bytes]]:
    """Open an output for writing.

    A regular file, also behind a link, is written beside and gets its name when it is complete.
    Devices and pipes are written to. Raises CommandError if the output cannot be written.
    """
    if is_stdout(out):
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        if is_replaceable(out):
            with _beside(Path(os.path.realpath(out))) as file:
                yield file
        else:
            with out.open("wb") as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror or error}.") from None


def is_replaceable(out: Path) -> bool:
    """Return whether an output is a regular file, or none yet."""
    if is_stdout(out) or out.as_posix().startswith(_DESCRIPTORS):
        return False
    try:
        return stat.S_ISREG(out.stat().st_mode)
    except FileNotFoundError:
        return True


@contextmanager
def _beside(target: Path) -> Iterator[IO[bytes]]:
    """Write a file under another name, then rename it; keep the permissions of the one before."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:  # follows no link that was put there
            yield file
        with suppress(FileNotFoundError):
            shutil.copymode(target, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)

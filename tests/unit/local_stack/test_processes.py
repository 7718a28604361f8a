"""Children end with their parent, and what a killed parent leaves is swept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_stack.processes import (
    FOLDER_PREFIX,
    ChildProcess,
    LocalStackError,
    is_alive,
    own_folder,
    sweep_stale_folders,
)

# Above the largest process id of Linux and macOS.
DEAD_PID = 2**22 + 1


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or waits for its new parent to notice."""
    state = subprocess.run(
        ["/bin/ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return not state.strip() or state.startswith("Z")


def spawn(tmp_path: Path, program: str) -> ChildProcess:
    return ChildProcess(
        "child", [sys.executable, "-c", program], folder=tmp_path, env={}, cwd=tmp_path
    )


def test_a_child_reports_and_is_ended_with_what_it_started(tmp_path: Path) -> None:
    child = spawn(
        tmp_path,
        "import json, subprocess, sys\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print(json.dumps({'inner': inner.pid, 'got': input()}), flush=True)\n"
        "input()",
    )
    child.send_line({"setting": 1})
    ready = child.first_line(timeout_seconds=10)
    child.require_alive()

    child.stop()

    assert ready["got"] == '{"setting": 1}'
    assert not is_alive(child.pid)
    assert has_ended(ready["inner"])
    with pytest.raises(LocalStackError, match="exit code -9"):
        child.require_alive()


def test_a_child_that_dies_early_shows_the_end_of_its_log(tmp_path: Path) -> None:
    child = spawn(tmp_path, "raise SystemExit('no such thing')")

    with pytest.raises(LocalStackError, match=r"child ended with exit code 1:\nno such thing"):
        child.first_line(timeout_seconds=10)
    child.stop()


def test_a_child_that_does_not_listen_any_more_shows_the_end_of_its_log(tmp_path: Path) -> None:
    child = spawn(tmp_path, "import os, sys; os.close(0); sys.exit('cannot go on')")
    child._process.wait()

    with pytest.raises(LocalStackError, match="cannot go on"):
        child.send_line({"setting": 1})
    child.stop()


def test_a_child_that_prints_nothing_times_out(tmp_path: Path) -> None:
    child = spawn(tmp_path, "input()")

    with pytest.raises(LocalStackError, match="was not ready"):
        child.first_line(timeout_seconds=0.05)
    child.stop()


def test_only_folders_of_dead_owners_are_swept(tmp_path: Path) -> None:
    abandoned = tmp_path / f"{FOLDER_PREFIX}{DEAD_PID}-a"
    alive = tmp_path / f"{FOLDER_PREFIX}{os.getpid()}-b"
    foreign = tmp_path / f"{FOLDER_PREFIX}something"
    for folder in (abandoned, alive, foreign):
        (folder / "inside").mkdir(parents=True)
    link = tmp_path / f"{FOLDER_PREFIX}{DEAD_PID}-link"
    link.symlink_to(foreign)

    assert sweep_stale_folders(tmp_path) == [abandoned]
    assert not abandoned.exists()
    assert (alive / "inside").exists()
    assert (foreign / "inside").exists()


def test_a_locked_folder_is_spared_although_its_pid_means_nothing_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getpid", lambda: DEAD_PID)

    with own_folder() as folder:
        assert sweep_stale_folders() == []
        assert folder.exists()
    assert not folder.exists()

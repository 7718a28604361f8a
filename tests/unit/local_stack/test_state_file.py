"""Other processes find a running stack, and only a running one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_stack import connection as connection_module
from local_stack.background import from_json, to_json
from local_stack.connection import StackConnection
from local_stack.launcher import LocalStackOptions
from local_stack.processes import LocalStackError, new_caller
from local_stack.state_file import (
    find_running_stack,
    published,
    running_stacks,
    runtime_folder,
)

DEAD_PID = 2**22 + 1
BUSY_FOR = 10.0


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    return runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)})


@pytest.fixture(autouse=True)
def healthy(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The endpoints that answer, be it after a while: this machine may be busy."""
    endpoints = {"http://127.0.0.1:1", "http://127.0.0.1:2"}

    def answers_at_last(endpoint: str, *, timeout_seconds: float) -> bool:
        return endpoint in endpoints and timeout_seconds >= BUSY_FOR

    monkeypatch.setattr(connection_module, "answers", answers_at_last)
    return endpoints


def stack(tmp_path: Path, *, port: int = 1, pid: int | None = None) -> StackConnection:
    return StackConnection(
        endpoint=f"http://127.0.0.1:{port}",
        bedrock_endpoint="http://127.0.0.1:9",
        vectors_endpoint="http://127.0.0.1:8",
        outputs={"UploadBucketName": "uploads"},
        pid=os.getpid() if pid is None else pid,
        folder=tmp_path,
        caller=new_caller(),
    )


def test_an_announced_stack_is_found_as_it_was_until_it_ends(tmp_path: Path, runtime: Path) -> None:
    connection = stack(tmp_path)

    with published(connection, runtime) as path:
        assert find_running_stack(runtime) == connection
        assert path.stat().st_mode & 0o077 == 0 or runtime.stat().st_mode & 0o077 == 0
    with pytest.raises(LocalStackError, match="search-router local up"):
        find_running_stack(runtime)


@pytest.mark.parametrize(
    "broken",
    ["dead process", "no answer", "no folder"],
)
def test_a_stack_that_is_gone_is_swept(tmp_path: Path, runtime: Path, broken: str) -> None:
    connection = {
        "dead process": stack(tmp_path, pid=DEAD_PID),
        "no answer": stack(tmp_path, port=3),
        "no folder": stack(tmp_path / "removed"),
    }[broken]

    with published(connection, runtime) as path:
        assert running_stacks(runtime) == []
        assert not path.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"endpoint": "http://127.0.0.1:1"}', "null"])
def test_an_unreadable_file_is_swept(runtime: Path, text: str) -> None:
    (runtime / "7.json").write_text(text)

    assert running_stacks(runtime) == []
    assert list(runtime.iterdir()) == []


def test_the_newest_stack_is_the_one_that_is_meant(tmp_path: Path, runtime: Path) -> None:
    older, newer = stack(tmp_path, port=1), stack(tmp_path, port=2, pid=os.getppid())

    with published(newer, runtime), published(older, runtime) as path:
        os.utime(path, (1, 1))
        assert running_stacks(runtime) == [newer, older]


def test_a_folder_that_others_can_write_is_rejected(tmp_path: Path) -> None:
    folder = runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    folder.chmod(0o777)

    with pytest.raises(LocalStackError, match="not private"):
        runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_options_survive_the_way_to_another_process() -> None:
    options = LocalStackOptions(parameters={"Stage": "prod"}, job_seconds=1.5, seed=3)

    assert from_json(to_json(options)) == options


def test_finding_a_stack_imports_neither_boto3_nor_the_emulator() -> None:
    program = "import sys, local_stack.state_file; print(*sys.modules)"

    modules = subprocess.check_output([sys.executable, "-c", program], text=True).split()

    assert "local_stack.connection" in modules
    assert not {"boto3", "botocore", "ministack", "samtranslator"} & set(modules)

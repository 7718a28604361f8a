"""However the local stack ends, no process, port or folder of it is left."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local_stack import launcher
from local_stack.background import start_in_background, stop_in_background, to_json
from local_stack.connection import StackConnection
from local_stack.launcher import PROJECT, LocalStack, LocalStackOptions
from local_stack.processes import FOLDER_PREFIX, LocalStackError
from local_stack.state_file import running_stacks, runtime_folder
from tests.waiting import PATIENCE_SECONDS, eventually


def processes() -> dict[int, tuple[int, int]]:
    """Return (parent, group) of every process that is not just waiting to be reaped."""
    listed = subprocess.run(
        ["/bin/ps", "-A", "-o", "pid=,ppid=,pgid=,stat="],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (line.split() for line in listed.stdout.splitlines())
    return {int(row[0]): (int(row[1]), int(row[2])) for row in rows if row[3][0] != "Z"}


def members_of(owner: int) -> set[int]:
    """Return the children of the owner and everything in their process groups."""
    everyone = processes()
    groups = {pid for pid, (parent, _) in everyone.items() if parent == owner}
    return {pid for pid, (_, group) in everyone.items() if group in groups}


def is_open(endpoint: str) -> bool:
    address = urlsplit(endpoint)
    with socket.socket() as probe:
        return probe.connect_ex((address.hostname, address.port)) == 0


@dataclass
class Owner:
    """A process that runs the sample stack, with one handler in the middle of its work."""

    process: subprocess.Popen[bytes]
    connection: StackConnection
    temp: Path
    members: set[int]

    def nothing_runs(self) -> bool:
        connection = self.connection
        endpoints = (
            connection.endpoint,
            connection.bedrock_endpoint,
            connection.vectors_endpoint,
        )
        open_ports = map(is_open, endpoints)
        return not self.members & processes().keys() and not any(open_ports)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """An environment with a temp and a runtime folder of its own, both with a space."""
    environ = dict(os.environ)
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
        folder = tmp_path / f"the {name.lower()}"
        folder.mkdir()
        environ[name] = str(folder)
    return environ


@pytest.fixture
def owner(sample_template: Path, places: dict[str, str]) -> Iterator[Owner]:
    options = LocalStackOptions(template=sample_template)
    process = subprocess.Popen(
        [sys.executable, "-m", "local_stack.background", to_json(options)], env=places, cwd=PROJECT
    )
    try:
        yield _owner_of(process, places)
    finally:
        process.kill()
        process.wait()


def _owner_of(process: subprocess.Popen[bytes], places: dict[str, str]) -> Owner:
    """Wait until the stack runs and a handler is sleeping."""
    runtime = runtime_folder(places)
    eventually(lambda: bool(running_stacks(runtime)), "the stack did not start")
    (connection,) = running_stacks(runtime)

    connection.client("sqs").send_message(
        QueueUrl=connection.outputs["BatchQueueUrl"], MessageBody="sleep"
    )
    table = connection.outputs["RecordsTableName"]
    dynamodb = connection.client("dynamodb")
    eventually(lambda: dynamodb.scan(TableName=table)["Count"] > 0, "no handler runs")
    members = members_of(process.pid)
    assert len(members) == 4  # emulator, two fakes, worker
    return Owner(process, connection, Path(places["TMPDIR"]), members)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)],
)
def test_a_signal_ends_everything_at_once(
    owner: Owner, places: dict[str, str], number: signal.Signals, code: int
) -> None:
    owner.process.send_signal(number)

    assert owner.process.wait(PATIENCE_SECONDS) == code
    assert owner.nothing_runs()
    assert list(owner.temp.iterdir()) == []
    assert list(runtime_folder(places).iterdir()) == []


def test_kill_9_leaves_a_folder_that_the_next_start_removes(
    owner: Owner, sample_template: Path, places: dict[str, str]
) -> None:
    owner.process.kill()
    owner.process.wait()

    eventually(owner.nothing_runs, "something outlived its parent")
    assert [path.name for path in owner.temp.iterdir()] == [owner.connection.folder.name]
    assert running_stacks(runtime_folder(places)) == []

    next_one = start_in_background(LocalStackOptions(template=sample_template), places)
    try:
        assert [path.name for path in owner.temp.iterdir()] == [next_one.folder.name]
        assert next_one.client("sqs").list_queues()["QueueUrls"]
    finally:
        stop_in_background(next_one)
        os.waitpid(next_one.pid, 0)
    assert list(owner.temp.iterdir()) == []
    assert not is_open(next_one.endpoint)


def test_a_start_that_fails_leaves_nothing(
    sample_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(launcher, "BEDROCK_FAKE", "local_stack.no_such_module")
    before = signal.getsignal(signal.SIGTERM)
    children = members_of(os.getpid())
    stack = LocalStack(LocalStackOptions(template=sample_template))

    with pytest.raises(LocalStackError, match=r"bedrock-fake ended(.|\n)*no_such_module"):
        stack.__enter__()

    assert list(tmp_path.glob(f"{FOLDER_PREFIX}*")) == []
    assert members_of(os.getpid()) <= children
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(LocalStackError, match="not running"):
        _ = stack.connection


def test_a_failing_background_start_shows_why(tmp_path: Path, places: dict[str, str]) -> None:
    broken = tmp_path / "template.yaml"
    broken.write_text(json.dumps({"Resources": {"X": {"Type": "AWS::No::Such"}}}))

    with pytest.raises(LocalStackError, match=r"(?s)did not start.*AWS::No::Such"):
        start_in_background(LocalStackOptions(template=broken), places)

"""Outputs: complete files, untouched devices, pipes and links; and how every verb ends."""

import errno
import json
import os
import shlex
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from router_cli.__main__ import main
from router_cli.console import CommandError
from router_cli.outputs import output
from router_cli.verbs import VERBS, Verb

PRINTS = (
    "import sys; from router_cli import __main__, console, route\n"
    "route.run = lambda _: console.print_json({'query': 'caf\\u00e9 \\u65e5 \\U0001f600'}) or 0\n"
    "sys.exit(__main__.main(['route', 'dogs']))"
)


def test_a_file_appears_when_it_is_complete_and_keeps_its_permissions(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_bytes(b"before")
    out.chmod(0o600)

    with output(out) as file:
        file.write(b"after")
        assert out.read_bytes() == b"before"

    assert (out.read_bytes(), stat.S_IMODE(out.stat().st_mode)) == (b"after", 0o600)
    assert list(tmp_path.iterdir()) == [out]


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_bytes(b"before")

    def fill_the_disk() -> None:
        with output(out) as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(CommandError, match="No space left on device"):
        fill_the_disk()

    assert out.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [out]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)

    for body in (b"new", b"replaced"):
        with output(link) as file:
            file.write(body)

        assert link.is_symlink()
        assert target.read_bytes() == body


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/null")

    for out in (Path("/dev/null"), link):
        with output(out) as file:
            file.write(b"lost")

    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_named_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()

    with output(pipe) as file:
        file.write(b"rows")

    reader.join(10)
    assert read == [b"rows"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("out", ["-", "/dev/stdout"])
def test_stdout_has_two_names(out: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["generate", "prompts", "--count", "3", "--out", out]) == 0

    assert capfdbinary.readouterr().out.count(b"\n") == 3


def test_a_folder_is_not_an_output(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Is a directory"), output(tmp_path):
        pass


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device."),
        (PermissionError(errno.EACCES, "Permission denied", "a.csv"), 1, "a.csv: Permission"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.csv"), 1, "a.csv: No such file."),
        (BrokenPipeError(), 141, ""),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_ends_with_one_sentence(
    verb: Verb,
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> NoReturn:
        raise error

    monkeypatch.setattr("router_cli.__main__.pkgutil.resolve_name", lambda _: fail)

    assert main(shlex.split(verb.example)) == code

    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == (1 if message else 0)


def run(code: str, redirection: str, **environ: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, code],
        capture_output=True,
        check=False,
        env={"PATH": os.environ["PATH"], **environ},
        timeout=60,
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode()


@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [
        (">&-", 1, "stdout is closed. Redirect it to a file or to /dev/null.\n"),
        (">/dev/full", 1, "cannot write the output: No space left on device.\n"),
        ("2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
    ],
)
def test_a_closed_or_full_output_is_one_sentence(redirection: str, code: int, message: str) -> None:
    found = run(PRINTS, redirection)

    assert (found[0], found[2]) == (code, f"search-router: {message}" if message else "")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_json_is_json_in_every_locale(encoding: str) -> None:
    code, out, err = run(PRINTS, "", LC_ALL="C", PYTHONIOENCODING=encoding)

    shown = out.encode("latin-1").decode("utf-8")
    assert (code, err) == (0, "")
    assert json.loads(shown) == {"query": "caf\u00e9 \u65e5 \U0001f600"}


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "prompts", "--help"]])
def test_help_needs_no_home_and_no_unicode(arguments: Sequence[str]) -> None:
    code = f"import sys; from router_cli.__main__ import main; sys.exit(main({arguments!r}))"

    assert run(code, "", LC_ALL="C", PYTHONIOENCODING="cp1252")[::2] == (0, "")

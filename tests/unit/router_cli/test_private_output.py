"""What the command writes is private, follows no link and steers no spreadsheet or terminal."""

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from router_cli.__main__ import main
from router_cli.console import print_json
from router_cli.outputs import _beside
from router_cli.routed_logs.tables import write_csv


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_files_with_queries_are_private(tmp_path: Path) -> None:
    out = tmp_path / "prompts.jsonl"

    assert main(["generate", "prompts", "--count", "3", "--out", str(out)]) == 0

    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    target, out = tmp_path / "target", tmp_path / "results.jsonl"
    target.write_text("theirs")
    (tmp_path / "results.jsonl.partial").symlink_to(target)

    with _beside(out) as file:
        file.write(b"ours")

    assert target.read_text() == "theirs"
    assert out.read_bytes() == b"ours"
    assert not out.is_symlink()


@pytest.mark.parametrize("text", ["x;=1+1;y", "x;  =1", "x\t=1", ";@cmd", "x;+a", "=1;=2"])
def test_no_separator_makes_a_formula_of_a_cell(text: str) -> None:
    out = io.StringIO()

    write_csv([{"id": "a", "query": text}], ["id", "query"], out)

    for separator in (";", "\t"):
        for cell in out.getvalue().replace("\r\n", separator).split(separator):
            assert not cell.strip(' "').startswith(("=", "+", "@", "-"))


def test_json_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"query": "a\u009b2Jb\u202ec"})

    assert capsys.readouterr().out == '{\n  "query": "a\\u009b2Jb\\u202ec"\n}\n'

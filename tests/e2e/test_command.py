"""`search-router` against a stack that stays: what a user types, and what it answers."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router_cli import synthesis
from router_cli.__main__ import main

FAST = ("--requests-per-minute", "6000")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A runtime folder of its own, so that no other stack of this user is found or stopped."""
    folder = tmp_path_factory.mktemp("command")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def stack(places: Path) -> Iterator[Path]:
    """A running stack; the value is a folder for files."""
    assert main(["local", "up"]) == 0
    yield places
    assert main(["local", "down"]) == 0
    assert main(["runs", "--local"]) == 1


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run one verb with `--local --json` and return the one object that it prints."""
    code = main([*arguments, "--local", "--json"])
    output = capsys.readouterr()
    assert code == 0, output.err
    reply: dict[str, Any] = json.loads(output.out)
    return reply


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run one verb that must fail and return what it says."""
    assert main([*arguments, "--local", "--json"]) == 1
    return capsys.readouterr().err


def test_from_a_prompt_file_to_the_results_of_a_log(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a stack without a champion
    assert "503" in refusal(capsys, "route", "dogs barking")
    # WHEN prompts are uploaded
    prompts = stack / "prompts.jsonl"
    synthesis.write_jsonl(prompts, synthesis.training_records(3, 300))
    run_id = answer(capsys, "upload", "prompts", str(prompts))["id"]
    # THEN the run ends with a champion
    deadline = time.monotonic() + 60
    while run_of(capsys, run_id)["state"] not in ("PROMOTED", "REJECTED", "FAILED"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert run_of(capsys, run_id)["state"] == "PROMOTED"
    assert answer(capsys, "runs", run_id)["evaluation"]["candidate"]["invalid"] == 0
    # AND a query is routed, the second time from the cache
    replies = [answer(capsys, "route", "dogs barking at night") for _ in range(2)]
    assert [reply["tier"] for reply in replies] == ["distilled", "cache"]
    assert replies[0]["weights"] == replies[1]["weights"]
    assert sum(replies[0]["weights"].values()) == pytest.approx(1)
    # AND a query log becomes results
    log = stack / "log.jsonl"
    synthesis.write_jsonl(log, synthesis.query_log_rows(3, 400, 50))
    log_id = answer(capsys, "upload", "query-log", str(log))["id"]
    while main(["results", log_id, "--local", "--json"]):
        assert time.monotonic() < deadline + 60
        time.sleep(0.2)
    capsys.readouterr()
    out = stack / "results.jsonl"
    summary = answer(capsys, "results", log_id, "--out", str(out))
    assert (summary["rows_in"], summary["distinct"]) == (400, 50)
    assert len(out.read_bytes().splitlines()) == 400


def test_an_unknown_run_or_log_is_an_error_that_says_what_to_do(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "`search-router runs` lists them" in refusal(capsys, "runs", "run-000000000000")
    assert "`search-router runs` lists them" in refusal(capsys, "results", "log-000000000000")
    assert "none.jsonl" in refusal(capsys, "upload", "prompts", str(stack / "none.jsonl"))


def test_generated_queries_are_labelled_once_and_make_a_valid_prompt_file(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries, labelled = stack / "queries.jsonl", stack / "labelled.jsonl"
    make = ["generate", "prompts", "--unlabelled", "--count", "150", "--out", str(queries)]
    assert main(make) == 0
    # WHEN a teacher labels them, is killed in mid-line, and is started again
    first = answer(capsys, "label", str(queries), "--out", str(labelled), *FAST)
    with labelled.open("ab") as file:
        file.write(b'{"schemaVersion": "bedro')
    second = answer(capsys, "label", str(queries), "--out", str(labelled), *FAST)
    # THEN every query was asked once, and a job could start from what came out
    assert first["labelled"] == first["queries"] > 100
    assert first["cost_usd"] > 0
    assert (second["labelled"], second["already_labelled"]) == (0, first["queries"])
    assert main(["validate", "--json", str(labelled)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["rejected"], report["balance"]["unlabelled"]) == (0, 0)


def run_of(capsys: pytest.CaptureFixture[str], run_id: str) -> dict[str, Any]:
    """Return a run as the list shows it; an empty state while it is not recorded."""
    runs = answer(capsys, "runs")["runs"]
    return next((run for run in runs if run["run_id"] == run_id), {"state": ""})

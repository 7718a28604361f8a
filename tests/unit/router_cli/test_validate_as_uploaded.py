"""`validate` reports the same as intake does after an upload."""

import json
from pathlib import Path

import pytest

from router_cli.__main__ import main
from router_cli.synthesis import training_records
from tests.records import gzipped, jsonl
from tests.unit.use_cases.world import World, ran

ROWS = list(training_records(3, 400, with_reasoning=True))
ANSWER = json.dumps({"visual": 1, "audio": 0, "transcription": 0, "metadata": 0})
FILES = {
    "b.jsonl": b"\xef\xbb\xbf" + jsonl(ROWS[:150]) + b"broken\n\n",
    "a.jsonl.gz": gzipped(jsonl(ROWS[100:300])),
    "c.jsonl": jsonl(ROWS[300:]).replace(b"\n", b"\r\n") + b'{"query": ""}',
    "d.answers.jsonl": jsonl([{"query": "quite new", "reference": ANSWER}]),
}


@pytest.mark.parametrize("keep", [True, False])
def test_validate_and_intake_report_the_same_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keep: bool
) -> None:
    # GIVEN a dataset of three prompt files, and answers beside them, that was uploaded
    world = World(keep_reasoning=keep)
    for name, body in FILES.items():
        world.uploads.upload(f"prompts/set/{name}", body)
    run = ran(world.shard(world.uploads.upload("prompts/set/_SUCCESS", b"")))
    manifest = world.text(f"runs/{run.run_id}/manifest.json")
    # WHEN the same files are validated here, in another order
    paths = []
    for name, body in FILES.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(body)
    options = ["--keep-reasoning"] if keep else []
    code = main(["validate", "--json", *options, *map(str, paths)])
    report = json.loads(capsys.readouterr().out)
    # THEN all figures are the same, down to the hash of the training set
    assert code == 0
    assert {name: report[name] for name in manifest["counts"]} == manifest["counts"]
    shared = set(report) & set(manifest) - {"files", "prior"}
    assert {"training_sha256", "estimate", "label_noise", "system_prompt", "balance"} <= shared
    assert {name: report[name] for name in shared} == {name: manifest[name] for name in shared}
    assert list(report["prior"].values()) == manifest["prior"]
    assert [file["rows_in"] for file in report["files"]] == [151, 200, 101]


def test_answers_files_are_checked_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, answers = tmp_path / "labels.jsonl", tmp_path / "log.answers.jsonl"
    labels.write_bytes(jsonl(ROWS))
    answers.write_bytes(b"broken\n")

    assert main(["validate", str(labels), str(answers)]) == 1
    assert "log.answers.jsonl, line 1: invalid_json" in capsys.readouterr().err
    assert main(["validate", str(answers)]) == 1
    assert "Name the labelled prompts too" in capsys.readouterr().err

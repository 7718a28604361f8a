"""`search-router validate`: its report, its exit code, and what it imports."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from router_cli import synthesis
from router_cli.__main__ import main
from tests.records import gzipped

COUNTS = ("rows_in", "accepted", "rejected", "duplicates", "training", "holdout")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    synthesis.write_jsonl(path, synthesis.training_records(1, 300))
    return path


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main(["validate", "--json", *map(str, arguments)])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def test_a_valid_file_returns_0_and_its_counts(
    prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = report(capsys, prompts)
    assert code == 0
    assert found["rejection"] == ""
    assert all(type(found[name]) is int for name in COUNTS)
    assert found["rows_in"] == found["accepted"] == 300


def test_rejected_lines_alone_return_0(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with prompts.open("a", encoding="utf-8") as file:
        file.write("not json\n")
    code, found = report(capsys, prompts)
    assert code == 0
    assert (found["rejected"], found["rejected_by_reason"]) == (1, {"invalid_json": 1})


def test_several_files_are_one_dataset(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = prompts.with_suffix(".jsonl.gz")
    packed.write_bytes(gzipped(prompts.read_bytes()))
    _, alone = report(capsys, prompts)
    _, both = report(capsys, prompts, packed)
    assert both["rows_in"] == 600
    assert both["training"] == alone["training"]


def test_too_few_rows_return_1_and_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text('{"query": "one"}\n', encoding="utf-8")
    code, found = report(capsys, path)
    assert code == 1
    assert "at least 100" in found["rejection"]


def test_wrong_usage_returns_2_and_a_missing_file_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as wrong:
        main(["validate"])
    assert wrong.value.code == 2
    assert main(["validate", str(tmp_path / "none.jsonl")]) == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_the_tables_have_no_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil\x1b[31m.jsonl"
    path.write_bytes(b'{"query": "x", "\x1b[2J": 1}\n')
    main(["validate", str(path)])
    assert "\x1b" not in capsys.readouterr().out


def test_validate_help_loads_no_aws_and_no_plotting() -> None:
    script = (
        "import sys; from router_cli.__main__ import main\n"
        "try: main(['validate', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'boto3', 'botocore', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_report_has_the_same_figures_and_escapes_text_from_files(
    prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = tmp_path / "<script>alert(1)<svg>.jsonl"
    evil.write_text(prompts.read_text("utf-8") + '{"<script>x": 1}\nnot json\n', "utf-8")
    folder = tmp_path / "the report"

    _, printed = report(capsys, evil, "--report", folder)

    page = (folder / "report.html").read_text("utf-8")
    assert json.loads((folder / "report.json").read_text("utf-8")) == printed
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert page.count("<svg") == 4
    assert "A distillation job could start." in page
    rejected = (folder / "rejected.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["text"] for line in rejected] == ['{"<script>x": 1}', "not json"]


def test_the_estimate_and_the_noise_are_in_the_report(
    prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = report(capsys, prompts)

    with_, without = (
        found["estimate"][f"serving_usd_per_million_{name}_reasoning"]
        for name in ("with", "without")
    )
    assert 0 < without < with_
    assert 0 <= found["label_noise"]["identical"] <= 1


def test_the_noise_ceiling_is_shown_with_its_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prompts.jsonl"
    assert main(["generate", "prompts", "--out", str(file)]) == 0
    _, found = report(capsys, file)

    ceiling = found["label_noise"]["ceiling"]
    # The generator moves 15 % of the labels by a step, so 85 % of single labels are exact.
    assert ceiling["within_005"] == pytest.approx(0.86, abs=0.04)
    assert ceiling["within_010"] == 1.0
    assert main(["validate", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "Noise ceiling" in shown
    assert f"{ceiling['within_005']:.1%}" in shown


def test_rejected_lines_are_counted_by_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a file of labels with a fifth modality, and a line that is no JSON
    file = tmp_path / "five.jsonl"
    labels = {"visual": 0.2, "audio": 0.2, "transcription": 0.2, "metadata": 0.2, "ocr": 0.2}
    lines = [json.dumps({"query": f"query {n}", "reference": labels}) for n in range(821)]
    file.write_text("\n".join([*lines, "not json"]), "utf-8")

    code, found = report(capsys, file)

    assert code == 1
    assert found["rejected_by_cause"]["wrong keys: unexpected ocr"] == 821
    assert (
        "none of the 822 rows is valid: 821 \u00d7 wrong keys: unexpected ocr" in found["rejection"]
    )
    assert main(["validate", str(file)]) == 1
    shown = capsys.readouterr().out
    assert "five.jsonl line 1" in shown
    assert shown.count("unexpected ocr") <= 3


def contradictory_file(folder: Path, *, contradicted: int) -> Path:
    """Write 200 queries, 100 of them twice, some of these with opposite labels."""
    file = folder / "contra.jsonl"
    one, other = ({"visual": a, "audio": b, "transcription": 0.1, "metadata": 0.1}
                  for a, b in ((0.7, 0.1), (0.1, 0.7)))  # fmt: skip
    rows = [{"query": f"query {n}", "reference": one} for n in range(200)]
    rows += [{"query": f"query {n}", "reference": other if n < contradicted else one}
             for n in range(100)]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def test_contradictory_labels_are_listed_and_not_green(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = contradictory_file(tmp_path, contradicted=30)

    code, found = report(capsys, file, "--report", tmp_path / "report")

    assert code == 0
    assert found["label_noise"]["contradictory"] == found["conflicts"] == 30
    [warning] = found["warnings"]
    assert "30 of 100 queries with several labels (30%)" in warning
    assert len(found["contradictions"]) == 20
    first = found["contradictions"][0]
    assert first["query"].startswith("query ")
    assert first["labels"] == [[0.1, 0.7, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]]
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert 'class="verdict good"' not in page
    assert first["query"] in page
    assert main(["validate", str(file)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "0.1 0.7 0.1 0.1; 0.7 0.1 0.1 0.1" in shown
    assert "Warning: contradictory labels" in shown


def test_contradictory_labels_can_be_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = contradictory_file(tmp_path, contradicted=30)

    assert report(capsys, file, "--max-contradictions", "0.3")[0] == 0
    code, found = report(capsys, file, "--max-contradictions", "0.29")

    assert code == 1
    assert "contradictory labels: 30 of 100 queries" in found["rejection"]


def test_few_contradictory_labels_raise_no_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = contradictory_file(tmp_path, contradicted=10)

    assert report(capsys, file)[1]["warnings"] == []

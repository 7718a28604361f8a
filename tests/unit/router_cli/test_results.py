"""`results`: exact rows as JSON Lines, no formulas in CSV, progress of unfinished logs."""

import csv
import io
import json
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from router_cli.__main__ import main
from router_cli.results import write_csv_rows, write_rows
from router_cli.routed_logs.parts import unfinished
from router_cli.stack import Stack
from search_router.domain.intake.datasets import read_answers
from search_router.domain.intake.prompt_files import PromptFile
from tests.fakes import START
from tests.records import MODALITIES, jsonl
from tests.unit.router_cli.conftest import ROWS, route_log
from tests.unit.use_cases.world import World

Answer = Callable[..., Any]
HOSTILE = [
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", " =1", "\uff1d1+1", "a\r\n=1",
    'say "hi"', "-", "caf\u00e9 \u2028 \u0000 \U0001f600", "plain", "'quoted", "-12.5", "1;=1+1",
]  # fmt: skip


def parts_of(world: World, log_id: str) -> bytes:
    bodies = world.objects.bodies
    return b"".join(bodies[key] for key in sorted(bodies) if f"{log_id}/parts/" in key)


def test_the_rows_are_the_parts_byte_for_byte(
    world: World, routed: str, answer: Answer, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"

    summary = answer("results", routed, "--out", str(out))

    assert out.read_bytes() == parts_of(world, routed)
    assert (summary["rows_in"], summary["distinct"]) == (301, 50)
    assert list(tmp_path.iterdir()) == [out], "nothing half-written stays"


def test_only_the_rows_go_to_stdout(
    world: World, routed: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["results", routed, "--out", "-"]) == 0

    assert capfdbinary.readouterr().out == parts_of(world, routed)


def test_csv_has_all_columns_with_the_result_columns_last(
    world: World,
    stack: Stack,
    answer: Answer,
    tmp_path: Path,
) -> None:
    log_id = route_log(
        world,
        jsonl(
            [
                {
                    "query": "dogs",
                    "n": 1,
                    "ok": True,
                    "score": -0.5,
                    "tags": ["a", 1],
                    "none": None,
                },
                {"query": "cats", "late": "x"},
            ]
        ),
    )
    out = tmp_path / "rows.csv"

    answer("results", log_id, "--format", "csv", "--out", str(out))

    header, first, second = list(csv.reader(io.StringIO(out.read_text("utf-8-sig"), newline="")))
    assert header[:8] == ["n", "ok", "score", "tags", "none", "late", "row_id", "query"]
    assert header[8:12] == list(MODALITIES)
    assert header[-1] == "byte_offset"
    assert first[:6] == ["1", "true", "-0.5", '["a", 1]', "", ""]
    assert second[:6] == ["", "", "", "", "", "x"]
    assert [first[7], second[7]] == ["dogs", "cats"]


def test_no_cell_of_a_csv_is_a_formula(
    world: World,
    stack: Stack,
    answer: Answer,
    tmp_path: Path,
) -> None:
    # GIVEN queries, values and column names that want to be formulas
    rows = [{"query": text, "=x": text, "nested": [text]} for text in HOSTILE]
    log_id = route_log(world, jsonl(rows))
    out = tmp_path / "rows.csv"
    # WHEN they are written as CSV
    answer("results", log_id, "--format", "csv", "--out", str(out))
    # THEN every text is as it was, at most with a quote in front, and none begins as a formula
    raw = out.read_bytes().decode("utf-8-sig")
    header, *lines = list(csv.reader(io.StringIO(raw, newline="")))
    assert header[0] == "'=x"
    place = header.index("query")
    for text, line in zip(HOSTILE, lines, strict=True):
        assert line[place].replace("'", "") == text.replace("'", "")
        assert line[0] == line[place]
        assert line[place].lstrip()[:1] not in "=+@\uff1d" or line[place] == "-12.5"
    quoted = {text for text, line in zip(HOSTILE, lines, strict=True) if line[place] != text}
    assert quoted == {*HOSTILE[:7], "-", "1;=1+1"}
    # AND the same rows as JSON Lines are the queries, byte for byte
    exact = tmp_path / "rows.jsonl"
    answer("results", log_id, "--out", str(exact))
    written = [json.loads(line)["query"] for line in exact.read_bytes().split(b"\n") if line]
    assert written == HOSTILE


def test_csv_begins_with_a_byte_order_mark_unless_it_is_left_out(
    routed: str, answer: Answer, tmp_path: Path
) -> None:
    for name, options in (("with.csv", []), ("without.csv", ["--no-bom"])):
        out = str(tmp_path / name)
        answer("results", routed, "--format", "csv", "--out", out, *options)

    written = (tmp_path / "with.csv").read_bytes()
    assert written == b"\xef\xbb\xbf" + (tmp_path / "without.csv").read_bytes()


def test_a_changed_part_is_an_error_and_leaves_no_file(
    world: World, routed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.objects.bodies[f"logs/{routed}/parts/part-00001.jsonl"] += b"{}\n"
    out = tmp_path / "rows.jsonl"

    assert main(["results", routed, "--out", str(out)]) == 1

    assert "was changed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_log_reports_its_progress(
    world: World, stack: Stack, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a log of which one split is routed
    log = world.split_log(jsonl([{"query": f"query {n}", "pad": "x" * 9_000} for n in range(900)]))
    left = log.splits - 1
    assert left >= 3
    told = answer("results", log.log_id, code=1)
    assert (told["state"], told["parts"], told["end_at_pace"]) == ("ROUTING", 0, None)
    assert told["calls_left"] == told["rows_expected"] == pytest.approx(900, rel=0.05)
    world.clock.advance(timedelta(minutes=4))
    world.route(world.queue.sent[0])
    # WHEN it is asked for
    told = answer("results", log.log_id, code=1)
    # THEN it says how far it is, and when it ends at the quota of 1,600 and at the pace so far
    calls = told["model_calls"]
    assert (told["parts"], told["splits"], told["rows_in"]) == (1, log.splits, calls)
    assert told["calls_left"] == left * calls
    found = unfinished(stack, world.log(log.log_id), now=START + timedelta(minutes=4))
    assert found.end_at_pace == START + timedelta(minutes=4 + 4 * left)
    assert found.end_at_quota == START + timedelta(minutes=4 + left * calls / 1_600)
    sentence = found.sentence()
    assert f"1 of {log.splits} splits (" in sentence
    assert f"%), {calls} of about " in sentence
    assert "UTC at the batch quota of 1,600 requests a minute" in sentence
    assert "redrive" not in sentence
    late = unfinished(stack, world.log(log.log_id), now=START + timedelta(hours=1))
    assert "`search-router redrive`" in late.sentence()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--json", "--out", "-"],
        ["--athena-ddl", "--out", "x"],
        ["--athena-ddl", "--format", "csv"],
        ["--format", "csv"],
        ["--no-bom", "--out", "x"],
        ["--format", "xml", "--out", "x"],
    ],
)
def test_wrong_usage_is_exit_code_2(wrong: list[str], routed: str) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["results", routed, *wrong])

    assert refused.value.code == 2


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_memory_is_bounded_by_a_part_not_by_the_log(
    world: World, stack: Stack, tmp_path: Path, form: str
) -> None:
    # GIVEN the part of a log of one split, and a log that has it sixteen times over
    log_id = route_log(world, jsonl([{"query": f"query {n}", "pad": "x" * 60} for n in range(150)]))
    manifest = world.text(f"logs/{log_id}/manifest.json")
    one = manifest["parts"][0]

    def peak(parts: int) -> int:
        body = json.dumps({**manifest, "parts": [one] * parts}).encode()
        world.objects.put(f"logs/{log_id}/manifest.json", body)
        write = write_csv_rows if form == "csv" else write_rows
        tracemalloc.start()
        try:
            assert write(stack, log_id, tmp_path / "rows") == 150
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # THEN sixteen parts take hardly more memory than two
    assert peak(16) < 1.3 * peak(2)


def test_a_log_with_only_rejected_rows_names_their_location(
    world: World, stack: Stack, answer: Answer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log_id = route_log(world, b'{"query": "x"}\n'.replace(b"x", b" ") * 3)
    out = tmp_path / "rows.csv"

    assert main(["results", log_id, "--format", "csv", "--out", str(out)]) == 1

    assert out.read_bytes() == b""
    told = capsys.readouterr().err
    assert "3 rows were rejected. " in told
    assert f"`search-router results {log_id} --rejected` shows why" in told
    assert "`row_id` string" in answer("results", log_id, "--athena-ddl")["ddl"]


def test_a_missing_output_folder_is_an_error(
    routed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["results", routed, "--out", str(tmp_path / "none" / "rows")]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_rows_keep_their_order(routed: str, answer: Answer, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    answer("results", routed, "--out", str(out))

    users = [json.loads(line)["User Id"] for line in out.read_bytes().splitlines()]

    assert users == [row["User Id"] for row in ROWS]


def test_answers_come_from_the_distilled_model_most_frequent_first(
    world: World, stack: Stack, answer: Answer, tmp_path: Path
) -> None:
    # GIVEN a log with repetitions, a row that got the prior, and one that the local tier answered
    log_id = route_log(world, jsonl([{"query": q} for q in ("b", "a", "a", "c", "d", "")]))
    part = next(key for key in world.objects.bodies if f"{log_id}/parts/" in key)
    rows = [json.loads(line) for line in world.objects.bodies[part].splitlines()]
    changed = {
        "c": {"status": "fallback", "model": ""},
        "d": {"model": "models/local/1", "tier": "x"},
    }
    world.objects.bodies[part] = jsonl([row | changed.get(row["query"], {}) for row in rows])
    manifest = world.text(f"logs/{log_id}/manifest.json")
    manifest["parts"][0]["bytes"] = len(world.objects.bodies[part])
    world.objects.bodies[f"logs/{log_id}/manifest.json"] = json.dumps(manifest).encode()
    out = tmp_path / "log.answers.jsonl"
    # WHEN its answers are fetched
    told = answer("results", log_id, "--answers", str(out))
    # THEN an intake can read them
    file = PromptFile(out.name, read=lambda: [out.read_bytes()])
    answers = read_answers([file], MODALITIES)
    assert [query for query, _ in answers] == ["a", "b"]
    assert answers[0][1] == pytest.approx([rows[1][name] for name in MODALITIES])
    assert (told["answers"], told["distinct"]) == (2, 2)


@pytest.mark.parametrize("options", [["--answers", "x.jsonl"],
                                     ["--answers", "x.answers.jsonl", "--out", "y"]])  # fmt: skip
def test_answers_needs_its_file_name_and_no_other_output(options: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["results", "log-1", *options])


def test_rejected_rows_are_counted_by_reason_and_written(
    world: World, stack: Stack, answer: Answer, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rows = [{"query": f"query {n}"} for n in range(5)]
    body = jsonl(rows) + b'{"query": " "}\n' * 3 + b"broken\n" + b'{"query": 1}\n' * 2
    log_id = route_log(world, body)
    out = tmp_path / "rejected.jsonl"

    found = answer("results", log_id, "--rejected", "--out", str(out))

    assert found["rejected"] == 6
    assert found["reasons"][0] == {"reason": "the query is blank", "rows": 3}
    assert [it["rows"] for it in found["reasons"]] == [3, 2, 1]
    written = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [body[row["byte_offset"] :].splitlines()[0].decode() for row in written] == [
        row["text"].rstrip("\n") for row in written
    ]
    assert main(["results", log_id, "--rejected"]) == 0
    shown = capsys.readouterr()
    assert "the query is blank" in shown.out
    assert "6 rows were rejected" in shown.err


def test_the_rejected_lines_of_a_run_are_counted_by_reason(
    world: World, stack: Stack, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router_cli.runs.open_stack", lambda _: stack)
    five = '{"query": "q", "reference": {"visual": 0.5, "audio": 0.2, "ocr": 0.3}}\n'
    run = world.sharded(five.encode() * 3 + b"no json\n")

    found = answer("runs", run.run_id, "--rejected")

    assert found["id"] == run.run_id
    [first, second] = found["reasons"]
    assert first["rows"] == 3
    assert "unexpected ocr" in first["reason"]
    assert second["rows"] == 1
    assert f"3 \u00d7 {first['reason']}" in run.reason

"""`search-router label`: each query is labelled once; failures are kept and retried."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router_cli import label as verb
from router_cli.__main__ import main
from search_router.domain.errors import UnavailableError
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import ModelReply
from search_router.domain.weights import default_system_prompt
from tests.fakes import FakeModel, reply
from tests.records import MODALITIES, jsonl, label

ANSWER = label(0.4, 0.3, 0.2, 0.1)
REASONED = f'{ANSWER[:-1]}, "reasoning": "because"}}'


class Teacher:
    """Answers in a code fence and with reasons; some queries never, some in prose."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.healthy = False
        monkeypatch.setattr(verb, "ConverseModel", lambda *_: FakeModel(self._answer))
        monkeypatch.setattr(verb, "open_stack", lambda _: SimpleNamespace(client=lambda _: None))

    def _answer(self, serving: ServingModel, query: str) -> ModelReply | UnavailableError:
        self.asked.append(query)
        if "lost" in query and not self.healthy:
            return UnavailableError("ask the model")
        return reply("I am not sure." if "prose" in query else f"```json\n{REASONED}\n```")


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Teacher:
    return Teacher(monkeypatch)


def labelled(
    capsys: pytest.CaptureFixture[str], folder: Path, *options: str
) -> tuple[int, dict[str, Any]]:
    arguments = ["label", str(folder / "in.jsonl"), "--out", str(folder / "out.jsonl"), "--json"]
    code = main([*arguments, *options])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, report


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_failed_queries_are_kept_and_asked_for_again(
    teacher: Teacher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = ["dogs", " dogs ", "a lost one", "in prose", "cats"]
    (tmp_path / "in.jsonl").write_bytes(jsonl([{"query": query} for query in queries]))

    code, first = labelled(capsys, tmp_path)

    assert (code, first["labelled"], first["failed"]) == (1, 2, 2)
    assert first["cost_usd"] > 0
    failed = rows(tmp_path / "out.jsonl.failed.jsonl")
    assert {row["query"] for row in failed} == {"a lost one", "in prose"}

    teacher.healthy, teacher.asked = True, []
    code, second = labelled(capsys, tmp_path)

    assert sorted(teacher.asked) == ["a lost one", "in prose"]
    assert (code, second["already_labelled"], second["labelled"]) == (1, 2, 1)
    assert [row["query"] for row in rows(tmp_path / "out.jsonl.failed.jsonl")] == ["in prose"]


@pytest.mark.parametrize("is_priced", [True, False])
def test_an_estimate_above_a_dollar_or_unknown_needs_confirmation(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], is_priced: bool,
) -> None:  # fmt: skip
    (tmp_path / "in.jsonl").write_bytes(jsonl([{"query": "dogs"}]))
    model = ("--teacher", "amazon.nova-pro-v1:0" if is_priced else "amazon.nova-por-v1:0")
    if is_priced:
        monkeypatch.setattr(verb, "CONFIRM_ABOVE_USD", 1e-6)
    files = ("label", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl"))

    assert main([*files, *model]) == 1

    shown = capsys.readouterr().err
    assert f"1 queries to label: {'about $0.0' if is_priced else 'cost unknown'}" in shown
    assert "Confirm with --yes" in shown
    assert teacher.asked == []
    code, done = labelled(capsys, tmp_path, "--yes", *model)
    assert (code, done["labelled"]) == (0, 1)
    assert (done["cost_usd"] is not None) is is_priced


def test_unusable_first_answers_stop_the_labelling(
    teacher: Teacher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = [{"query": f"in prose {n}"} for n in range(200)]
    (tmp_path / "in.jsonl").write_bytes(jsonl(queries))

    code, report = labelled(capsys, tmp_path)

    assert (code, report["failed"], report["labelled"]) == (1, 20, 0)
    assert len(teacher.asked) < 30


def test_an_incomplete_last_line_is_asked_for_again(
    teacher: Teacher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_bytes(jsonl([{"query": query} for query in ("dogs", "cats")]))
    labelled(capsys, tmp_path)
    whole = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl").write_bytes(whole[:-5])

    code, report = labelled(capsys, tmp_path)

    assert (code, report["labelled"]) == (0, 1)
    assert sorted(rows(tmp_path / "out.jsonl"), key=str) == sorted(
        map(json.loads, whole.splitlines()), key=str
    )
    assert not (tmp_path / "out.jsonl.failed.jsonl").exists()


@pytest.mark.parametrize("wanted", [True, False])
def test_reasoning_is_kept_only_with_the_option(
    teacher: Teacher, tmp_path: Path, capsys: pytest.CaptureFixture[str], wanted: bool
) -> None:
    (tmp_path / "in.jsonl").write_bytes(jsonl([{"query": "dogs"}]))

    labelled(capsys, tmp_path, *(["--reasoning"] if wanted else []))

    [row] = rows(tmp_path / "out.jsonl")
    prompt = default_system_prompt(MODALITIES, with_reasoning=wanted)
    assert row["system"] == [{"text": prompt}]
    answer = json.loads(row["messages"][1]["content"][0]["text"])
    assert ("reasoning" in answer) is wanted

"""`search-router generate`: repeatable files that do not overlap."""

import json
from pathlib import Path
from typing import Any

import pytest

from router_cli.__main__ import main
from search_router.domain.queries import fingerprint


def generated(out: Path, *arguments: object) -> list[dict[str, Any]]:
    assert main(["generate", *map(str, arguments), "--out", str(out)]) == 0
    return [json.loads(line) for line in out.read_bytes().splitlines()]


def query_of(row: dict[str, Any]) -> bytes:
    text = row["query"] if "query" in row else row["messages"][0]["content"][0]["text"]
    return fingerprint(text)


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    arguments = ("prompts", "--count", 30, "--seed", 5)
    first, again = (generated(tmp_path / name, *arguments) for name in ("a", "b"))
    other = generated(tmp_path / "c", "prompts", "--count", 30, "--seed", 6)

    assert len(first) == 30
    assert first == again != other


@pytest.mark.parametrize("with_file", [True, False])
def test_an_evaluation_set_shares_no_query_with_the_prompts(
    tmp_path: Path, with_file: bool
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    trained = generated(prompts, "prompts", "--count", 400)
    exclude = ("--exclude", prompts) if with_file else ()
    held_out = generated(tmp_path / "evaluation.jsonl", "evaluation", "--count", 100, *exclude)

    assert not set(map(query_of, trained)) & set(map(query_of, held_out))


def test_a_log_contains_known_queries(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    trained = set(map(query_of, generated(prompts, "prompts", "--count", 100)))
    options = ("--count", 300, "--distinct", 40, "--known", prompts)
    asked = list(map(query_of, generated(tmp_path / "log.jsonl", "query-log", *options)))

    assert len(asked) == 300
    assert len(set(asked)) == 40
    assert len(set(asked) & trained) == 24


def test_a_wrong_catalogue_or_modality_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue = tmp_path / "mine.json"
    catalogue.write_text('{"templates": [{"text": "x"}]}', encoding="utf-8")
    arguments = ["generate", "prompts", "--out", str(tmp_path / "out"), "--catalogue"]

    assert main([*arguments, str(catalogue)]) == 1
    assert "weights" in capsys.readouterr().err
    assert main([*arguments[:-1], "--modalities", "one"]) == 1

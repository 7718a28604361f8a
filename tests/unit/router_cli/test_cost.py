"""`search-router cost`: offline estimates of files, with unconfirmed prices marked."""

import json
from pathlib import Path
from typing import Any

import pytest

from router_cli import synthesis
from router_cli.__main__ import main
from router_cli.cost import Item, totals
from search_router.domain.prices import cost_usd


def cost(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["cost", "--json", *arguments]) == 0
    reply: dict[str, Any] = json.loads(capsys.readouterr().out)
    return reply


def test_the_estimate_of_a_prompt_file_includes_evaluation_and_storage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prompts.jsonl"
    synthesis.write_jsonl(file, synthesis.training_records(3, 300))

    reply = cost(capsys, "--prompts", str(file))

    items = {item["what"]: item for item in reply["items"]}
    assert items["training"]["usd"] > 0
    assert items["training"]["from_memory"]
    assert items["evaluation of candidate and base student"]["usd"] > 0
    assert items["storage of the model"]["usd"] == 1.95
    once = sum(item["usd"] for item in reply["items"] if item["what"] != "storage of the model")
    assert (reply["once_usd"], reply["monthly_usd"]) == (pytest.approx(once), 1.95)
    assert reply["not_counted"]


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    month = "list price, a month"
    items = [Item("a", 1.5, "measured tokens"), Item("b", None, "measured tokens")]

    assert totals(items) == {"once_usd": None, "monthly_usd": 0}
    assert totals([items[0], Item("c", 2, month)]) == {"once_usd": 1.5, "monthly_usd": 2}


def test_the_estimate_of_a_query_log_counts_distinct_queries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log.jsonl"
    synthesis.write_jsonl(file, synthesis.query_log_rows(3, 400, 50))

    (item,) = cost(capsys, "--query-log", str(file))["items"]

    assert item["what"] == "50 distinct queries"
    each = item["usd"] / 50
    assert cost_usd("amazon.nova-micro-v1:0", 20, 15) < each
    assert each < cost_usd("amazon.nova-micro-v1:0", 100, 60)


def test_a_missing_or_unusable_file_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text('{"query": "waves"}\n')

    assert main(["cost", "--prompts", str(few)]) == 1
    assert "no job can start" in capsys.readouterr().err
    assert main(["cost", "--query-log", str(tmp_path / "none.jsonl")]) == 1
    assert "no such file" in capsys.readouterr().err

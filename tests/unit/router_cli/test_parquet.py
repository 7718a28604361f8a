"""Parquet: query logs that are converted, and results."""

import datetime
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from router_cli.__main__ import main
from router_cli.parquet import json_lines
from router_cli.stack import Stack
from tests.records import jsonl
from tests.unit.router_cli.conftest import route_log
from tests.unit.use_cases.world import World

TIME = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)


def test_the_rows_of_a_log_are_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    row = {
        "user_query": "café \U0001f600",
        "at": TIME,
        "price": Decimal("1.50"),
        "score": float("nan"),
        "n": 2**60,
        "raw": b"\xff",
        "nested": {"tags": ["a", None]},
    }
    pq.write_table(pa.Table.from_pylist([row] * 12_000), path, row_group_size=1_000)

    lines = b"".join(json_lines(path)).splitlines()

    assert len(lines) == 12_000
    assert json.loads(lines[-1]) == {
        **row,
        "at": "2026-05-01T12:00:00+00:00",
        "price": "1.50",
        "score": None,
        "raw": "\\xff",
    }


def test_a_log_is_estimated_and_shown_offline_under_any_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "LOG.PARQUET"
    pq.write_table(pa.table({"query": ["{}", "{}"], "user_query": ["red cars", "dogs"]}), path)

    assert main(["upload", "query-log", str(path), "--dry-run", "--json"]) == 0

    assert [row["query"] for row in json.loads(capsys.readouterr().out)["queries"]] == [
        "red cars",
        "dogs",
    ]
    assert main(["cost", "--query-log", str(path), "--json"]) == 0
    assert "2 distinct queries" in capsys.readouterr().out


def test_a_damaged_log_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"query": ["red cars"]}), path)
    path.write_bytes(path.read_bytes()[:-20])

    assert main(["upload", "query-log", str(path), "--dry-run"]) == 1

    assert capsys.readouterr().err == (
        f"search-router: not a complete Parquet file: {path}. Copy it again.\n"
    )


def test_results_are_the_same_rows_as_json_lines(
    world: World, stack: Stack, tmp_path: Path
) -> None:
    rows = [
        {"query": "dogs", "n": 1, "mixed": "x", "big": 2**70, "flag": True},
        {"query": "café", "n": 2.5, "mixed": {"a": [1]}, "late": None, "flag": None},
    ]
    log_id = route_log(world, jsonl(rows))
    for name in ("jsonl", "parquet"):
        out = str(tmp_path / f"rows.{name}")
        assert main(["results", log_id, "--format", name, "--out", out]) == 0

    written = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    expected = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_bytes().splitlines()]

    assert [row["query"] for row in written] == ["dogs", "café"]
    assert [(row["n"], row["mixed"], row["big"], row["flag"]) for row in written] == [
        (1.0, "x", str(2**70), True),
        (2.5, '{"a": [1]}', None, None),
    ]
    for name in ("visual", "audio", "row_id", "tier", "byte_offset", "cost_usd"):
        assert [row[name] for row in written] == [row[name] for row in expected]


def test_results_go_to_stdout(
    world: World, stack: Stack, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    log_id = route_log(world, jsonl([{"query": "dogs"}]))

    assert main(["results", log_id, "--format", "parquet", "--out", "-"]) == 0

    table = pq.read_table(pa.BufferReader(capfdbinary.readouterr().out))
    assert table.column("query").to_pylist() == ["dogs"]

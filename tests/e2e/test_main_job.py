"""The main job as `make demo` runs it: files in, promotion and results out, nothing left."""

import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from router_cli import synthesis
from tests.e2e.conftest import AMBIENT
from tests.waiting import PATIENCE_SECONDS

PROMPT_ROWS, BAD_LINES = 500, 3
LOG_ROWS, DISTINCT, BAD_ROWS = 1_200, 150, 2
MODALITIES = ("visual", "audio", "transcription", "metadata")


@dataclass(frozen=True)
class Demo:
    """One finished demo."""

    exit_code: int
    said: str
    out: Path
    prompts: Path
    query_log: Path
    calls_outside: int

    @property
    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.out / "summary.json").read_text("utf-8"))
        return summary

    def rows(self) -> Iterator[dict[str, Any]]:
        return map(json.loads, (self.out / "results.jsonl").read_bytes().splitlines())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Run the demo on small files, as somebody who is logged in to a real account."""
    folder = tmp_path_factory.mktemp("a demo")
    prompts, query_log = folder / "prompts.jsonl", folder / "queries.jsonl"
    synthesis.write_jsonl(prompts, synthesis.training_records(7, PROMPT_ROWS))
    synthesis.write_jsonl(query_log, synthesis.query_log_rows(7, LOG_ROWS, DISTINCT))
    with prompts.open("ab") as file:
        file.write(b'not json\n\n{"query": " "}\n{"query": "x", "reference": "{}"}\n')
    with query_log.open("ab") as file:
        file.write('{"query_id": 1}\n\n{"query": ""}\n{"query": "the \u2028 end"}'.encode())
    with proxy_nobody_may_use() as proxy:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "router_cli", "local", "demo"),
                *("--prompts", prompts, "--query-log", query_log, "--out", folder / "the output"),
            ],
            env={**os.environ, **AMBIENT, "HTTPS_PROXY": proxy.url, "HTTP_PROXY": proxy.url},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        calls_outside = proxy.connections()
    said = done.stdout + done.stderr
    return Demo(done.returncode, said, folder / "the output", prompts, query_log, calls_outside)


def test_it_succeeds_and_accounts_for_every_prompt(demo: Demo) -> None:
    assert demo.exit_code == 0, demo.said
    prompts = demo.summary["prompts"]
    assert prompts["rows_in"] == PROMPT_ROWS + BAD_LINES
    assert prompts["rejected"] == BAD_LINES
    assert prompts["accepted"] == PROMPT_ROWS
    sides = ("training", "holdout", "duplicates", "sampled_out")
    assert sum(prompts[side] for side in sides) == prompts["accepted"]
    assert prompts["shards"] == 1


def test_the_run_ends_with_a_champion_that_beats_the_base_student(demo: Demo) -> None:
    run, evaluation = demo.summary["run"], demo.summary["evaluation"]
    assert run["state"] == "PROMOTED"
    assert run["promoted"] is True
    assert (run["job_status"], run["deployment_status"]) == ("Completed", "Active")
    assert (
        evaluation["candidate"]["n"]
        == evaluation["base"]["n"]
        == demo.summary["prompts"]["holdout"]
    )
    assert evaluation["candidate"]["mae"] < evaluation["base"]["mae"]
    assert set(evaluation["candidate"]["latency_ms"]) == {"mean", "p50", "p95"}


def test_every_log_row_is_a_result_or_a_rejection_in_input_order(demo: Demo) -> None:
    log = demo.summary["query_log"]
    assert log["rows_in"] == LOG_ROWS + 1 + BAD_ROWS
    assert log["rejected"] == BAD_ROWS
    assert log["routed"] + log["fallback"] + log["rejected"] == log["rows_in"]
    assert log["distinct"] == DISTINCT + 1
    assert log["model_calls"] <= 1.05 * log["distinct"] * log["parts"]
    asked = [json.loads(line) for line in demo.query_log.read_bytes().split(b"\n") if line]
    expected = [row["query"] for row in asked if row.get("query")]
    assert [row["query"] for row in demo.rows()] == expected


def test_every_result_has_weights_that_sum_to_one_and_its_own_columns(demo: Demo) -> None:
    for row in demo.rows():
        weights = [row[name] for name in MODALITIES]
        assert all(math.isfinite(weight) and 0 <= weight <= 1 for weight in weights)
        assert abs(math.fsum(weights) - 1) <= 1e-9
        assert row["dominant"] == max(MODALITIES, key=lambda name: row[name])
        assert row["status"] in ("ok", "repaired", "fallback")
    first = next(islice(demo.rows(), 1))
    assert first["query_id"] == "q00000001"


def test_a_catalogue_is_indexed_and_searched_with_routed_and_equal_weights(demo: Demo) -> None:
    segments = demo.summary["segments"]
    assert segments["rows_in"] == segments["indexed"] == 300
    searches = demo.summary["searches"]
    assert [one["modality"] for one in searches] == list(MODALITIES)
    for one in searches:
        assert len(one["routed"]["hits"]) == len(one["equal"]["hits"]) == 3
        assert one["routed"]["tier"] in ("cache", "local", "distilled")
        assert set(one["equal"]["weights"].values()) == {0.25}
        assert one["routed"]["weights"] != one["equal"]["weights"]
        assert f"GET /search, {one['modality']}: {one['query']}" in demo.said


def test_nothing_leaves_the_machine(demo: Demo) -> None:
    assert demo.calls_outside == 0


def test_it_says_what_is_not_emulated(demo: Demo) -> None:
    assert len(demo.summary["not_emulated"]) > 10
    assert "Not emulated:" in demo.said


@dataclass
class Sink:
    """Something that listens and counts, where a proxy would be."""

    listener: socket.socket

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def connections(self) -> int:
        self.listener.setblocking(False)  # whoever could have called has ended
        count = 0
        while True:
            try:
                self.listener.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


@contextmanager
def proxy_nobody_may_use() -> Iterator[Sink]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Sink(listener)

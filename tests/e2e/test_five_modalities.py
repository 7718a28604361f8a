"""N modalities for real: a fifth from a parameter and the prompts, and nothing else changed."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_stack.launcher import LocalStack, LocalStackOptions
from router_cli import synthesis
from router_cli.results import write_rows
from router_cli.route import ask
from router_cli.routed_logs.parts import read_summary
from router_cli.stack import Stack, local_stack_of
from router_cli.upload import upload
from search_router.domain.lifecycle.runs import Run
from search_router.domain.logs.query_logs import LogState
from tests.records import dataset_of
from tests.waiting import eventually

FIVE = ("visual", "audio", "transcription", "metadata", "ocr")
PROMPTS, ROWS, DISTINCT = 500, 300, 80


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    options = LocalStackOptions(
        parameters={"Modalities": ",".join(FIVE)},
        tick_track_runs=True,
        mean_latency_ms=0,
        job_seconds=1,
        deployment_seconds=0.2,
    )
    with LocalStack(options) as local:
        yield local_stack_of(local.connection)


@pytest.fixture(scope="module")
def run(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of generated prompts, at its end."""
    file = tmp_path_factory.mktemp("five") / "prompts.jsonl"
    synthesis.write_jsonl(file, synthesis.training_records(7, PROMPTS, FIVE))
    run_id = upload(stack, "prompts", file)
    eventually(lambda: (run := stack.runs.get(run_id)) is not None and not run.is_open)
    run = stack.runs.get(run_id)
    assert run is not None
    return run


@pytest.fixture(scope="module")
def log_id(stack: Stack, run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A routed query log."""
    file = tmp_path_factory.mktemp("five") / "log.jsonl"
    synthesis.write_jsonl(file, synthesis.query_log_rows(7, ROWS, DISTINCT, modalities=FIVE))
    log_id = upload(stack, "query-log", file)

    def is_routed() -> bool:
        log = stack.ledger.get(log_id)
        return log is not None and log.state is LogState.ROUTED

    eventually(is_routed)
    return log_id


def test_a_model_of_five_modalities_is_trained_evaluated_and_promoted(run: Run) -> None:
    assert run.promoted, run.reason
    assert dataset_of(run).modalities == FIVE
    assert run.counts.rejected == 0
    assert run.evaluation is not None
    assert run.evaluation.candidate.invalid == 0


def test_every_result_carries_five_weights_that_sum_to_one(
    stack: Stack, log_id: str, tmp_path: Path
) -> None:
    assert write_rows(stack, log_id, tmp_path / "rows.jsonl") == DISTINCT
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    assert len(rows) == ROWS
    for row in rows:
        weights = [row[name] for name in FIVE]
        assert all(0 <= weight <= 1 for weight in weights)
        assert abs(math.fsum(weights) - 1) <= 1e-9
        assert row["dominant"] == max(FIVE, key=lambda name: row[name])
    assert any(row["dominant"] == "ocr" for row in rows)


def test_the_summary_tells_of_all_five(stack: Stack, log_id: str) -> None:
    means = read_summary(stack, log_id)["weight_means"]
    assert set(means) == set(FIVE)
    assert all(mean > 0 for mean in means.values())


def test_the_api_answers_with_five(stack: Stack, run: Run) -> None:
    reply = ask(stack, "the words on the protester's sign")

    assert list(reply["weights"]) == list(FIVE)
    assert math.fsum(reply["weights"].values()) == pytest.approx(1, abs=1e-9)
    assert (reply["tier"], reply["status"]) == ("distilled", "ok")

"""`search-router local up|down|demo`: the whole system on this machine, without an account.

The demo runs the main job: prompts → run → distillation → deployment → evaluation → promotion, then
query log → results. It returns 0 only if every stage succeeded and every row is accounted for.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from local_stack.background import start_in_background, stop_in_background
from local_stack.launcher import LocalStack, LocalStackOptions
from local_stack.processes import LocalStackError
from local_stack.state_file import running_stacks, runtime_folder
from router_cli import synthesis
from router_cli.console import CommandError, Steps, fail, print_table, say
from router_cli.labels import labelled
from router_cli.results import print_summary, write_rows
from router_cli.route import ask
from router_cli.routed_logs.parts import read_summary
from router_cli.runs import print_scores
from router_cli.stack import Stack, local_stack_of
from router_cli.upload import upload
from search_router.domain.lifecycle.runs import Run
from search_router.domain.logs.query_logs import LogState, QueryLog

_PROMPTS, _LOG_ROWS, _LOG_DISTINCT = 2_400, 20_000, 1_500
_SEED = 20_261_120
_EXAMPLE_QUERY = "crowd singing the anthem before kick-off"
_STAGE_SECONDS = 300.0
_POLL_SECONDS = 0.2

_T = TypeVar("_T")


def up(arguments: argparse.Namespace) -> int:
    """Start a stack that keeps running after the command has ended."""
    options = LocalStackOptions(tick_track_runs=True, parameters=dict(arguments.parameter or ()))
    with _local_stack_errors():
        connection = start_in_background(options, os.environ)
    say(
        f"Running at {connection.endpoint}. Use it with --local and stop it with "
        "`search-router local down`."
    )
    return 0


def down(_: argparse.Namespace) -> int:
    """Stop every stack that `local up` started."""
    with _local_stack_errors():
        stacks = running_stacks(runtime_folder(os.environ))
        for connection in stacks:
            stop_in_background(connection)
    say(f"{len(stacks)} stopped")
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Run the main job on the user's files, or on generated ones."""
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    steps = Steps()
    options = LocalStackOptions(tick_track_runs=True, parameters={"LocalTier": "on"})
    with _local_stack_errors():
        prompts, query_log = _inputs(arguments.prompts, arguments.query_log, out)
        say("starting the local stack: template.yaml, ministack and the Bedrock fake")
        with LocalStack(options) as stack:
            say(f"{steps.elapsed_s:6.1f} s  deployed at {stack.connection.endpoint}")
            summary = _main_job(stack, prompts, query_log, out, steps)
    text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    (out / "summary.json").write_text(text, encoding="utf-8")
    _print(summary, out)
    problems = summary["problems"]
    return fail("; ".join(problems)) if problems else 0


@contextmanager
def _local_stack_errors() -> Iterator[None]:
    try:
        yield
    except LocalStackError as error:
        raise CommandError(str(error)) from None


def _inputs(prompts: Path | None, query_log: Path | None, out: Path) -> tuple[Path, Path]:
    for path in (prompts, query_log):
        if path is not None and not path.is_file():
            raise CommandError(f"no such file: {path}.")
    if prompts is None:
        prompts = out / "prompts.jsonl"
        synthesis.write_jsonl(prompts, synthesis.training_records(_SEED, _PROMPTS))
    if query_log is None:
        query_log = out / "query-log.jsonl"
        known = [synthesis.record_query(row) for row in synthesis.training_records(_SEED, _PROMPTS)]
        rows = synthesis.query_log_rows(_SEED, _LOG_ROWS, _LOG_DISTINCT, known=known)
        synthesis.write_jsonl(query_log, rows)
    return prompts, query_log


def _main_job(
    local: LocalStack, prompts: Path, query_log: Path, out: Path, steps: Steps
) -> dict[str, Any]:
    stack = local_stack_of(local.connection)
    run = _distil(stack, prompts, steps, local)
    log, log_summary = _route(stack, query_log, out, steps, local)
    example = ask(stack, _EXAMPLE_QUERY) if run.promoted else {}
    return {
        "prompts": run.counts.model_dump(exclude={"conflicts"}),
        "run": {
            "run_id": run.run_id,
            "state": run.state.value,
            "reason": run.reason,
            "job_status": run.training.job_status if run.training else "",
            "deployment_status": run.deployment.status if run.deployment else "",
            "promoted": run.promoted,
        },
        "evaluation": run.evaluation.model_dump(mode="json") if run.evaluation else None,
        "query_log": log_summary,
        "example": {"query": _EXAMPLE_QUERY, **example},
        "elapsed_s": round(steps.elapsed_s, 1),
        "not_emulated": [f"{item.what}: {item.how}" for item in local.not_emulated],
        "problems": _problems(run, log, log_summary, out),
    }


def _distil(stack: Stack, prompts: Path, steps: Steps, local: LocalStack) -> Run:
    with steps.step("upload the prompts") as details:
        run_id = upload(stack, "prompts", prompts)
        details.append(run_id)
    with steps.step("validate, split, shard") as details:
        run = _wait(local, lambda: stack.runs.get(run_id), lambda _: True)
        details.append(f"{run.counts.accepted:,} accepted, {run.counts.rejected:,} rejected")
    with steps.step("distil, deploy, evaluate, promote") as details:
        run = _wait(local, lambda: stack.runs.get(run_id), lambda run: not run.is_open)
        details.append(run.state.value)
    return run


def _route(
    stack: Stack, query_log: Path, out: Path, steps: Steps, local: LocalStack
) -> tuple[QueryLog, dict[str, Any]]:
    with steps.step("upload the query log") as details:
        log_id = upload(stack, "query-log", query_log)
        details.append(log_id)
    with steps.step("route the query log") as details:
        ended = (LogState.ROUTED, LogState.FAILED)
        log = _wait(local, lambda: stack.ledger.get(log_id), lambda log: log.state in ended)
        details.append(log.state.value)
    if log.state is LogState.FAILED:
        return log, {"state": log.state.value, "reason": log.reason}
    with steps.step("fetch the results") as details:
        summary = read_summary(stack, log_id)
        summary["distinct"] = write_rows(stack, log_id, out / "results.jsonl")
        details.append(f"{summary['routed'] + summary['fallback']:,} rows")
    return log, summary


def _wait(local: LocalStack, read: Callable[[], _T | None], done: Callable[[_T], bool]) -> _T:
    """Poll until the record exists and is done."""
    deadline = time.monotonic() + _STAGE_SECONDS
    while time.monotonic() < deadline:
        local.require_alive()
        record = read()
        if record is not None and done(record):
            return record
        time.sleep(_POLL_SECONDS)
    raise CommandError(f"timed out after {_STAGE_SECONDS:.0f} s.")


def _problems(run: Run, log: QueryLog, summary: dict[str, Any], out: Path) -> list[str]:
    """Return what failed and which row counts do not add up."""
    if not run.promoted:
        return [f"the run is {run.state.value}: {run.reason}"]
    if log.state is LogState.FAILED:
        return [f"the query log failed: {log.reason}"]
    counts = run.counts
    answered = summary["routed"] + summary["fallback"]
    written = sum(1 for _ in _valid_rows(out / "results.jsonl", run.serving.modalities))
    removed = counts.duplicates + counts.sampled_out
    differences = {
        "prompt rows": counts.rows_in - counts.accepted - counts.rejected,
        "accepted prompts": counts.accepted - counts.training - counts.holdout - removed,
        "log rows": summary["rows_in"] - answered - summary["rejected"],
        "result rows": written - answered,
    }
    return [f"{what} are off by {number}" for what, number in differences.items() if number]


def _valid_rows(path: Path, modalities: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the result rows whose weights are finite and sum to 1."""
    with path.open("rb") as file:
        for line in file:
            row = json.loads(line)
            weights = [row[name] for name in modalities]
            if all(map(math.isfinite, weights)) and abs(math.fsum(weights) - 1) <= 1e-9:
                yield row


def _print(summary: dict[str, Any], out: Path) -> None:
    print_table("Prompts", ["", "rows"], labelled(summary["prompts"]))
    print_table("Run", ["", ""], labelled(summary["run"]))
    if summary["evaluation"]:
        print_scores(summary["evaluation"])
    print_summary("Query log", summary["query_log"])
    print_table("POST /route", ["", ""], labelled(summary["example"]))
    say("Model quality and latency are those of the Bedrock fake. Not emulated:")
    for item in summary["not_emulated"]:
        say(f"  - {item}")
    is_routed = "distinct" in summary["query_log"]
    written = ["summary.json", *(["results.jsonl"] if is_routed else [])]
    say(f"written: {', '.join(str(out / name) for name in written)}")

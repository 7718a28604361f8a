"""The main job from files to results on one machine: `make demo`.

Prompt file → run → distillation → deployment → evaluation → promotion; then query log → results.
It ends with exit code 0 only if every stage succeeded and every row is accounted for.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from local_stack.launcher import LocalStack, LocalStackOptions
from local_stack.processes import LocalStackError
from router_cli import synthesis
from router_cli.console import Steps, fail, print_table, say
from router_cli.failures import CommandError
from router_cli.results import print_summary, write_rows
from router_cli.route import ask
from router_cli.routed_logs.parts import read_summary
from router_cli.runs import print_scores
from router_cli.stack import Stack, local_stack_of
from router_cli.upload import upload
from search_router.domain.lifecycle.runs import Run
from search_router.domain.logs.query_logs import LogState, QueryLog

PROMPTS = 2_400
LOG_ROWS = 20_000
LOG_DISTINCT = 1_500
SEED = 20_261_120
EXAMPLE_QUERY = "crowd singing the anthem before kick-off"
_STAGE_SECONDS = 300.0
_POLL_SECONDS = 0.2

_T = TypeVar("_T")


def run_demo(prompts: Path | None, query_log: Path | None, out: Path) -> int:
    """Run the main job on the user's files, or on generated ones, and return the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    steps = Steps()
    options = LocalStackOptions(tick_track_runs=True, parameters={"LocalTier": "on"})
    try:
        prompts, query_log = _inputs(prompts, query_log, out)
        say("starting the local stack: template.yaml, ministack and the Bedrock double")
        with LocalStack(options) as stack:
            say(f"{steps.elapsed_s:6.1f} s  deployed at {stack.connection.endpoint}")
            summary = _main_job(stack, prompts, query_log, out, steps)
    except LocalStackError as error:
        raise CommandError(str(error)) from None
    (out / "summary.json").write_text(
        json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    _print(summary, out)
    problems = summary.pop("problems")
    return fail("; ".join(problems)) if problems else 0


def _inputs(prompts: Path | None, query_log: Path | None, out: Path) -> tuple[Path, Path]:
    for path in (prompts, query_log):
        if path is not None and not path.is_file():
            raise CommandError(f"there is no file {path}")
    if prompts is None:
        prompts = out / "prompts.jsonl"
        synthesis.write_jsonl(prompts, synthesis.training_records(SEED, PROMPTS))
    if query_log is None:
        query_log = out / "query-log.jsonl"
        known = [synthesis.record_query(row) for row in synthesis.training_records(SEED, PROMPTS)]
        rows = synthesis.query_log_rows(SEED, LOG_ROWS, LOG_DISTINCT, known=known)
        synthesis.write_jsonl(query_log, rows)
    return prompts, query_log


def _main_job(
    local: LocalStack, prompts: Path, query_log: Path, out: Path, steps: Steps
) -> dict[str, Any]:
    stack = local_stack_of(local.connection)
    run = _distil(stack, prompts, steps, local)
    log, log_summary = _route(stack, query_log, out, steps, local)
    example = ask(stack, EXAMPLE_QUERY) if run.promoted else {}
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
        "example": {"query": EXAMPLE_QUERY, **example},
        "elapsed_s": round(steps.elapsed_s, 1),
        "not_emulated": [f"{item.what}: {item.how}" for item in local.not_emulated],
        "problems": _problems(run, log, log_summary, out),
    }


def _distil(stack: Stack, prompts: Path, steps: Steps, local: LocalStack) -> Run:
    with steps.step("upload the prompts") as done:
        run_id = upload(stack, "prompts", prompts)
        done.append(run_id)
    with steps.step("validate, split, shard") as done:
        run = _wait(local, lambda: stack.runs.get(run_id), lambda _: True)
        counts = run.counts
        done.append(f"{counts.accepted} accepted, {counts.rejected} rejected")
    with steps.step("distil, deploy, evaluate, promote") as done:
        run = _wait(local, lambda: stack.runs.get(run_id), lambda run: not run.is_open)
        done.append(run.state.value)
    return run


def _route(
    stack: Stack, query_log: Path, out: Path, steps: Steps, local: LocalStack
) -> tuple[QueryLog, dict[str, Any]]:
    with steps.step("upload the query log") as done:
        log_id = upload(stack, "query-log", query_log)
        done.append(log_id)
    with steps.step("route the query log") as done:
        log = _wait(local, lambda: stack.ledger.get(log_id), _is_over)
        done.append(log.state.value)
    if log.state is LogState.FAILED:
        return log, {"state": log.state.value, "reason": log.reason}
    with steps.step("fetch the results") as done:
        summary = read_summary(stack, log_id)
        summary["distinct"] = write_rows(stack, log_id, out / "results.jsonl")
        done.append(f"{summary['routed'] + summary['fallback']} rows")
    return log, summary


def _is_over(log: QueryLog) -> bool:
    return log.state in (LogState.ROUTED, LogState.FAILED)


def _wait(local: LocalStack, read: Callable[[], _T | None], enough: Callable[[_T], bool]) -> _T:
    """Poll until the record is there and has come far enough."""
    deadline = time.monotonic() + _STAGE_SECONDS
    while time.monotonic() < deadline:
        local.require_alive()
        record = read()
        if record is not None and enough(record):
            return record
        time.sleep(_POLL_SECONDS)
    raise CommandError(f"nothing happened for {_STAGE_SECONDS:.0f} s")


def _problems(run: Run, log: QueryLog, summary: dict[str, Any], out: Path) -> list[str]:
    """Say what failed and which rows are not conserved; empty if all is well."""
    if not run.promoted:
        return [f"the run is {run.state.value}: {run.reason}"]
    if log.state is LogState.FAILED:
        return [f"the query log failed: {log.reason}"]
    counts = run.counts
    written = sum(1 for _ in _valid_rows(out / "results.jsonl", run.serving.modalities))
    balances = {
        "prompt rows": counts.rows_in - counts.accepted - counts.rejected,
        "accepted prompts": counts.accepted
        - (counts.training + counts.holdout + counts.duplicates + counts.sampled_out),
        "log rows": summary["rows_in"]
        - (summary["routed"] + summary["fallback"] + summary["rejected"]),
        "result rows": written - (summary["routed"] + summary["fallback"]),
    }
    return [
        f"{what} are off by {difference}" for what, difference in balances.items() if difference
    ]


def _valid_rows(path: Path, modalities: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the result rows whose weights are finite and sum to 1."""
    with path.open("rb") as file:
        for line in file:
            row = json.loads(line)
            weights = [row[name] for name in modalities]
            if all(map(math.isfinite, weights)) and abs(math.fsum(weights) - 1) <= 1e-9:
                yield row


def _print(summary: dict[str, Any], out: Path) -> None:
    print_table("Prompts", ["", "rows"], summary["prompts"].items())
    print_table("Run", ["", ""], summary["run"].items())
    if summary["evaluation"]:
        print_scores(summary["evaluation"])
    print_summary("Query log", summary["query_log"])
    print_table("POST /route", ["", ""], summary["example"].items())
    say("This machine is not AWS. Model quality and latency are the double's. Not emulated:")
    for item in summary["not_emulated"]:
        say(f"  - {item}")
    say(f"written: {out}/summary.json, {out}/results.jsonl")

"""`search-router local up|down|demo`: the whole system on this machine, without an account.

The demo runs the main job: prompts → run → distillation → deployment → evaluation → promotion, then
query log → results, then segments → index → search. It returns 0 only if every stage succeeded and
every row is accounted for.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
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
from router_cli.search import marked, search
from router_cli.stack import Stack, local_stack_of
from router_cli.upload import print_segment_ledger, segment_ledger, upload, upload_segments
from search_router.domain.lifecycle.runs import Run
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.search.segment_uploads import SegmentState

_PROMPTS, _LOG_ROWS, _LOG_DISTINCT = 2_400, 20_000, 1_500
_SEED = 20_261_120
_EXAMPLE_QUERY = "crowd singing the anthem before kick-off"
_SEGMENTS, _COLLECTION, _SHOWN_HITS = 300, "demo", 3
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
            summary = _main_job(stack, (prompts, query_log), arguments.query_field, out, steps)
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
    local: LocalStack,
    files: tuple[Path, Path],
    query_field: str | None,
    out: Path,
    steps: Steps,
) -> dict[str, Any]:
    prompts, query_log = files
    stack = local_stack_of(local.connection)
    run = _distil(stack, prompts, steps, local)
    log, log_summary = _route(stack, query_log, query_field, out, steps, local)
    example = ask(stack, _EXAMPLE_QUERY) if run.promoted else {}
    segments, searches = _search(stack, out, steps, local)
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
        "segments": segments,
        "searches": searches,
        "elapsed_s": round(steps.elapsed_s, 1),
        "not_emulated": [f"{item.what}: {item.how}" for item in local.not_emulated],
        "problems": [*_problems(run, log, log_summary, out), *_search_problems(segments, searches)],
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
    stack: Stack,
    query_log: Path,
    query_field: str | None,
    out: Path,
    steps: Steps,
    local: LocalStack,
) -> tuple[QueryLog, dict[str, Any]]:
    with steps.step("upload the query log") as details:
        log_id = upload(stack, "query-log", query_log, query_field)
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


def _search(
    stack: Stack, out: Path, steps: Steps, local: LocalStack
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Index a generated catalogue; search it with routed and with equal weights."""
    file = out / "segments.jsonl"
    synthesis.write_jsonl(file, synthesis.segment_rows(_SEED, _SEGMENTS))
    with steps.step("index the segments") as details:
        upload_id = upload_segments(stack, file, _COLLECTION)
        head = _wait(
            local,
            lambda: stack.segment_uploads.get(upload_id),
            lambda head: not head.state.is_unfinished,
        )
        details.append(head.state.value)
    if head.state is SegmentState.FAILED:
        return {"state": head.state.value, "reason": head.reason}, []
    with steps.step("search") as details:
        searches = [
            {
                "modality": modality,
                "query": query,
                "routed": _routed(stack, query),
                "equal": search(stack, [*_parameters(query), ("route", "off")]),
            }
            for modality, query in synthesis.EXAMPLE_QUERIES.items()
        ]
        details.append(f"{2 * len(searches)} searches")
    return segment_ledger(stack, upload_id), searches


def _routed(stack: Stack, query: str) -> dict[str, Any]:
    """Search once more if the router was late: by then its answer is cached."""
    reply = search(stack, _parameters(query))
    return search(stack, _parameters(query)) if reply["late"] else reply


def _parameters(query: str) -> list[tuple[str, str]]:
    return [("q", query), ("collection", _COLLECTION), ("k", str(_SHOWN_HITS))]


def _search_problems(segments: dict[str, Any], searches: list[dict[str, Any]]) -> list[str]:
    """Return which rows of the catalogue are unaccounted for, and which searches failed."""
    if not searches:
        return [f"the segments are {segments['state']}: {segments['reason']}"]
    outcomes = ("indexed", "unchanged", "deleted", "superseded", "rejected")
    lost = segments["rows_in"] - sum(segments[outcome] for outcome in outcomes)
    replies = [(one["query"], one[name]) for one in searches for name in ("routed", "equal")]
    found = [f"no hits: {query}" for query, reply in replies if not reply["hits"]]
    failed = {name for _, reply in replies for name in reply["degraded"]}
    return [
        *([f"segments are off by {lost}"] if lost else []),
        *found,
        *([f"lists that failed: {', '.join(sorted(failed))}"] if failed else []),
    ]


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
    if summary["searches"]:
        print_segment_ledger(summary["segments"])
        for one in summary["searches"]:
            _print_search(one)
    say("Model quality and latency are those of the Bedrock fake. Not emulated:")
    for item in summary["not_emulated"]:
        say(f"  - {item}")
    is_routed = "distinct" in summary["query_log"]
    written = ["summary.json", *(["results.jsonl"] if is_routed else [])]
    say(f"written: {', '.join(str(out / name) for name in written)}")


def _print_search(one: dict[str, Any]) -> None:
    """Print the best hits with routed and with equal weights side by side."""
    columns = [one["routed"], one["equal"]]
    rows = zip_longest(*([_hit(hit) for hit in reply["hits"]] for reply in columns), fillvalue="")
    titles = [
        f"{name} ({reply['tier']}): "
        + ", ".join(f"{weight:.2f}" for weight in reply["weights"].values())
        for name, reply in (("routed", columns[0]), ("equal", columns[1]))
    ]
    numbered = [(rank, *row) for rank, row in enumerate(rows, 1)]
    print_table(f"GET /search, {one['modality']}: {one['query']}", ["", *titles], numbered)


def _hit(hit: dict[str, Any]) -> str:
    modality = hit["snippet"]["modality"] if hit["snippet"] else "-"
    return f"{hit['score']:.3f} {hit['segment_id']} {modality}: {marked(hit['snippet'])}"

"""`search-router runs [RUN]`: the runs and uploads of a stack, or one run with its scores."""

import argparse
from collections.abc import Mapping
from typing import Any

from router_cli import rejections
from router_cli.console import print_json, print_table
from router_cli.labels import figure, label, labelled
from router_cli.stack import Stack, open_stack
from search_router.domain.lifecycle.evaluation import BASE, BASELINE, CANDIDATE, CHAMPION

_SCORES = (
    "n",
    "mae",
    "dominant_agreement",
    "within_005",
    "within_010",
    "rubric",
    "invalid_share",
    "invalid",
)
_DRAWN = {"mae_interval", "risk_coverage", "held_out_patterns"}  # in the report, not in a table


def run(arguments: argparse.Namespace) -> int:
    """Show one run in full, or list all runs, query logs and uploads of segments."""
    stack = open_stack(arguments)
    if arguments.rejected:
        if not arguments.run_id:
            arguments.usage_error("--rejected needs a run")
        run_id = stack.run(arguments.run_id).run_id
        rows = rejections.of_run(stack, run_id)
        rejections.show(run_id, rows, arguments.out, as_json=arguments.json)
    elif arguments.run_id:
        _show(stack, arguments.run_id, arguments.json)
    else:
        _list(stack, arguments.json)
    return 0


def print_scores(evaluation: Mapping[str, Any]) -> None:
    """Print the scores of the models side by side, with the noise ceiling of the labels."""
    names = (CANDIDATE, CHAMPION, BASE, BASELINE)
    models = {name: evaluation[name] for name in names if evaluation[name] is not None}
    noise = evaluation["noise"] or {}
    rows = [
        (
            label(name),
            *(_with_interval(scores, name) for scores in models.values()),
            _with_interval(noise, name) if name in noise else "-",
        )
        for name in _SCORES
    ]
    for name in ("mean", "p50", "p95"):
        row = (f"latency_{name}", [scores["latency_ms"][name] for scores in models.values()])
        rows.append((label(row[0]), *(figure(row[0], value) for value in row[1]), "-"))
    costs = [scores["cost_usd_per_million"] for scores in models.values()]
    name = "cost_usd_per_million"
    rows.append((label(name), *(figure(name, cost) for cost in costs), "-"))
    print_table("Scores on the holdout", ["", *models, "noise ceiling"], rows)
    local = evaluation.get("local_tier")
    if local:
        shown = {name: value for name, value in local.items() if name not in _DRAWN}
        print_table("Local tier on the same holdout", ["", ""], labelled(shown))
        if local.get("held_out_patterns"):
            patterns = labelled(local["held_out_patterns"])
            print_table("Local tier on patterns left out of its training", ["", ""], patterns)


def _show(stack: Stack, run_id: str, as_json: bool) -> None:
    run = stack.run(run_id)
    fields = run.model_dump(mode="json", exclude={"evaluation"})
    evaluation = run.evaluation.model_dump(mode="json") if run.evaluation else None
    if as_json:
        print_json({**fields, "evaluation": evaluation})
        return
    print_table(run_id, ["", ""], labelled(fields))
    if evaluation:
        print_scores(evaluation)


def _with_interval(scores: Mapping[str, Any], name: str) -> str:
    """Return a score with its 95% interval, if it has one."""
    text, interval = figure(name, scores[name]), scores["intervals"].get(name)
    if not interval:
        return text
    return f"{text} ({figure(name, interval['low'])} to {figure(name, interval['high'])})"


def _list(stack: Stack, as_json: bool) -> None:
    runs = sorted(stack.runs.all(), key=lambda run: run.created_at)
    logs = sorted(stack.ledger.all(), key=lambda log: log.created_at)
    segments = sorted(stack.segment_uploads.all(), key=lambda upload: upload.created_at)
    if as_json:
        print_json(
            {
                "runs": [run.model_dump(mode="json") for run in runs],
                "query_logs": [log.model_dump(mode="json") for log in logs],
                "segment_uploads": [upload.model_dump(mode="json") for upload in segments],
            }
        )
        return
    print_table(
        "Runs",
        ["run", "file", "state", "training rows", "job", "reason"],
        [
            (
                r.run_id,
                r.source.key,
                r.state.value,
                r.counts.training,
                r.training.job_status if r.training else "",
                r.reason,
            )
            for r in runs
        ],
    )
    print_table(
        "Query logs",
        ["log", "file", "state", "splits", "parts", "reason"],
        [(g.log_id, g.source_key, g.state.value, g.splits, g.parts, g.reason) for g in logs],
    )
    print_table(
        "Uploads of segments",
        ["upload", "file", "collection", "state", "splits", "parts", "reason"],
        [
            (s.upload_id, s.source_key, s.collection, s.state.value, s.splits, s.parts, s.reason)
            for s in segments
        ],
    )

"""`search-router runs [RUN]`: what became of the prompt files and the query logs."""

import argparse
from typing import Any

from router_cli.console import print_json, print_table
from router_cli.failures import CommandError
from router_cli.stack import Stack, add_stack_arguments, open_stack

_FIGURES = ("mae_interval", "risk_coverage", "held_out_patterns")
_MODELS = ("candidate", "champion", "base", "baseline")
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


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("runs", help="list runs and query logs, or show one run")
    parser.add_argument("run_id", nargs="?", metavar="RUN")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show one run in full, or all in short."""
    stack = open_stack(arguments)
    if arguments.run_id:
        _show(stack, arguments.run_id, arguments.json)
    else:
        _list(stack, arguments.json)
    return 0


def _show(stack: Stack, run_id: str, as_json: bool) -> None:
    run = stack.runs.get(run_id)
    if run is None:
        raise CommandError(f"there is no run {run_id}; `search-router runs` lists them")
    fields = run.model_dump(mode="json", exclude={"evaluation"})
    evaluation = run.evaluation.model_dump(mode="json") if run.evaluation else None
    if as_json:
        print_json({**fields, "evaluation": evaluation})
        return
    print_table(run_id, ["", ""], fields.items())
    if run.evaluation:
        print_scores(run.evaluation.model_dump())


def print_scores(evaluation: dict[str, Any]) -> None:
    """Print the models of an evaluation side by side, and the labels' noise as the ceiling."""
    models = {name: evaluation[name] for name in _MODELS if evaluation[name] is not None}
    noise = evaluation["noise"] or {}
    rows: list[list[object]] = [
        [
            name,
            *(_with_interval(scores, name) for scores in models.values()),
            _rounded(noise.get(name)),
        ]
        for name in _SCORES
    ]
    for figure in ("mean", "p50", "p95"):
        row = [_rounded(scores["latency_ms"][figure]) for scores in models.values()]
        rows.append([f"latency {figure}, ms", *row, None])
    dollars = [round(scores["cost_usd_per_million"], 2) for scores in models.values()]
    rows.append(["$ per million", *dollars, None])
    print_table("Scores on the holdout", ["", *models, "noise ceiling"], rows)
    local = evaluation.get("local_tier")
    if local:
        shown = {name: _rounded(value) for name, value in local.items() if name not in _FIGURES}
        print_table("Local tier on the same holdout", ["", ""], shown.items())
    if local and local.get("held_out_patterns"):
        hidden = {name: _rounded(value) for name, value in local["held_out_patterns"].items()}
        print_table("Local tier on patterns kept from its training", ["", ""], hidden.items())


def _with_interval(scores: dict[str, Any], name: str) -> object:
    """Return a score with its 95 % interval, if it has one."""
    value, interval = _rounded(scores[name]), scores["intervals"].get(name)
    return f"{value:.4f} [{interval['low']:.4f}, {interval['high']:.4f}]" if interval else value


def _list(stack: Stack, as_json: bool) -> None:
    runs = sorted(stack.runs.all(), key=lambda run: run.created_at)
    logs = sorted(stack.ledger.all(), key=lambda log: log.created_at)
    if as_json:
        print_json(
            {
                "runs": [run.model_dump(mode="json") for run in runs],
                "query_logs": [log.model_dump(mode="json") for log in logs],
            }
        )
        return
    print_table(
        "Runs",
        ["run", "file", "state", "training", "job", "reason"],
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


def _rounded(value: float | None) -> float | None:
    return round(value, 4) if isinstance(value, float) else value

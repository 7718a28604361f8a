"""The verbs on runs, models and champions, from `distill` to `report`."""

import argparse
import getpass
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import print_json, print_table, say
from router_cli.stack import Stack, open_stack
from search_router.domain.lifecycle.runs import Run
from search_router.domain.prices import price_list
from search_router.use_cases.champion_moves import Approvals, Rollback
from search_router.use_cases.restart_run import RestartRun

_NO_REASON = "no reason given"


def distill(arguments: argparse.Namespace) -> int:
    """Restart a run that ended without a model."""
    stack = open_stack(arguments)
    run = RestartRun(stack.run_deployments)(arguments.run_id, again=arguments.again)
    if arguments.json:
        print_json(run.model_dump(mode="json", include={"run_id", "state", "attempt"}))
    else:
        say(
            f"{run.run_id} is restarted (attempt {run.attempt}). "
            f"`search-router runs {run.run_id}` shows its progress."
        )
    return 0


def promote(arguments: argparse.Namespace) -> int:
    """Promote the model of a run that awaits approval, or of a rejected one by override."""
    if arguments.override and not arguments.reason:
        arguments.usage_error("--override needs --reason WHY")
    stack = open_stack(arguments)
    approvals = Approvals(stack.champions, stack.run_deployments)
    decide = approvals.override if arguments.override else approvals.promote
    run = decide(arguments.run_id, operator(stack), arguments.reason or _NO_REASON)
    if arguments.json:
        print_json(run.model_dump(mode="json", include={"run_id", "state", "champion_version"}))
    elif arguments.override:
        say(
            f"The model of {run.run_id} is deployed again and becomes the champion when its "
            f"deployment is active. `search-router runs {run.run_id}` shows its progress."
        )
    elif run.promoted:
        say(
            f"{run.run_id} is now champion version {run.champion_version}. "
            "`search-router rollback` undoes this."
        )
    else:
        say(
            f"The champion has changed, so {run.run_id} is compared with the new one first. "
            f"`search-router runs {run.run_id}` shows when it awaits approval again."
        )
    return 0


def reject(arguments: argparse.Namespace) -> int:
    """Reject the model of a run that awaits approval, and delete its deployment."""
    stack = open_stack(arguments)
    approvals = Approvals(stack.champions, stack.run_deployments)
    run = approvals.reject(arguments.run_id, operator(stack), arguments.reason or _NO_REASON)
    if arguments.json:
        print_json(run.model_dump(mode="json", include={"run_id", "state", "decision"}))
    else:
        say(f"{run.run_id} is rejected. `search-router promote --override` undoes this.")
    return 0


def prune(arguments: argparse.Namespace) -> int:
    """List the custom models that nothing needs, or delete them."""
    stack = open_stack(arguments)
    runs = list(prunable(stack))
    price = price_list().unit_usd("custom_model_storage")
    if arguments.yes:
        for run in runs:
            arn = run.training.model_arn if run.training else None
            stack.client("bedrock").delete_custom_model(modelIdentifier=arn)
    saved = round(price * len(runs), 2)
    if arguments.json:
        listed = [run.training.model_arn for run in runs if run.training]
        print_json({"models": listed, "deleted": arguments.yes, "usd_per_month": saved})
        return 0
    print_table(
        "Custom models that no champion, rollback or open run needs",
        ["run", "file", "state", "created"],
        [(it.run_id, it.source.key, it.state.value, f"{it.created_at:%Y-%m-%d}") for it in runs],
    )
    done = "deleted" if arguments.yes else "can be deleted with --yes"
    say(f"{len(runs):,} models {done}; each costs ${price:.2f} a month, ${saved:.2f} in all.")
    return 0


def prunable(stack: Stack) -> Iterator[Run]:
    """Yield one run for each stored model that only former or rejected runs used."""
    current = stack.champions.current()
    former = current.previous_version if current else None
    needed_versions = {current.version if current else None, former} - {None}
    deployed = set(stack.deployments.arns())
    runs = [run for run in stack.runs.all() if run.training and run.training.model_arn]
    needed = {
        run.training.model_arn
        for run in runs
        if run.training
        and (
            not run.is_closed
            or run.champion_version in needed_versions
            or (run.deployment is not None and run.deployment.arn in deployed)
        )
    }
    pages = stack.client("bedrock").get_paginator("list_custom_models").paginate(isOwned=True)
    stored = {model["modelArn"] for page in pages for model in page["modelSummaries"]}
    for run in runs:
        arn = run.training.model_arn if run.training else None
        if arn in stored and arn not in needed:
            stored.remove(arn)
            yield run


def operator(stack: Stack) -> str:
    """Return who runs the command: the AWS identity, or the user of this machine."""
    try:
        arn: str = stack.client("sts").get_caller_identity()["Arn"]
    except (BotoCoreError, ClientError, KeyError):
        return getpass.getuser()
    return arn


def rollback(arguments: argparse.Namespace) -> int:
    """Make an earlier champion the current one."""
    stack = open_stack(arguments)
    roll_back = Rollback(stack.champions, stack.deployments, stack.lifecycle.clock)
    why = f"rolled back by {operator(stack)}: {arguments.reason or _NO_REASON}"
    champion = roll_back(arguments.to, why)
    if arguments.json:
        print_json({"champion_version": champion.version, "run_id": champion.run_id})
    else:
        say(f"Champion version {champion.version} ({champion.run_id}) serves from now on.")
    return 0


def champions(arguments: argparse.Namespace) -> int:
    """List the champions and the changes between them."""
    stack = open_stack(arguments)
    listed = _champions(stack)
    moves = [move.model_dump(mode="json") for move in stack.champions.moves()]
    if arguments.json:
        print_json({"champions": listed, "moves": moves})
        return 0
    for title, rows, names in (
        (
            "Champions",
            listed,
            ("version", "run_id", "file", "error", "promoted_at", "serves", "deployed"),
        ),
        ("Changes", moves, ("moved_at", "from_version", "to_version", "reason")),
    ):
        columns = [name.removesuffix("_id").replace("_", " ") for name in names]
        print_table(title, columns, [[row[name] for name in names] for row in rows])
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Write the files of a run's report into a folder, which is created if needed."""
    from router_cli.evaluation_report.facts import gather
    from router_cli.evaluation_report.figures import draw_figures
    from router_cli.evaluation_report.page import page

    stack = open_stack(arguments)
    run = stack.run(arguments.run_id)
    facts = gather(run, stack.objects, is_local=arguments.local, now=datetime.now(UTC))
    drawings = draw_figures(facts)
    arguments.out.mkdir(parents=True, exist_ok=True)
    files = {
        "report.json": facts.model_dump_json(indent=2) + "\n",
        "report.html": page(facts, drawings),
        **{f"{drawing.name}.svg": drawing.svg for drawing in drawings},
    }
    for name, content in files.items():
        (arguments.out / name).write_text(content, encoding="utf-8")
    written = [str(arguments.out / name) for name in files]
    if arguments.json:
        print_json({"run_id": run.run_id, "state": run.state.value, "written": written})
    else:
        say(f"written: {', '.join(written)}")
    return 0


def _origin(run: Run | None) -> dict[str, Any]:
    """Return a champion's file and mean absolute error on its own holdout."""
    evaluation = run.evaluation if run else None
    return {
        "file": run.source.key if run else None,
        "error": round(evaluation.candidate.mae, 4) if evaluation else None,
    }


def _champions(stack: Stack) -> list[dict[str, Any]]:
    current = stack.champions.current()
    deployed = set(stack.deployments.arns())
    runs = {run.run_id: run for run in stack.runs.all()}
    return [
        {
            "version": champion.version,
            "run_id": champion.run_id,
            **_origin(runs.get(champion.run_id)),
            "promoted_at": champion.promoted_at.isoformat(),
            "previous_version": champion.previous_version,
            "serves": current is not None and champion.version == current.version,
            "deployed": champion.serving.model_id in deployed,
            "deployment_arn": champion.serving.model_id,
        }
        for champion in stack.champions.history()
    ]

"""The verbs on runs and champions: `distill`, `promote`, `rollback`, `champions` and `report`."""

import argparse
from datetime import UTC, datetime
from typing import Any

from router_cli.console import print_json, print_table, say
from router_cli.stack import Stack, open_stack
from search_router.use_cases.champion_moves import Approve, Rollback
from search_router.use_cases.restart_run import RestartRun


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
    """Promote the model of a run that awaits approval."""
    stack = open_stack(arguments)
    approve = Approve(stack.champions, stack.lifecycle)
    run = approve(arguments.run_id, "approved by an operator")
    if arguments.json:
        print_json(run.model_dump(mode="json", include={"run_id", "state", "champion_version"}))
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


def rollback(arguments: argparse.Namespace) -> int:
    """Make an earlier champion the current one."""
    stack = open_stack(arguments)
    roll_back = Rollback(stack.champions, stack.deployments, stack.lifecycle.clock)
    champion = roll_back(arguments.to, "rolled back by an operator")
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
        ("Champions", listed, ("version", "run_id", "promoted_at", "serves", "deployed")),
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


def _champions(stack: Stack) -> list[dict[str, Any]]:
    current = stack.champions.current()
    deployed = set(stack.deployments.arns())
    return [
        {
            "version": champion.version,
            "run_id": champion.run_id,
            "promoted_at": champion.promoted_at.isoformat(),
            "previous_version": champion.previous_version,
            "serves": current is not None and champion.version == current.version,
            "deployed": champion.serving.model_id in deployed,
            "deployment_arn": champion.serving.model_id,
        }
        for champion in stack.champions.history()
    ]

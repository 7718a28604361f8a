"""`search-router report RUN --out DIR`: what a run's evaluation says, as JSON and as a page."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from router_cli.console import print_json, say
from router_cli.failures import CommandError
from router_cli.stack import add_stack_arguments, open_stack


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("report", help="write report.json and report.html of a run")
    parser.add_argument("run_id", metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the report's files into a folder, which is made if it is not there."""
    from router_cli.evaluation_report.facts import gather  # noqa: PLC0415
    from router_cli.evaluation_report.figures import draw_figures  # noqa: PLC0415 - matplotlib
    from router_cli.evaluation_report.page import page  # noqa: PLC0415

    stack = open_stack(arguments)
    found = stack.runs.get(arguments.run_id)
    if found is None:
        raise CommandError(f"there is no run {arguments.run_id}; `search-router runs` lists them")
    facts = gather(found, stack.objects, is_local=arguments.local, now=datetime.now(UTC))
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
        print_json({"run_id": found.run_id, "state": found.state.value, "written": written})
    else:
        say(f"written: {', '.join(written)}")
    return 0

"""`search-router local up|down|demo`: the whole system on this machine, without an account."""

import argparse
import os
from pathlib import Path
from typing import Any

from local_stack.background import start_in_background, stop_in_background
from local_stack.launcher import LocalStackOptions
from local_stack.processes import LocalStackError
from local_stack.state_file import running_stacks, runtime_folder
from router_cli.console import say
from router_cli.demo import run_demo
from router_cli.failures import CommandError


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("local", help="run the whole system on this machine")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    actions.add_parser("up", help="start a stack that stays").set_defaults(run=_up)
    actions.add_parser("down", help="stop the stacks that stay").set_defaults(run=_down)
    demo = actions.add_parser("demo", help="run the main job and leave nothing behind")
    demo.add_argument("--prompts", type=Path, metavar="FILE", help="default: generated")
    demo.add_argument("--query-log", type=Path, metavar="FILE", help="default: generated")
    demo.add_argument("--out", type=Path, default=Path("demo-output"), help="default: %(default)s")
    demo.set_defaults(run=_demo)


def _up(_: argparse.Namespace) -> int:
    try:
        connection = start_in_background(LocalStackOptions(tick_track_runs=True), os.environ)
    except LocalStackError as error:
        raise CommandError(str(error)) from None
    say(f"running at {connection.endpoint}; use it with --local, end it with `local down`")
    return 0


def _down(_: argparse.Namespace) -> int:
    try:
        stacks = running_stacks(runtime_folder(os.environ))
        for connection in stacks:
            stop_in_background(connection)
    except LocalStackError as error:
        raise CommandError(str(error)) from None
    say(f"{len(stacks)} stopped")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    return run_demo(arguments.prompts, arguments.query_log, arguments.out)

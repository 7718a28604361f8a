"""`search-router redrive [--yes]`: what was given up, why, and to where it came from once more."""

import argparse
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import print_json, print_table, say
from router_cli.dead_letters.failed_events import (
    FailedEvent,
    explain_event,
    send_event_again,
)
from router_cli.dead_letters.queues import DeadLetter, hand_on, look, waiting
from router_cli.dead_letters.splits import DeadSplit, explain_splits, send_splits_again
from router_cli.failures import CommandError
from router_cli.stack import Stack, add_stack_arguments, open_stack


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("redrive", help="show and re-send what the dead-letter queues hold")
    parser.add_argument("--yes", action="store_true", help="send it again, not only show it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain what lies in both queues and, if asked, send again what is ours."""
    stack = open_stack(arguments)
    try:
        report, splits, events = _found(stack)
        if not arguments.json:
            _print(splits, events)
        if arguments.yes:
            report["sent_again"] = _send(stack, splits, events)
    except (BotoCoreError, ClientError) as error:
        raise CommandError(f"redrive: {error}; what was not sent again is still there") from None
    if arguments.json:
        print_json(report)
    else:
        say(_outcome(report, asked=arguments.yes))
    return 0


def _found(stack: Stack) -> tuple[dict[str, Any], list[DeadSplit], list[FailedEvent]]:
    sqs = stack.client("sqs")
    split_url = stack.outputs["SplitDeadLetterQueueUrl"]
    event_url = stack.outputs["EventDeadLetterQueueUrl"]
    report: dict[str, Any] = {
        "splits_waiting": waiting(sqs, split_url),
        "events_waiting": waiting(sqs, event_url),
    }
    splits = explain_splits(stack, look(sqs, split_url))
    events = [explain_event(stack, letter) for letter in look(sqs, event_url)]
    report["splits"] = [split.as_json() for split in splits]
    report["events"] = [event.as_json() for event in events]
    report["sent_again"] = {"splits": 0, "events": 0}
    return report, splits, events


def _send(stack: Stack, splits: list[DeadSplit], events: list[FailedEvent]) -> dict[str, int]:
    sqs = stack.client("sqs")

    def send(letter: DeadLetter) -> bool:
        return send_event_again(stack, explain_event(stack, letter))

    sent = 0
    if any(event.is_ours for event in events):
        sent = hand_on(sqs, stack.outputs["EventDeadLetterQueueUrl"], len(events), send)
    return {"splits": send_splits_again(stack, splits, len(splits)), "events": sent}


def _print(splits: list[DeadSplit], events: list[FailedEvent]) -> None:
    if splits:
        rows = [
            (
                dead.split.log_id if dead.split else "?",
                dead.split.split if dead.split else "?",
                dead.letter.receives,
                f"{dead.letter.sent:%Y-%m-%d %H:%M}",
                dead.why,
            )
            for dead in splits
        ]
        print_table("Splits given up", ["log", "split", "receives", "first sent", "why"], rows)
    if events:
        told = [
            (event.about, event.target or "?", f"{event.letter.sent:%Y-%m-%d %H:%M}", event.why)
            for event in events
        ]
        print_table("Events that failed", ["event", "for", "first sent", "why"], told)


def _outcome(report: dict[str, Any], *, asked: bool) -> str:
    sent = report["sent_again"]
    if not report["splits"] and not report["events"]:
        return "both dead-letter queues are empty"
    shown = f"given up: {len(report['splits'])} splits, {len(report['events'])} events"
    if not asked:
        return f"{shown}; mend the cause, then send them again with `search-router redrive --yes`"
    return f"{shown}; sent again: {sent['splits']} splits, {sent['events']} events"

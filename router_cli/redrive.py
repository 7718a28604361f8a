"""`search-router redrive [--yes]`: explain or resend the messages in the dead-letter queues."""

import argparse
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import CommandError, print_json, print_table, say
from router_cli.dead_letters import (
    DeadLetter,
    DeadSplit,
    FailedEvent,
    explain_event,
    explain_splits,
    peek,
    resend,
    send_event,
    send_splits,
    waiting,
)
from router_cli.stack import Stack, open_stack

_NOTHING = {"splits": 0, "events": 0}


def run(arguments: argparse.Namespace) -> int:
    """Explain the messages of both queues and, if asked, send those of this stack again."""
    stack = open_stack(arguments)
    sqs, outputs = stack.client("sqs"), stack.outputs
    split_url, event_url = outputs["SplitDeadLetterQueueUrl"], outputs["EventDeadLetterQueueUrl"]
    try:
        counts = {
            "splits_waiting": waiting(sqs, split_url),
            "events_waiting": waiting(sqs, event_url),
        }
        splits = explain_splits(stack, peek(sqs, split_url))
        events = [explain_event(stack, letter) for letter in peek(sqs, event_url)]
        if not arguments.json:
            _print(splits, events)
        sent = _send(stack, counts, splits, events) if arguments.yes else _NOTHING
    except (BotoCoreError, ClientError) as error:
        raise CommandError(
            f"redrive is incomplete: {error}. Messages that were not sent again are still there."
        ) from None
    if arguments.json:
        listed: dict[str, Any] = {
            "splits": [split.as_json() for split in splits],
            "events": [event.as_json() for event in events],
        }
        print_json({**counts, **listed, "sent_again": sent})
    elif not splits and not events:
        say("Both dead-letter queues are empty.")
    elif arguments.yes:
        say(f"Sent again: {sent['splits']} splits, {sent['events']} events.")
    else:
        say(
            f"{len(splits)} splits and {len(events)} events failed. Fix the cause, then send them "
            "again with `search-router redrive --yes`."
        )
    return 0


def _send(
    stack: Stack, counts: dict[str, int], splits: list[DeadSplit], events: list[FailedEvent]
) -> dict[str, int]:
    """Send what was shown again, and splits beyond the thousand that are shown."""

    def send(letter: DeadLetter) -> bool:
        return send_event(stack, explain_event(stack, letter))

    sent = dict(_NOTHING)
    if any(event.is_own for event in events):
        url = stack.outputs["EventDeadLetterQueueUrl"]
        sent["events"] = resend(stack.client("sqs"), url, len(events), send)
    if splits:
        sent["splits"] = send_splits(stack, max(len(splits), counts["splits_waiting"]))
    return sent


def _print(splits: list[DeadSplit], events: list[FailedEvent]) -> None:
    if splits:
        rows = [
            (
                dead.split.log_id if dead.split else "?",
                str(dead.split.split) if dead.split else "?",
                dead.letter.receives,
                f"{dead.letter.sent:%Y-%m-%d %H:%M}",
                dead.why,
            )
            for dead in splits
        ]
        columns = ["log", "split", "receives", "first sent (UTC)", "cause"]
        print_table("Failed splits", columns, rows)
    if events:
        print_table(
            "Failed events",
            ["event", "target", "first sent (UTC)", "cause"],
            [
                (event.about, event.target or "?", f"{event.letter.sent:%Y-%m-%d %H:%M}", event.why)
                for event in events
            ],
        )

"""`search-router redrive [--yes]`: explain or resend the messages in the dead-letter queues."""

import argparse
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import CommandError, print_json, print_table, say
from router_cli.dead_letters import (
    SPLIT_KINDS,
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
    """Explain the messages of all queues and, if asked, send those of this stack again."""
    stack = open_stack(arguments)
    sqs, event_url = stack.client("sqs"), stack.outputs["EventDeadLetterQueueUrl"]
    try:
        urls = [stack.outputs[kind.dead_letters] for kind in SPLIT_KINDS]
        splits_waiting = [waiting(sqs, url) for url in urls]
        events_waiting = waiting(sqs, event_url)
        splits = [
            list(explain_splits(stack, kind, peek(sqs, url)))
            for kind, url in zip(SPLIT_KINDS, urls, strict=True)
        ]
        events = [explain_event(stack, letter) for letter in peek(sqs, event_url)]
        shown = [split for one_kind in splits for split in one_kind]
        if not arguments.json:
            _print(shown, events)
        sent = _send(stack, splits_waiting, splits, events) if arguments.yes else _NOTHING
    except (BotoCoreError, ClientError) as error:
        raise CommandError(
            f"redrive is incomplete: {error}. Messages that were not sent again are still there."
        ) from None
    if arguments.json:
        listed: dict[str, Any] = {
            "splits": [split.as_json() for split in shown],
            "events": [event.as_json() for event in events],
        }
        counts = {"splits_waiting": sum(splits_waiting), "events_waiting": events_waiting}
        print_json({**counts, **listed, "sent_again": sent})
    elif not shown and not events:
        say("The dead-letter queues are empty.")
    elif arguments.yes:
        say(f"Sent again: {sent['splits']} splits, {sent['events']} events.")
    else:
        say(
            f"{len(shown)} splits and {len(events)} events failed. Fix the cause, then send them "
            "again with `search-router redrive --yes`."
        )
    return 0


def _send(
    stack: Stack,
    splits_waiting: list[int],
    splits: list[list[DeadSplit]],
    events: list[FailedEvent],
) -> dict[str, int]:
    """Send what was shown again, and splits beyond the thousand that are shown."""

    def send(letter: DeadLetter) -> bool:
        return send_event(stack, explain_event(stack, letter))

    sent = dict(_NOTHING)
    if any(event.is_own for event in events):
        url = stack.outputs["EventDeadLetterQueueUrl"]
        sent["events"] = resend(stack.client("sqs"), url, len(events), send)
    for kind, found, known in zip(SPLIT_KINDS, splits, splits_waiting, strict=True):
        if found:
            sent["splits"] += send_splits(stack, kind, max(len(found), known))
    return sent


def _print(splits: list[DeadSplit], events: list[FailedEvent]) -> None:
    if splits:
        rows = [
            (
                dead.split.upload if dead.split else "?",
                str(dead.split.split) if dead.split else "?",
                dead.letter.receives,
                f"{dead.letter.sent:%Y-%m-%d %H:%M}",
                dead.why,
            )
            for dead in splits
        ]
        columns = ["log or upload", "split", "receives", "first sent (UTC)", "cause"]
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

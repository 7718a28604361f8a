"""Splits that were given up: what each still lacks, and back to their queue.

Sending one again can double nothing: its part has a fixed key and is written once, and its marker
is entered once.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from pydantic import ValidationError

from router_cli.dead_letters.queues import DeadLetter, hand_on
from router_cli.failures import CommandError
from router_cli.stack import Stack
from search_router.domain import naming
from search_router.domain.errors import NotFoundError
from search_router.domain.logs.query_logs import LogState, QueryLog, SplitMessage

# What SQS, and what stands in for it on this machine, answer if they cannot move messages.
_CANNOT_MOVE = {
    "InvalidAction",
    "UnsupportedOperation",
    "AWS.SimpleQueueService.UnsupportedOperation",
}
_POLL_SECONDS = 1.0
_MOVING = {"RUNNING", "CANCELLING"}


@dataclass(frozen=True, slots=True)
class DeadSplit:
    """One message of the split dead-letter queue; `split` is None if it is no split of ours."""

    letter: DeadLetter
    split: SplitMessage | None
    why: str

    def as_json(self) -> dict[str, object]:
        """Return what `--json` prints."""
        place = self.split.model_dump(include={"log_id", "split", "start", "end"}) if (
            self.split
        ) else {}  # fmt: skip
        return {
            **place,
            "receives": self.letter.receives,
            "first_sent": self.letter.sent.isoformat(),
            "why": self.why,
        }


def explain_splits(stack: Stack, letters: Iterable[DeadLetter]) -> list[DeadSplit]:
    """Say of each message what its split still lacks, from the ledger and the parts."""
    counted: dict[str, set[int]] = {}
    explained = []
    for letter in letters:
        try:
            split = SplitMessage.model_validate_json(letter.body)
        except ValidationError:
            explained.append(DeadSplit(letter, None, "no split of ours: it is left alone"))
            continue
        if split.log_id not in counted:
            markers = stack.ledger.markers(split.log_id)
            counted[split.log_id] = {marker.split for marker in markers}
        why = _why(stack, letter, split, counted[split.log_id])
        explained.append(DeadSplit(letter, split, why))
    return explained


def send_splits_again(stack: Stack, splits: list[DeadSplit], most: int) -> int:
    """Bring the splits back to their queue; return how many went.

    SQS moves them itself where it can and all are ours; else they are sent and deleted one by one.
    """
    ours = [dead for dead in splits if dead.split is not None]
    if not ours:
        return 0
    sqs = stack.client("sqs")
    if len(ours) == len(splits):
        try:
            return _moved_by_sqs(stack, sqs)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _CANNOT_MOVE:
                raise
    return hand_on(sqs, stack.outputs["SplitDeadLetterQueueUrl"], most, _sender(stack, sqs))


def _why(stack: Stack, letter: DeadLetter, split: SplitMessage, counted: set[int]) -> str:
    log = stack.ledger.get(split.log_id)
    if log is None:
        return "its log is not known here: a worker will ignore it"
    if log.state is LogState.FAILED:
        return f"its log has failed ({log.reason}): a worker will ignore it"
    if split.split in counted:
        return "its part is written and counted: sending it again changes nothing"
    if _is_written(stack, split):
        return "its part is written but not counted: sending it again counts it"
    return _given_up(stack, letter, log)


def _given_up(stack: Stack, letter: DeadLetter, log: QueryLog) -> str:
    function = stack.outputs["RouteQueriesFunctionName"]
    return (
        f"given up after {letter.receives} receives, {log.splits - log.parts} of {log.splits} "
        f"splits of its log are missing: the log of {function} says why, by log_id and split"
    )


def _is_written(stack: Stack, split: SplitMessage) -> bool:
    try:
        stack.objects.info(naming.part_key(split.log_id, split.split))
    except NotFoundError:
        return False
    return True


def _sender(stack: Stack, sqs: Any) -> Any:
    def send(letter: DeadLetter) -> bool:
        try:
            SplitMessage.model_validate_json(letter.body)
        except ValidationError:
            return False
        sqs.send_message(QueueUrl=stack.outputs["SplitQueueUrl"], MessageBody=letter.body)
        return True

    return send


def _moved_by_sqs(stack: Stack, sqs: Any) -> int:
    source = _arn(sqs, stack.outputs["SplitDeadLetterQueueUrl"])
    destination = _arn(sqs, stack.outputs["SplitQueueUrl"])
    sqs.start_message_move_task(SourceArn=source, DestinationArn=destination)
    while True:
        [task] = sqs.list_message_move_tasks(SourceArn=source, MaxResults=1)["Results"]
        if task["Status"] not in _MOVING:
            break
        time.sleep(_POLL_SECONDS)
    moved = int(task.get("ApproximateNumberOfMessagesMoved", 0))
    if task["Status"] != "COMPLETED":
        reason = task.get("FailureReason", "")
        raise CommandError(f"SQS moved {moved} splits, then {task['Status']}: {reason}")
    return moved


def _arn(sqs: Any, url: str) -> str:
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    return str(attributes["QueueArn"])

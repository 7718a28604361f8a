"""The dead-letter queues: read their messages, explain them, send them again.

Two services write to the event queue. EventBridge sends the event, with RULE_ARN, TARGET_ARN and
ERROR_CODE as message attributes (docs.aws.amazon.com/eventbridge/latest/userguide/rule-dlq.html).
Lambda sends a record of a failed asynchronous invocation, with the event as its requestPayload
(docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html).

Two queues hold the messages of splits that failed too often. Sending one again cannot duplicate
anything: its part has a fixed key and is written once, and its marker is recorded once.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from router_cli.stack import Stack
from search_router.domain import naming
from search_router.domain.errors import NotFoundError
from search_router.domain.logs.query_logs import SplitMessage
from search_router.domain.search.segment_uploads import SegmentSplit
from search_router.domain.streams import batched
from search_router.ports import UploadLedger

_BATCH = 10  # SQS: messages of one receive, entries of one batch
_MOST_SHOWN = 1_000
_HIDDEN_SECONDS = 120  # messages come back after this if the command is killed
_LONG_POLL_SECONDS = 1  # a long poll asks all servers of SQS, a short one only some
_ACCEPTED = 202  # Lambda: the event is queued
_MAX_MESSAGE = 200  # characters


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message: its body, how often it was received, and when it was first sent."""

    body: str
    receives: int
    sent: datetime
    attributes: Mapping[str, str]
    message_id: str
    receipt: str


def waiting(sqs: Any, url: str) -> int:
    """Return the approximate number of visible messages in a queue."""
    name = "ApproximateNumberOfMessages"
    return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def peek(sqs: Any, url: str) -> list[DeadLetter]:
    """Return up to 1,000 messages and make all of them visible again."""
    letters = list(_received(sqs, url, _MOST_SHOWN))
    for batch in batched(letters, _BATCH):
        entries = [
            {"Id": str(number), "ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}
            for number, letter in enumerate(batch)
        ]
        sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
    return letters


def resend(sqs: Any, url: str, most: int, send: Callable[[DeadLetter], bool]) -> int:
    """Pass up to `most` messages to `send` and delete those it accepts; return their number.

    A message is deleted after it was sent, so a crash in between sends it twice and loses nothing.
    """
    sent = 0
    rejected: list[DeadLetter] = []
    for letter in _received(sqs, url, most):
        if send(letter):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=letter.receipt)
            sent += 1
        else:
            rejected.append(letter)
    for letter in rejected:
        sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=letter.receipt, VisibilityTimeout=0
        )
    return sent


def _received(sqs: Any, url: str, most: int) -> Iterator[DeadLetter]:
    """Receive each message once, until the queue is empty or there are enough."""
    seen: set[str] = set()
    while len(seen) < most:
        reply = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(_BATCH, most - len(seen)),
            VisibilityTimeout=_HIDDEN_SECONDS,
            WaitTimeSeconds=_LONG_POLL_SECONDS,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        letters = {letter.message_id: letter for letter in map(_letter, reply.get("Messages", []))}
        fresh = letters.keys() - seen
        if not fresh:
            return
        seen |= fresh
        yield from (letter for name, letter in letters.items() if name in fresh)


def _letter(message: Mapping[str, Any]) -> DeadLetter:
    system = message["Attributes"]
    custom = message.get("MessageAttributes", {})
    return DeadLetter(
        body=message["Body"],
        receives=int(system["ApproximateReceiveCount"]),
        sent=datetime.fromtimestamp(int(system["SentTimestamp"]) / 1000, UTC),
        attributes={name: value.get("StringValue", "") for name, value in custom.items()},
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
    )


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """One event, its target (a function's name or a topic's ARN), and why it is here."""

    letter: DeadLetter
    target: str
    event: dict[str, Any]
    why: str
    is_own: bool

    @property
    def about(self) -> str:
        """The type of the event, and the run, log, job or upload that it names."""
        detail = self.event.get("detail")
        known = detail if isinstance(detail, dict) else {}
        uploaded = known.get("object")
        key = uploaded.get("key") if isinstance(uploaded, dict) else None
        ids = [known.get(name) for name in ("run_id", "log_id", "upload_id", "jobArn")]
        found = [str(name) for name in (*ids, key) if name]
        return " ".join([str(self.event.get("detail-type", "an event")), *found])

    def as_json(self) -> dict[str, object]:
        """Return what `--json` prints."""
        return {
            "about": self.about,
            "target": self.target,
            "first_sent": self.letter.sent.isoformat(),
            "why": self.why,
            "can_be_sent_again": self.is_own,
        }


def explain_event(stack: Stack, letter: DeadLetter) -> FailedEvent:
    """Explain one message of the event dead-letter queue."""
    body = _object(letter.body)
    context = body.get("requestContext")
    if isinstance(context, dict) and isinstance(body.get("requestPayload"), dict):
        target = _function_name(str(context.get("functionArn", "")))
        event, why = body["requestPayload"], _failed_invocation(target, context, body)
    elif "TARGET_ARN" in letter.attributes:
        arn = letter.attributes["TARGET_ARN"]
        target = _function_name(arn) if ":function:" in arn else arn
        event, why = body, _undelivered(target, letter.attributes)
    else:
        return FailedEvent(letter, "", body, "not from EventBridge or Lambda", is_own=False)
    own = target in _own_targets(stack)
    return FailedEvent(letter, target, event, why if own else f"{why}; not of this stack", own)


def send_event(stack: Stack, failed: FailedEvent) -> bool:
    """Send an event to its target again; return False if the target is not of this stack.

    Sending it to the bus would reach every rule, and events of AWS cannot be sent to a bus at all.
    """
    if not failed.is_own:
        return False
    payload = json.dumps(failed.event, ensure_ascii=False)
    if failed.target == stack.outputs.get("NewsTopicArn"):
        stack.client("sns").publish(TopicArn=failed.target, Message=payload)
        return True
    reply = stack.client("lambda").invoke(
        FunctionName=failed.target, InvocationType="Event", Payload=payload.encode("utf-8")
    )
    return bool(reply["StatusCode"] == _ACCEPTED)


def _failed_invocation(target: str, context: dict[str, Any], record: dict[str, Any]) -> str:
    reply = record.get("responsePayload")
    error = reply if isinstance(reply, dict) else {}
    text = _short(f"{error.get('errorType', 'no error')}: {error.get('errorMessage', '')}")
    times = context.get("approximateInvokeCount", "?")
    return f"{target} failed {times} times ({context.get('condition', '')}): {text}"


def _undelivered(target: str, attributes: Mapping[str, str]) -> str:
    rule = attributes.get("RULE_ARN", "").rpartition("/")[2]
    text = _short(f"{attributes.get('ERROR_CODE', '')}: {attributes.get('ERROR_MESSAGE', '')}")
    times = attributes.get("RETRY_ATTEMPTS", "?")
    limit = attributes.get("EXHAUSTED_RETRY_CONDITION", "")
    return f"rule {rule} could not reach {target} in {times} retries ({limit}): {text}"


def _short(text: str) -> str:
    """Return the beginning of a text, on one line."""
    return " ".join(text.split())[:_MAX_MESSAGE]


def _own_targets(stack: Stack) -> set[str]:
    names = {value for name, value in stack.outputs.items() if name.endswith("FunctionName")}
    return names | {stack.outputs.get("NewsTopicArn", "")} - {""}


def _function_name(arn: str) -> str:
    """Return the name in arn:aws:lambda:<region>:<account>:function:<name>[:<version>]."""
    return arn.partition(":function:")[2].partition(":")[0]


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class SplitKind(NamedTuple):
    """One kind of splits: the stack's outputs that name its queues and worker, and its ledger."""

    noun: str
    queue: str
    dead_letters: str
    worker: str
    message: type[SplitMessage | SegmentSplit]
    ledger: Callable[[Stack], UploadLedger[Any, Any]]


SPLIT_KINDS = (
    SplitKind(
        "log",
        "SplitQueueUrl",
        "SplitDeadLetterQueueUrl",
        "RouteQueriesFunctionName",
        SplitMessage,
        lambda stack: stack.ledger,
    ),
    SplitKind(
        "upload",
        "SegmentQueueUrl",
        "SegmentDeadLetterQueueUrl",
        "IndexSegmentsFunctionName",
        SegmentSplit,
        lambda stack: stack.segment_uploads,
    ),
)


@dataclass(frozen=True, slots=True)
class DeadSplit:
    """One message of a split dead-letter queue; `split` is None if it is not a split."""

    letter: DeadLetter
    split: SplitMessage | SegmentSplit | None
    why: str

    def as_json(self) -> dict[str, object]:
        """Return what `--json` prints."""
        fields = {"log_id", "upload_id", "split", "start", "end"}
        return {
            **(self.split.model_dump(include=fields) if self.split else {}),
            "receives": self.letter.receives,
            "first_sent": self.letter.sent.isoformat(),
            "why": self.why,
        }


def explain_splits(
    stack: Stack, kind: SplitKind, letters: Iterable[DeadLetter]
) -> Iterator[DeadSplit]:
    """Explain each message by the ledger and the parts of its upload."""
    recorded: dict[str, set[int]] = {}
    for letter in letters:
        split = _split(kind, letter)
        if split is None:
            yield DeadSplit(letter, None, "not a split; it stays in the queue")
            continue
        if split.upload not in recorded:
            markers = kind.ledger(stack).markers(split.upload)
            recorded[split.upload] = {marker.split for marker in markers}
        why = _why(stack, kind, DeadSplit(letter, split, ""), recorded[split.upload])
        yield DeadSplit(letter, split, why)


def send_splits(stack: Stack, kind: SplitKind, most: int) -> int:
    """Send up to `most` splits to their queue again and return their number."""
    sqs = stack.client("sqs")

    def send(letter: DeadLetter) -> bool:
        if _split(kind, letter) is None:
            return False
        sqs.send_message(QueueUrl=stack.outputs[kind.queue], MessageBody=letter.body)
        return True

    return resend(sqs, stack.outputs[kind.dead_letters], most, send)


def _split(kind: SplitKind, letter: DeadLetter) -> SplitMessage | SegmentSplit | None:
    try:
        return kind.message.model_validate_json(letter.body)
    except ValidationError:
        return None


def _why(stack: Stack, kind: SplitKind, dead: DeadSplit, recorded: set[int]) -> str:
    split, noun = dead.split, kind.noun
    head = kind.ledger(stack).get(split.upload) if split else None
    if split is None or head is None:
        return f"its {noun} is unknown: a worker will ignore it"
    if head.state is head.failed:
        return f"its {noun} has failed ({head.reason}): a worker will ignore it"
    if split.split in recorded:
        return "its part is written and counted: sending it again changes nothing"
    if _is_written(stack, split):
        return "its part is written but not counted: sending it again counts it"
    return (
        f"failed after {dead.letter.receives} receives; {head.splits - head.parts} of "
        f"{head.splits} splits of its {noun} are missing. The log of "
        f"{stack.outputs[kind.worker]} has the cause, by {head.id_name} and split"
    )


def _is_written(stack: Stack, split: SplitMessage | SegmentSplit) -> bool:
    try:
        stack.objects.info(naming.part_key(split.upload, split.split))
    except NotFoundError:
        return False
    return True

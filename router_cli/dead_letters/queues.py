"""A dead-letter queue as a person wants it: look without taking, take only what was handed on."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from search_router.domain.streams import batched

BATCH = 10  # SQS: messages of one receive, entries of one batch
MOST_SHOWN = 1_000
_LOOKING_SECONDS = 120  # a look that is killed gives the messages back after this
_WAIT_SECONDS = 1  # long polling asks all of SQS's servers, short polling only some


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message: its body, how often it was received in all, when it was first sent."""

    body: str
    receives: int
    sent: datetime
    attributes: Mapping[str, str]
    message_id: str
    receipt: str


def waiting(sqs: Any, url: str) -> int:
    """Return about how many messages are visible in a queue."""
    attributes = sqs.get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def look(sqs: Any, url: str) -> list[DeadLetter]:
    """Return up to a thousand messages and leave all of them where they are."""
    letters = list(_received(sqs, url, MOST_SHOWN))
    for batch in batched(letters, BATCH):
        entries = [
            {"Id": str(place), "ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}
            for place, letter in enumerate(batch)
        ]
        sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
    return letters


def hand_on(sqs: Any, url: str, most: int, send: Callable[[DeadLetter], bool]) -> int:
    """Offer at most `most` messages to `send`, and delete each that it took; return how many.

    A message is deleted after it was sent: a crash between them sends it twice, none loses it.
    """
    taken: list[DeadLetter] = []
    left: list[DeadLetter] = []
    for letter in _received(sqs, url, most):
        if send(letter):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=letter.receipt)
            taken.append(letter)
        else:
            left.append(letter)
    for letter in left:
        sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=letter.receipt, VisibilityTimeout=0
        )
    return len(taken)


def _received(sqs: Any, url: str, most: int) -> Iterator[DeadLetter]:
    """Receive each message once, until none comes or there are enough."""
    seen: set[str] = set()
    while len(seen) < most:
        reply = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(BATCH, most - len(seen)),
            VisibilityTimeout=_LOOKING_SECONDS,
            WaitTimeSeconds=_WAIT_SECONDS,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        fresh = list(_unseen(map(_letter, reply.get("Messages", [])), seen))
        if not fresh:
            return
        yield from fresh


def _unseen(letters: Iterable[DeadLetter], seen: set[str]) -> Iterator[DeadLetter]:
    for letter in letters:
        if letter.message_id not in seen:
            seen.add(letter.message_id)
            yield letter


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

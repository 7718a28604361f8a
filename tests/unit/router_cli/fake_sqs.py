"""SQS as the command uses it: visibility, receive counts and batches."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError


@dataclass(slots=True)
class Message:
    """One message; `hidden` while a receiver has it."""

    number: int
    body: str
    attributes: dict[str, str]
    receives: int
    hidden: bool = False


@dataclass(slots=True)
class FakeSqs:
    """Queues by URL."""

    queues: dict[str, list[Message]] = field(default_factory=dict)
    failing_after: int | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def put(
        self, url: str, body: str, receives: int = 0, attributes: dict[str, str] | None = None
    ) -> None:
        """Put a message there, as a redrive policy or EventBridge does."""
        message = Message(next(self._numbers), body, attributes or {}, receives)
        self.queues.setdefault(url, []).append(message)

    def bodies(self, url: str) -> list[str]:
        return [message.body for message in self.queues.get(url, [])]

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:  # noqa: N803
        known = {
            "ApproximateNumberOfMessages": str(
                sum(not message.hidden for message in self.queues.get(QueueUrl, []))
            ),
        }
        return {"Attributes": {name: known[name] for name in AttributeNames}}

    def receive_message(
        self,
        QueueUrl: str,  # noqa: N803
        MaxNumberOfMessages: int,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
        WaitTimeSeconds: int,  # noqa: N803
        MessageSystemAttributeNames: list[str],  # noqa: N803
        MessageAttributeNames: list[str],  # noqa: N803
    ) -> dict[str, Any]:
        assert 1 <= MaxNumberOfMessages <= 10
        assert VisibilityTimeout > 0
        assert WaitTimeSeconds <= 20
        assert MessageSystemAttributeNames == MessageAttributeNames == ["All"]
        visible = [m for m in self.queues.get(QueueUrl, []) if not m.hidden]
        taken = visible[:MaxNumberOfMessages]
        for message in taken:
            message.hidden = True
            message.receives += 1
        return {"Messages": [self._shown(message) for message in taken]} if taken else {}

    def change_message_visibility(
        self,
        QueueUrl: str,  # noqa: N803
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
    ) -> None:
        assert VisibilityTimeout == 0
        self._of(QueueUrl, ReceiptHandle).hidden = False

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[Any]) -> None:  # noqa: N803
        assert 1 <= len(Entries) <= 10
        for entry in Entries:
            self.change_message_visibility(
                QueueUrl, entry["ReceiptHandle"], entry["VisibilityTimeout"]
            )

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        if self.failing_after is not None:
            self.failing_after -= 1
            if self.failing_after < 0:
                raise ClientError({"Error": {"Code": "InternalError"}}, "DeleteMessage")
        self.queues[QueueUrl].remove(self._of(QueueUrl, ReceiptHandle))

    def send_message(self, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803
        self.put(QueueUrl, MessageBody)

    def _of(self, url: str, receipt: str) -> Message:
        return next(m for m in self.queues[url] if str(m.number) == receipt)

    @staticmethod
    def _shown(message: Message) -> dict[str, Any]:
        return {
            "MessageId": f"id-{message.number}",
            "ReceiptHandle": str(message.number),
            "Body": message.body,
            "Attributes": {
                "ApproximateReceiveCount": str(message.receives),
                "SentTimestamp": "1764590400000",
            },
            "MessageAttributes": {
                name: {"StringValue": value, "DataType": "String"}
                for name, value in message.attributes.items()
            },
        }

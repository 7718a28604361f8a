"""SQS: visibility, receive counts, redrive to the dead-letter queue, retention, partial batches."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.simulation.virtual_aws.wire import NotPlayedError, Reply, Request, ServiceError


@dataclass(slots=True, eq=False)
class Message:
    """One message; times are seconds of the history."""

    message_id: str
    body: str
    sent: float
    visible: float
    receives: int = 0
    handle: str = ""


@dataclass(slots=True)
class VirtualQueue:
    """A standard queue; with a dead-letter queue after `max_receives`."""

    clock: Callable[[], float]
    visibility: float
    retention: float
    max_receives: int = 0
    dead_letters: "VirtualQueue | None" = None
    messages: list[Message] = field(default_factory=list)
    expired: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def send(self, body: str) -> str:
        """Take a message and return its id."""
        message_id = f"message-{next(self._numbers)}"
        self.messages.append(Message(message_id, body, self.clock(), self.clock()))
        return message_id

    def receive(self) -> Message | None:
        """Hand one visible message out, or none; what was received too often moves on."""
        self._expire()
        for message in sorted(self.messages, key=lambda message: message.visible):
            if message.visible > self.clock():
                return None
            if self.dead_letters is not None and message.receives >= self.max_receives:
                self.messages.remove(message)
                self.dead_letters.messages.append(message)  # its age counts on
                continue
            message.receives += 1
            message.visible = self.clock() + self.visibility
            message.handle = f"{message.message_id}/{message.receives}"
            return message
        return None

    def next_visible(self) -> float | None:
        """Return when the next message can be received; None if there is none."""
        return min((message.visible for message in self.messages), default=None)

    def delete(self, message: Message) -> None:
        """Forget a message, be it handled by somebody else at the same time."""
        self.messages = [other for other in self.messages if other is not message]

    def change_visibility(self, handle: str, seconds: float) -> None:
        """Let a message that is being handled come back sooner or later."""
        for message in self.messages:
            if message.handle == handle:
                message.visible = self.clock() + seconds
                return
        raise ServiceError("ReceiptHandleIsInvalid", 404)

    def redrive(self) -> int:
        """Move every dead letter back as a new message, as StartMessageMoveTask does."""
        dead = self.dead_letters
        if dead is None:
            raise NotPlayedError("redrive without a dead-letter queue")
        dead._expire()
        moved, dead.messages = dead.messages, []
        for message in moved:
            self.send(message.body)
        return len(moved)

    def _expire(self) -> None:
        kept = [m for m in self.messages if m.sent + self.retention > self.clock()]
        self.expired += len(self.messages) - len(kept)
        self.messages = kept


@dataclass(slots=True)
class VirtualSqs:
    """The API of one queue; `wake` is told when a message may have become visible."""

    queue: VirtualQueue
    wake: Callable[[], None]

    def answer(self, request: Request) -> Reply:
        """Perform one request."""
        document = request.json
        match request.operation:
            case "SendMessage":
                message_id = self.queue.send(document["MessageBody"])
                self.wake()
                return Reply.of({"MessageId": message_id})
            case "SendMessageBatch":
                sent = [
                    {"Id": entry["Id"], "MessageId": self.queue.send(entry["MessageBody"])}
                    for entry in document["Entries"]
                ]
                self.wake()
                return Reply.of({"Successful": sent, "Failed": []})
            case "ChangeMessageVisibility":
                seconds = document["VisibilityTimeout"]
                self.queue.change_visibility(document["ReceiptHandle"], seconds)
                self.wake()
                return Reply.of({})
        raise NotPlayedError(str(request))

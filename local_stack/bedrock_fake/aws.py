"""The services that Bedrock calls: S3 for datasets and results, EventBridge for job events.

Both are reached by loopback clients, so no request can reach an AWS account.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError

from local_stack.bedrock_fake.clock import draw
from local_stack.bedrock_fake.contract import Params
from local_stack.bedrock_fake.resources import Account
from local_stack.loopback import LoopbackClients

SOURCE = "aws.bedrock"
DETAIL_TYPE = "Model Customization Job State Change"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StateChangeEvent:
    """The end of a customization job; `detail` has the fields of AWS's published sample."""

    time: datetime
    job_arn: str
    detail: Params


Publish = Callable[[StateChangeEvent], None]


class S3Objects:
    """Reads datasets from S3 and writes results to it."""

    def __init__(self, clients: LoopbackClients) -> None:
        self._clients = clients

    def read(self, uri: str) -> bytes:
        """Return an object's bytes; raises LookupError if it cannot be read."""
        try:
            reply = self._clients.client("s3").get_object(**_location(uri))
            body: bytes = reply["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise LookupError(uri) from error
        return body

    def write(self, uri: str, body: bytes) -> None:
        """Write an object; raises LookupError if it cannot be written."""
        try:
            self._clients.client("s3").put_object(**_location(uri), Body=body)
        except (BotoCoreError, ClientError) as error:
            raise LookupError(uri) from error


class EventBridgePublisher:
    """Puts events on the default bus of EventBridge."""

    def __init__(self, clients: LoopbackClients) -> None:
        self._clients = clients

    def __call__(self, event: StateChangeEvent) -> None:
        """Put one event; logs a failure, because Bedrock's events are best effort."""
        entry = {
            "Source": SOURCE,
            "DetailType": DETAIL_TYPE,
            "Resources": [event.job_arn],
            "Time": event.time,
            "Detail": json.dumps(event.detail),
        }
        try:
            reply = self._clients.client("events").put_events(Entries=[entry])
        except (BotoCoreError, ClientError):
            logger.exception("event lost", extra={"job_arn": event.job_arn})
            return
        if reply["FailedEntryCount"]:
            logger.error("event rejected", extra={"job_arn": event.job_arn, "reply": reply})


class EventDelivery:
    """Passes events to `publish`; seeded shares of them are lost, late or sent twice."""

    def __init__(self, publish: Publish, account: Account) -> None:
        self._publish = publish
        self._account = account
        self._waiting: list[tuple[datetime, StateChangeEvent]] = []
        self._lock = threading.Lock()

    def send(self, events: Sequence[StateChangeEvent]) -> None:
        """Accept new events and publish all that are due."""
        now = self._account.now()
        with self._lock:
            for event in events:
                self._waiting += [(at, event) for at in self._delivery_times(event, now)]
            due = [event for at, event in self._waiting if at <= now]
            self._waiting = [(at, event) for at, event in self._waiting if at > now]
        for event in due:
            self._publish(event)

    def _delivery_times(self, event: StateChangeEvent, now: datetime) -> list[datetime]:
        settings = self._account.settings

        def happens(what: str, rate: float) -> bool:
            return draw(settings.seed, what, event.job_arn) < rate

        if happens("event lost", settings.event_loss_rate):
            return []
        delay = timedelta(seconds=settings.event_late_seconds)
        first = now + delay if happens("event late", settings.event_late_rate) else now
        if happens("event twice", settings.event_duplicate_rate):
            return [first, first + delay]
        return [first]


def _location(uri: str) -> dict[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}

"""EventBridge: the event bus."""

from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.domain.errors import UnavailableError
from search_router.domain.events import SOURCE, RouterEvent

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


class EventBridgePublisher:
    """Publishes events that name their stack, because stacks of an account share the bus.

    PutEvents reports failures in its reply, not as an error.
    """

    def __init__(self, client: "EventBridgeClient", bus_name: str, stack_name: str) -> None:
        self._client = client
        self._bus_name = bus_name
        self._stack_name = stack_name

    def publish(self, event: RouterEvent) -> None:
        """Publish one event."""
        with aws_errors("publish an event"):
            reply = self._client.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "Resources": [self._stack_name],
                        "DetailType": event.detail_type,
                        "Detail": event.model_dump_json(),
                        "EventBusName": self._bus_name,
                    }
                ]
            )
        if reply["FailedEntryCount"]:
            code = reply["Entries"][0].get("ErrorCode", "")
            raise UnavailableError(f"publish an event: {code}")

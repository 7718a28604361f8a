"""What the SQS and EventBridge adapters do beyond their ports: refusals that come in replies."""

import json
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from search_router.adapters.eventbridge import EventBridgePublisher
from search_router.adapters.sqs import SqsSplitQueue
from search_router.domain.errors import InvalidInputError, UnavailableError
from search_router.domain.events import PromptsSharded
from search_router.domain.logs.query_logs import SplitMessage
from tests.aws_calls import Fault, aws_calls
from tests.integration.world import REGION, World
from tests.records import JSONL

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/splits"
EVENT = PromptsSharded(run_id="run-0123456789ab")


def _messages(number: int) -> list[SplitMessage]:
    return [
        SplitMessage(
            log_id="log-0123456789ab",
            split=split,
            start=0,
            end=10,
            bucket="uploads",
            key="query-logs/a.jsonl",
            version_id="v1",
            dialect=JSONL,
            champion_version=1,
        )
        for split in range(number)
    ]


@dataclass
class PickyQueue:
    """An SQS client that refuses some splits a number of times, in its reply, as SQS does."""

    refusals: dict[int, int]
    batches: list[list[int]] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)

    def send_message_batch(
        self,
        QueueUrl: str,  # noqa: N803 - boto3's name
        Entries: list[dict[str, str]],  # noqa: N803 - boto3's name
    ) -> dict[str, Any]:
        assert QueueUrl == URL
        splits = {entry["Id"]: json.loads(entry["MessageBody"])["split"] for entry in Entries}
        self.batches.append(list(splits.values()))
        refused = [name for name, split in splits.items() if self.refusals.get(split, 0)]
        for name in refused:
            self.refusals[splits[name]] -= 1
        self.taken += [split for name, split in splits.items() if name not in refused]
        failed = [{"Id": n, "SenderFault": False, "Code": "InternalError"} for n in refused]
        return {"Failed": failed} if failed else {"Successful": []}


def test_messages_go_in_batches_of_ten() -> None:
    client: Any = PickyQueue({})

    SqsSplitQueue(client, URL).send(iter(_messages(23)))

    assert client.batches == [list(range(10)), list(range(10, 20)), [20, 21, 22]]


def test_only_what_a_batch_refused_is_sent_again() -> None:
    # GIVEN a queue that refuses two splits of the first batch once, and one of them twice
    client: Any = PickyQueue({3: 1, 7: 2})

    SqsSplitQueue(client, URL).send(iter(_messages(12)))

    # THEN each split is taken exactly once
    assert client.batches == [list(range(10)), [3, 7], [7], [10, 11]]
    assert sorted(client.taken) == list(range(12))


def test_a_message_refused_again_and_again_is_an_outage_after_growing_pauses() -> None:
    client: Any = PickyQueue({4: 9})
    pauses: list[float] = []

    with pytest.raises(UnavailableError, match="1 were rejected 5 times"):
        SqsSplitQueue(client, URL, pauses.append).send(iter(_messages(12)))

    assert client.batches == [list(range(10)), [4], [4], [4], [4]]  # nothing is sent past a hole
    assert len(pauses) == 4
    assert all(0 <= pause <= 0.05 * 2**n for n, pause in enumerate(pauses, start=1))
    assert len(set(pauses)) == 4, "with jitter"


def test_a_queue_that_cannot_be_reached_is_an_outage(world: World) -> None:
    queue = SqsSplitQueue(world.sqs, world.queue_url)
    with aws_calls(0, Fault.CONNECTION_ERROR), pytest.raises(UnavailableError):
        queue.send(_messages(1))


def test_a_postponed_message_comes_back_when_it_was_told_to(world: World) -> None:
    # GIVEN a message in hand, invisible for ninety minutes
    queue = SqsSplitQueue(world.sqs, world.queue_url)
    queue.send(_messages(1))
    (message,) = world.messages()
    assert world.messages() == []
    # WHEN it is postponed by nothing at all
    queue.set_visibility(message["ReceiptHandle"], 0)
    # THEN it is there again, counted twice
    (again,) = world.messages()
    assert again["MessageId"] == message["MessageId"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


def test_a_message_that_is_not_in_hand_cannot_be_postponed(world: World) -> None:
    with pytest.raises(InvalidInputError):
        SqsSplitQueue(world.sqs, world.queue_url).set_visibility("no receipt", 30)


def test_an_event_names_us_and_the_bus(world: World) -> None:
    publisher = EventBridgePublisher(boto3.client("events", REGION), "default", "a-stack")
    with aws_calls() as calls:
        publisher.publish(EVENT)

    assert calls.made[0].parameters["Entries"] == [
        {
            "Source": "search-router",
            "Resources": ["a-stack"],
            "DetailType": "PromptsSharded",
            "Detail": '{"run_id":"run-0123456789ab"}',
            "EventBusName": "default",
        }
    ]


def test_an_event_that_is_refused_in_the_reply_is_an_outage() -> None:
    class FullBus:
        """An EventBridge client whose call succeeds and whose entry does not."""

        def put_events(self, Entries: Any) -> dict[str, Any]:  # noqa: N803 - boto3's name
            failed = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
            return {"FailedEntryCount": 1, "Entries": [failed]}

    client: Any = FullBus()
    with pytest.raises(UnavailableError, match="ThrottlingException"):
        EventBridgePublisher(client, "default", "a-stack").publish(EVENT)

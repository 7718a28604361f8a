"""`redrive`: each dead letter is explained, and those of the stack are sent again."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from router_cli.__main__ import main
from search_router.domain.errors import UnavailableError
from search_router.domain.logs.query_logs import LogState, SplitMessage
from tests.records import jsonl
from tests.unit.router_cli.conftest import OUTPUTS, ROWS, Clients
from tests.unit.use_cases.world import World

Answer = Callable[..., Any]
SPLITS, DEAD_SPLITS = OUTPUTS["SplitQueueUrl"], OUTPUTS["SplitDeadLetterQueueUrl"]
DEAD_EVENTS = OUTPUTS["EventDeadLetterQueueUrl"]
EVENT = {
    "source": "search-router",
    "detail-type": "QueryLogPartsComplete",
    "detail": {"log_id": "log-0123456789ab"},
}
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:"


def failed_run(function: str = "finish-query-log", event: Any = EVENT) -> str:
    """Return what Lambda writes about an asynchronous run that failed."""
    return json.dumps(
        {
            "version": "1.0",
            "timestamp": "2026-11-20T22:00:00.000Z",
            "requestContext": {
                "requestId": "1",
                "functionArn": f"{FUNCTION}{function}:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "requestPayload": event,
            "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
            "responsePayload": {"errorType": "ConflictError", "errorMessage": "1 parts for 2"},
        }
    )


def undelivered(target: str) -> dict[str, str]:
    """Return the attributes that EventBridge gives an event it could not deliver."""
    return {
        "RULE_ARN": "arn:aws:events:us-east-1:123456789012:rule/parts-complete",
        "TARGET_ARN": target,
        "ERROR_CODE": "NO_PERMISSIONS",
        "ERROR_MESSAGE": "not authorised to invoke",
        "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
        "RETRY_ATTEMPTS": "185",
    }


def deliver(world: World, clients: Clients) -> None:
    """Give the worker what waits in the split queue."""
    for message in clients.sqs.queues.pop(SPLITS, []):
        world.route(SplitMessage.model_validate_json(message.body))


@pytest.fixture
def given_up(world: World, clients: Clients) -> list[SplitMessage]:
    """A log of two splits, of which none was finished in fifty receives."""
    world.split_log(jsonl(ROWS) + b"broken\n")
    for message in world.queue.sent:
        clients.sqs.put(DEAD_SPLITS, message.model_dump_json(), receives=50)
    return world.queue.sent


def whys(report: Any) -> list[str]:
    return [split["why"] for split in report["splits"]]


def test_empty_queues_are_reported(stack: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["redrive"]) == 0
    assert "The dead-letter queues are empty" in capsys.readouterr().err


def test_redrive_explains_messages_and_leaves_them_in_the_queue(
    clients: Clients, given_up: list[SplitMessage], answer: Answer
) -> None:
    report = answer("redrive")

    assert (report["splits_waiting"], report["sent_again"]) == (2, {"splits": 0, "events": 0})
    assert [split["split"] for split in report["splits"]] == [0, 1]
    assert all("failed after 51 receives; 2 of 2 splits" in why for why in whys(report))
    assert all("log of route-queries" in why for why in whys(report))
    assert len(clients.sqs.bodies(DEAD_SPLITS)) == 2
    assert answer("redrive")["splits_waiting"] == 2, "visible again"


def test_splits_sent_again_finish_their_log(
    world: World, clients: Clients, given_up: list[SplitMessage], answer: Answer
) -> None:
    report = answer("redrive", "--yes")

    assert report["sent_again"] == {"splits": 2, "events": 0}
    assert clients.sqs.bodies(DEAD_SPLITS) == []
    assert sorted(clients.sqs.bodies(SPLITS)) == sorted(m.model_dump_json() for m in given_up)
    deliver(world, clients)
    world.finish(given_up[0].log_id)
    assert world.log(given_up[0].log_id).state is LogState.ROUTED


def test_sending_a_finished_split_again_duplicates_nothing(
    world: World, clients: Clients, given_up: list[SplitMessage], answer: Answer
) -> None:
    # GIVEN one split done after all, and one whose part is written but not counted
    log_id = given_up[0].log_id
    world.route(given_up[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.ledger), "record_part", _unreachable)
        with pytest.raises(UnavailableError):
            world.route(given_up[1])
    bodies, asked = dict(world.objects.bodies), len(world.model.asked)
    # WHEN both are explained and sent again
    report = answer("redrive", "--yes")
    assert whys(report) == [
        "its part is written and counted: sending it again changes nothing",
        "its part is written but not counted: sending it again counts it",
    ]
    deliver(world, clients)
    # THEN no part is written, no query asked and nothing counted a second time
    assert world.objects.bodies == bodies
    assert len(world.model.asked) == asked
    assert (world.log(log_id).parts, world.log(log_id).splits) == (2, 2)
    total = world.finish(log_id)
    assert (total.rows_in, total.routed, total.rejected) == (301, 300, 1)  # type: ignore[union-attr]


def _unreachable(*_: object) -> None:
    raise UnavailableError("record a part")


def test_a_crash_during_redrive_loses_and_duplicates_nothing(
    world: World,
    clients: Clients,
    given_up: list[SplitMessage],
    answer: Answer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clients.sqs.failing_after = 1

    assert main(["redrive", "--yes"]) == 1
    assert "Messages that were not sent again are still there" in capsys.readouterr().err
    clients.sqs.failing_after = None
    waiting = clients.sqs.bodies(SPLITS) + clients.sqs.bodies(DEAD_SPLITS)
    assert set(waiting) == {message.model_dump_json() for message in given_up}
    assert len(waiting) == 3, "one was sent and not deleted"
    for message in clients.sqs.queues[DEAD_SPLITS]:
        message.hidden = False  # its visibility ends
    answer("redrive", "--yes")
    deliver(world, clients)
    assert world.log(given_up[0].log_id).parts == 2
    total = world.finish(given_up[0].log_id)
    assert total.rows_in == 301  # type: ignore[union-attr]


def test_splits_of_failed_and_unknown_logs_are_explained(
    world: World, clients: Clients, given_up: list[SplitMessage], answer: Answer
) -> None:
    world.ledger.move(given_up[0].log_id, LogState.FAILED, world.clock.now(), "the upload is gone")
    other = given_up[0].model_copy(update={"log_id": "log-000000000000"})
    clients.sqs.put(DEAD_SPLITS, other.model_dump_json())

    told = whys(answer("redrive"))

    assert "has failed (the upload is gone): a worker will ignore it" in told[0]
    assert "its log is unknown" in told[2]


def test_messages_that_are_not_splits_stay_in_the_queue(
    clients: Clients, given_up: list[SplitMessage], answer: Answer
) -> None:
    clients.sqs.put(DEAD_SPLITS, '{"hello": "\x1b[2J"}')

    report = answer("redrive", "--yes")

    assert whys(report)[2] == "not a split; it stays in the queue"
    assert report["sent_again"]["splits"] == 2
    assert clients.sqs.bodies(DEAD_SPLITS) == ['{"hello": "\x1b[2J"}']


def test_a_failed_invocation_is_explained_and_its_event_sent_again(
    clients: Clients, answer: Answer
) -> None:
    clients.sqs.put(DEAD_EVENTS, failed_run(), receives=1)

    [told] = answer("redrive")["events"]
    assert told["about"] == "QueryLogPartsComplete log-0123456789ab"
    assert told["why"] == (
        "finish-query-log failed 3 times (RetriesExhausted): ConflictError: 1 parts for 2"
    )
    report = answer("redrive", "--yes")

    assert report["sent_again"] == {"splits": 0, "events": 1}
    assert clients.lambda_.invoked == [("finish-query-log", EVENT)]
    assert clients.sqs.bodies(DEAD_EVENTS) == []


def test_an_undelivered_event_is_sent_to_its_target_only(clients: Clients, answer: Answer) -> None:
    function = undelivered(f"{FUNCTION}finish-query-log")
    clients.sqs.put(DEAD_EVENTS, json.dumps(EVENT), attributes=function)
    clients.sqs.put(DEAD_EVENTS, json.dumps(EVENT), attributes=undelivered(OUTPUTS["NewsTopicArn"]))

    report = answer("redrive", "--yes")

    assert report["events"][0]["why"] == (
        "rule parts-complete could not reach finish-query-log in 185 retries "
        "(MaximumRetryAttempts): NO_PERMISSIONS: not authorised to invoke"
    )
    assert report["sent_again"]["events"] == 2
    assert clients.lambda_.invoked == [("finish-query-log", EVENT)]
    assert clients.sns.published == [(OUTPUTS["NewsTopicArn"], EVENT)]


@pytest.mark.parametrize(
    ("body", "attributes"),
    [
        (failed_run("somebody-elses"), {}),
        (json.dumps(EVENT), undelivered(f"{FUNCTION}somebody-elses")),
        (json.dumps(EVENT), undelivered("arn:aws:sns:us-east-1:123456789012:other")),
        (json.dumps(EVENT), {}),
        ("not json", {}),
        ("[1]", undelivered("")),
        (json.dumps({"requestContext": [], "requestPayload": 1}), {}),
    ],
)
def test_messages_of_other_stacks_are_not_sent(
    clients: Clients, answer: Answer, body: str, attributes: dict[str, str]
) -> None:
    clients.sqs.put(DEAD_EVENTS, body, attributes=attributes)

    report = answer("redrive", "--yes")

    assert report["sent_again"] == {"splits": 0, "events": 0}
    assert report["events"][0]["can_be_sent_again"] is False
    assert (clients.lambda_.invoked, clients.sns.published) == ([], [])
    assert clients.sqs.bodies(DEAD_EVENTS) == [body]


def test_tables_have_no_control_characters(
    clients: Clients,
    given_up: list[SplitMessage],
    stack: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = {**EVENT, "detail-type": "\x1b[2Jgone"}
    clients.sqs.put(DEAD_EVENTS, failed_run(event=hostile))

    assert main(["redrive"]) == 0

    shown = capsys.readouterr()
    assert "Failed splits" in shown.out
    assert "Failed events" in shown.out
    assert "\x1b[2J" not in shown.out
    assert "2 splits and 1 events failed" in shown.err
    assert "search-router redrive --yes" in shown.err

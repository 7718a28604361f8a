"""Splitting a log: one plan, the same messages from every attempt, a reason for what is no log."""

from collections.abc import Iterable

import pytest

from search_router.domain.errors import UnavailableError
from search_router.domain.query_logs import LogFormat, LogPlan, LogState, QueryLog, SplitMessage
from search_router.domain.uploads import ObjectRef
from tests.fakes import InMemoryQueue
from tests.records import JSONL, a_champion, jsonl
from tests.unit.use_cases.world import World, ignored

SMALL = jsonl([{"query": f"query {n}"} for n in range(100)])
LARGE = jsonl([{"query": f"query {n % 100:04d}", "pad": "x" * 500} for n in range(300)])


def test_a_small_log_is_one_message_with_everything_fixed(serving_world: World) -> None:
    world = serving_world

    log = world.splitted(SMALL)

    [message] = world.queue.sent
    assert (message.start, message.end, message.split) == (0, len(SMALL), 0)
    assert (message.dialect, message.champion_version) == (JSONL, 1)
    assert message.source == ObjectRef("uploads", "query-logs/searches.jsonl", "v1")
    assert (log.state, log.splits, log.parts, log.champion_version) == (LogState.ROUTING, 1, 0, 1)
    assert world.log(log.log_id) == log
    plan = LogPlan.model_validate_json(world.objects.get(f"logs/{log.log_id}/plan.json"))
    assert (plan.size, plan.splits) == (len(SMALL), 1)


def test_a_large_log_is_cut_for_both_workers_without_being_read(serving_world: World) -> None:
    serving_world.uploads.chunk_bytes = 10**9

    log = serving_world.splitted(LARGE)

    messages = serving_world.queue.sent
    assert [message.split for message in messages] == [0, 1]
    assert (messages[0].end, messages[1].end) == (messages[1].start, len(LARGE))
    assert log.splits == 2
    assert not any("query 0" in message.model_dump_json() for message in messages)


def test_a_text_log_needs_no_field(serving_world: World) -> None:
    serving_world.splitted(b"dogs barking\nred cars\n", "query-logs/searches.txt")

    assert serving_world.queue.sent[0].dialect.format is LogFormat.TEXT


@pytest.mark.parametrize(
    ("key", "body", "reason"),
    [
        ("query-logs/a.jsonl", b"", "the file is empty"),
        ("query-logs/a.jsonl", b"\n \n\r\n", "the file is empty"),
        ("query-logs/a.jsonl", b'{"text": "dogs"}\n', "no row has a query field"),
        ("query-logs/a.csv", b"query\ndogs\n", "not a query log: expected .jsonl or .txt"),
        ("query-logs/day/a.jsonl", SMALL, "a file inside a folder"),
    ],
)
def test_what_is_no_log_is_a_failed_log_with_a_reason(
    serving_world: World, key: str, body: bytes, reason: str
) -> None:
    world = serving_world

    log = world.splitted(body, key)

    assert log.state is LogState.FAILED
    assert reason in log.reason
    assert world.log(log.log_id) == log
    assert (world.queue.sent, world.objects.bodies) == ([], {})


def test_without_a_champion_the_log_says_what_to_do(world: World) -> None:
    log = world.splitted(SMALL)

    assert (log.state, log.reason) == (
        LogState.FAILED,
        "no model serves yet: promote one, then upload the log again",
    )


def test_a_folder_is_ignored(serving_world: World) -> None:
    source = serving_world.uploads.upload("query-logs/day/", b"")

    assert ignored(serving_world.split(source)) == "a folder, not a file"
    assert list(serving_world.ledger.all()) == []


def test_a_deleted_log_is_recorded(serving_world: World) -> None:
    source = serving_world.uploads.upload("query-logs/a.jsonl", SMALL)
    serving_world.uploads.erase(source)

    log = serving_world.split(source)

    assert isinstance(log, QueryLog)
    assert (log.state, log.splits) == (LogState.FAILED, 0)


def test_an_overwritten_log_is_split_by_the_version_of_its_event(serving_world: World) -> None:
    world = serving_world
    first = world.uploads.upload("query-logs/a.jsonl", SMALL)
    world.uploads.upload("query-logs/a.jsonl", LARGE)

    world.split(first)

    assert [message.end for message in world.queue.sent] == [len(SMALL)]
    assert world.queue.sent[0].version_id == first.version_id


def test_a_repeated_event_sends_nothing_twice(serving_world: World) -> None:
    world = serving_world
    source = world.uploads.upload("query-logs/a.jsonl", LARGE)
    world.split(source)

    assert ignored(world.split(source)) == "the log is ROUTING already"
    assert len(world.queue.sent) == 2


def test_a_failed_log_stays_failed_until_it_is_uploaded_again(world: World) -> None:
    source = world.uploads.upload("query-logs/a.jsonl", SMALL)
    world.split(source)
    world.champions.install(a_champion())

    assert ignored(world.split(source)) == "the log is FAILED already"
    assert world.splitted(SMALL, "query-logs/a.jsonl").state is LogState.ROUTING


def test_a_crash_between_two_messages_is_mended_by_the_retry(serving_world: World) -> None:
    world = serving_world
    source = world.uploads.upload("query-logs/a.jsonl", LARGE)
    world.queue.room = 1
    with pytest.raises(UnavailableError):
        world.split(source)
    [log] = world.ledger.all()
    assert log.state is LogState.PLANNED

    world.queue.room = None
    world.split(source)

    first, *again = world.queue.sent
    assert [message.split for message in again] == [0, 1]
    assert again[0] == first, "the same message, which meets its own part"
    assert world.log(log.log_id).state is LogState.ROUTING


def test_a_log_deleted_half_way_is_still_planned_and_then_failed_by_a_worker(
    serving_world: World,
) -> None:
    world = serving_world
    source = world.uploads.upload("query-logs/a.jsonl", LARGE)
    world.queue.room = 0
    with pytest.raises(UnavailableError):
        world.split(source)
    world.uploads.erase(source)

    world.queue.room = None
    world.split(source)
    world.route(world.queue.sent[0])

    [log] = world.ledger.all()
    assert log.state is LogState.FAILED, "not PLANNED for ever"


def test_the_first_plan_stays_the_plan_even_if_the_champion_moves(serving_world: World) -> None:
    world = serving_world
    source = world.uploads.upload("query-logs/a.jsonl", LARGE)
    world.queue.room = 1
    with pytest.raises(UnavailableError):
        world.split(source)

    world.queue.room = None
    world.champions.install(a_champion(2))
    world.split(source)

    assert {message.champion_version for message in world.queue.sent} == {1}


def test_workers_may_finish_before_the_planner_says_routing(
    serving_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = serving_world
    send = InMemoryQueue.send

    def send_to_fast_workers(queue: InMemoryQueue, messages: Iterable[SplitMessage]) -> None:
        send(queue, messages)
        for message in queue.sent:
            world.route(message)
        world.finish(queue.sent[0].log_id)

    monkeypatch.setattr(InMemoryQueue, "send", send_to_fast_workers)
    log = world.splitted(LARGE)

    assert world.log(log.log_id).state is LogState.ROUTED

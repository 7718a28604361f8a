"""A split message is believed only if it is one of its log's plan."""

from typing import Any

import pytest

from search_router.domain.errors import MalformedMessageError
from search_router.domain.logs.query_logs import LogState
from search_router.domain.splits.plan import Layout
from tests.records import TEXT, jsonl
from tests.unit.use_cases.world import World, routed

LARGE = jsonl([{"query": f"query {n % 100:04d}", "pad": "x" * 500} for n in range(300)])


@pytest.mark.parametrize(
    "change",
    [
        {"split": 7},
        {"split": -1},
        {"split": 1},
        {"start": 1},
        {"end": 99},
        {"bucket": "theirs"},
        {"key": "query-logs/other.jsonl"},
        {"version_id": "v9"},
        {"layout": Layout.COPY},
        {"dialect": TEXT},
        {"champion_version": 2},
    ],
)
def test_a_crafted_message_changes_neither_log_nor_parts(
    serving_world: World, change: dict[str, Any]
) -> None:
    world = serving_world
    log = world.split_log(LARGE)
    before = dict(world.objects.bodies)

    with pytest.raises(MalformedMessageError):
        world.route(world.queue.sent[0].model_copy(update=change))

    assert world.log(log.log_id) == log
    assert world.objects.bodies == before
    for message in world.queue.sent:
        routed(world.route(message))
    world.finish(log.log_id)
    assert world.log(log.log_id).state is LogState.ROUTED

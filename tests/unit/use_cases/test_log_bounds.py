"""A query log is bounded before it is routed: splits, hours, dollars and the size of messages."""

import dataclasses
from collections.abc import Iterator
from datetime import timedelta

import pytest

from search_router.domain.events import UploadMissed
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.uploads import ObjectRef
from search_router.ports import ObjectInfo
from search_router.use_cases.log_planning import MAX_DIALECT_BYTES, SplitRules
from search_router.use_cases.split_planning import MAX_SPLITS
from search_router.use_cases.split_upload import QUEUE_RETENTION
from search_router.use_cases.track_runs import MAX_LOOKUPS, UPLOAD_PATIENCE
from tests.fakes import START
from tests.records import jsonl
from tests.unit.use_cases.world import World, ignored, routed

SMALL = jsonl([{"query": f"query {n}"} for n in range(100)])


def split_sparse(world: World, size: int, row: bytes = b"dogs barking\n") -> QueryLog:
    """Plan a plain log of any size, whose bytes are made as they are read."""

    class Sparse:
        def info(self, source: ObjectRef) -> ObjectInfo:
            return ObjectInfo(size, {}, START)

        def read(
            self, source: ObjectRef, start: int = 0, end: int | None = None
        ) -> Iterator[bytes]:
            stop = min(size, size if end is None else end)
            assert stop - start <= 64 * 1024, "a plain log is not read as a whole"
            yield (row * ((stop - start) // len(row) + 1))[: stop - start]

    split = dataclasses.replace(world.split_query_log, uploads=Sparse())  # type: ignore[arg-type]
    log = split(ObjectRef("uploads", "query-logs/large.txt", "v1"))
    assert isinstance(log, QueryLog)
    return log


@pytest.mark.parametrize(
    ("size", "row", "reason"),
    [
        (1024**4, b"x" * 999 + b"\n", "524,288 splits, the limit is 20,000. Cut it into files of"),
        (10 * 1024**3, b"dogs\n", "splits, the limit is 20,000"),
        (1024**3, b"dogs barking\n", "hours at the batch share of the quota, the limit is 72"),
    ],
)
def test_a_log_beyond_the_bounds_fails_with_figure_and_remedy(
    serving_world: World, size: int, row: bytes, reason: str
) -> None:
    log = split_sparse(serving_world, size, row)

    assert log.state is LogState.FAILED
    assert reason in log.reason
    assert "Cut it into" in log.reason
    assert serving_world.queue.sent == []
    assert serving_world.log_spending.read().purchases == ()


def test_a_log_over_budget_fails_before_it_is_queued(serving_world: World) -> None:
    world = serving_world
    budget = dataclasses.replace(world.split_query_log.budget, usd=0.0)
    split = dataclasses.replace(world.split_query_log, budget=budget)

    log = split(world.uploads.upload("query-logs/a.jsonl", SMALL))

    assert isinstance(log, QueryLog)
    assert log.state is LogState.FAILED
    assert log.reason.startswith("30-day budget exceeded")
    assert log.reason.endswith("Raise LogBudgetUsdPer30Days or wait, then upload the log again.")
    assert world.queue.sent == []


def test_a_log_is_booked_once_and_above_its_price(serving_world: World) -> None:
    world = serving_world

    log = world.split_log(SMALL)
    part = routed(world.route(world.queue.sent[0]))
    ignored(world.split(ObjectRef("uploads", log.source_key, log.source_version)))

    [purchase] = world.log_spending.read().purchases
    assert purchase.job_name == log.log_id
    assert purchase.usd > part.cost_usd > 0


def test_ten_messages_fit_into_a_batch_whatever_the_header_holds(serving_world: World) -> None:
    world = serving_world
    header = b"\x01" * 16_000 + b",query\n"

    log = world.split_log(header + b"x,dogs\n" * 100, "query-logs/a.csv")

    assert log.state is LogState.FAILED
    assert "the column names take" in log.reason
    assert world.queue.sent == []
    assert 10 * (MAX_DIALECT_BYTES + 4 * 1024) < 1024**2, "SQS's limit of a batch"


def test_splits_that_the_queue_has_deleted_are_queued_again(serving_world: World) -> None:
    world = serving_world
    rules = SplitRules(requests_per_minute=1.0, workers=1, max_hours=10_000)
    world.split_query_log = dataclasses.replace(world.split_query_log, rules=rules)
    log = world.split_log(jsonl([{"query": f"query {n}", "pad": "x" * 900} for n in range(400)]))
    first, *others = list(world.queue.sent)
    assert len(others) > 2
    routed(world.route(first))
    source = ObjectRef("uploads", log.source_key, log.source_version)
    ignored(world.split(source))
    world.queue.sent.clear()

    world.clock.advance(QUEUE_RETENTION + timedelta(hours=1))
    world.clock.advance(timedelta(minutes=20) - timedelta(hours=1))
    world.events.published.clear()
    world.track()
    assert world.events.of(UploadMissed) == [UploadMissed.of(source)]
    world.split(source)

    assert world.queue.sent == others
    for message in others:
        routed(world.route(message))
    world.finish(log.log_id)
    assert world.log(log.log_id).state is LogState.ROUTED


def test_a_tick_looks_up_a_bounded_number_of_uploads(
    serving_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = serving_world
    for n in range(MAX_LOOKUPS + 500):
        world.uploads.upload(f"query-logs/{n}.txt", b"dogs\n")
    world.clock.advance(UPLOAD_PATIENCE)
    looked_up: list[str] = []
    monkeypatch.setattr(type(world.ledger), "get", lambda _, upload: looked_up.append(upload))

    world.tick()
    assert len(looked_up) == MAX_LOOKUPS
    world.clock.advance(timedelta(minutes=5))
    world.tick()
    assert len(set(looked_up)) == MAX_LOOKUPS + 500, "the next tick takes the others"


def test_the_bounds_of_the_finisher_and_of_the_queue_belong_together() -> None:
    assert MAX_SPLITS * 6 * 1024 < 200 * 1024**2, "markers in the finisher's 1,024 MB"

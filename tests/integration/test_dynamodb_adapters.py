"""What the DynamoDB adapters do beyond their ports: time to live, batches, consistency, faults."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from search_router.adapters.dynamodb_cache import DynamoAnswerCaches
from search_router.adapters.dynamodb_champions import DynamoChampionRepository
from search_router.adapters.dynamodb_runs import DynamoRunRepository
from search_router.adapters.dynamodb_uploads import QUERY_LOGS, DynamoUploadLedger
from search_router.domain.errors import AccessDeniedError, ContendedError, UnavailableError
from search_router.domain.lifecycle.runs import RunState
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.logs.results import PartMarker, PartStats
from search_router.domain.splits.plan import Attempts
from tests.aws_calls import AwsCalls, Fault, aws_calls
from tests.fakes import START, VirtualClock
from tests.integration.world import CACHE, STATE, World
from tests.records import a_champion, a_decision, a_run, an_evaluation

WEEK = timedelta(days=7)
ASKER = "log-0123456789ab/0"
LOG = QueryLog(
    log_id="log-0123456789ab",
    state=LogState.PLANNED,
    source_bucket="uploads",
    source_key="query-logs/a.jsonl",
    source_version="v1",
    splits=2,
    created_at=START,
    updated_at=START,
)
MARKER = PartMarker(
    log_id=LOG.log_id, split=0, rows=5, identity="i", size=100, stats=PartStats(rows_in=5)
)


@pytest.fixture
def calls() -> Iterator[AwsCalls]:
    with aws_calls() as recorded:
        yield recorded


@pytest.fixture
def caches(world: World, clock: VirtualClock) -> DynamoAnswerCaches:
    return DynamoAnswerCaches(world.dynamodb, CACHE, WEEK, clock)


# --- the cache -----------------------------------------------------------------------------------


def test_an_expired_answer_is_absent_though_dynamodb_still_has_it(
    caches: DynamoAnswerCaches, clock: VirtualClock, world: World
) -> None:
    cache = caches.of(1, ASKER)
    cache.put_many({"a query": a_decision()})

    clock.advance(WEEK - timedelta(seconds=1))
    assert "a query" in cache.get_many(["a query"])
    clock.advance(timedelta(seconds=1))
    assert cache.get_many(["a query"]) == {}
    assert len(world.items(CACHE)) == 1


def test_an_item_says_when_to_delete_it_and_not_what_was_asked(
    caches: DynamoAnswerCaches, world: World
) -> None:
    caches.of(7, ASKER).put_many({"the name of a person": a_decision()})

    (item,) = world.items(CACHE)
    assert item["expires_at"] == {"N": str(int((START + WEEK).timestamp()))}
    assert item["pk"]["S"].startswith("7#")
    assert "person" not in str(item)


def test_requests_keep_to_dynamodbs_batch_sizes(
    caches: DynamoAnswerCaches, calls: AwsCalls
) -> None:
    decisions = {f"query {n}": a_decision() for n in range(201)}

    caches.of(1, ASKER).put_many(decisions)
    caches.of(1, ASKER).get_many(list(decisions))

    written = [call.parameters["RequestItems"][CACHE] for call in calls.made[:9]]
    read = [call.parameters["RequestItems"][CACHE]["Keys"] for call in calls.made[9:]]
    assert [len(batch) for batch in written] == [25] * 8 + [1]
    assert [len(batch) for batch in read] == [100, 100, 1]


@dataclass
class ReluctantTable:
    """A DynamoDB client that processes only so many items of each batch, and remembers them."""

    takes: int
    batches: list[int] = field(default_factory=list)
    stored: dict[str, Any] = field(default_factory=dict)

    def batch_write_item(self, RequestItems: Any) -> dict[str, Any]:  # noqa: N803 - boto3's name
        puts = RequestItems[CACHE]
        self.batches.append(len(puts))
        for put in puts[: self.takes]:
            item = put["PutRequest"]["Item"]
            self.stored[item["pk"]["S"]] = item
        rest = puts[self.takes :]
        return {"UnprocessedItems": {CACHE: rest} if rest else {}}

    def batch_get_item(self, RequestItems: Any) -> dict[str, Any]:  # noqa: N803 - boto3's name
        keys = RequestItems[CACHE]["Keys"]
        self.batches.append(len(keys))
        found = [self.stored[key["pk"]["S"]] for key in keys[: self.takes]]
        rest = keys[self.takes :]
        return {
            "Responses": {CACHE: found},
            "UnprocessedKeys": {CACHE: {"Keys": rest}} if rest else {},
        }


def test_what_a_batch_leaves_over_is_tried_again(clock: VirtualClock) -> None:
    table: Any = ReluctantTable(takes=10)
    cache = DynamoAnswerCaches(table, CACHE, WEEK, clock).of(1, ASKER)
    queries = [f"query {n}" for n in range(25)]

    cache.put_many(dict.fromkeys(queries, a_decision()))
    recalled = cache.get_many(queries)

    assert table.batches == [25, 15, 5, 25, 15, 5]
    assert sorted(recalled) == sorted(queries)


def test_what_is_left_over_three_times_is_let_go(clock: VirtualClock) -> None:
    table: Any = ReluctantTable(takes=5)
    cache = DynamoAnswerCaches(table, CACHE, WEEK, clock).of(1, ASKER)
    queries = [f"query {n}" for n in range(25)]

    cache.put_many(dict.fromkeys(queries, a_decision()))
    recalled = cache.get_many(queries[:15])

    assert table.batches == [25, 20, 15, 15, 10, 5]
    assert sorted(recalled) == sorted(queries[:15])
    assert len(table.stored) == 15


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.CONNECTION_ERROR, Fault.LOST_REPLY])
def test_an_answer_that_could_not_be_kept_is_no_error(
    caches: DynamoAnswerCaches, fault: Fault
) -> None:
    """Whoever asked has the answer already: losing what is kept of it is harmless."""
    with aws_calls(0, fault) as calls:
        caches.of(1, ASKER).put_many({f"query {n}": a_decision() for n in range(50)})

    assert calls.fired == 1
    assert len(calls.made) == 2


def test_a_cache_that_may_not_be_written_is_an_error(caches: DynamoAnswerCaches) -> None:
    with aws_calls(0, Fault.ACCESS_DENIED), pytest.raises(AccessDeniedError):
        caches.of(1, ASKER).put_many({"a query": a_decision()})


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.CONNECTION_ERROR])
def test_a_cache_that_cannot_be_read_knows_nothing(
    caches: DynamoAnswerCaches, fault: Fault
) -> None:
    caches.of(1, ASKER).put_many({f"query {n}": a_decision() for n in range(150)})
    with aws_calls(0, fault) as calls:
        recalled = caches.of(1, ASKER).get_many([f"query {n}" for n in range(150)])

    assert calls.fired == 1
    assert len(recalled) == 50  # of the batch that could be read


def test_a_cache_that_may_not_be_read_is_an_error(caches: DynamoAnswerCaches) -> None:
    with aws_calls(0, Fault.ACCESS_DENIED), pytest.raises(AccessDeniedError):
        caches.of(1, ASKER).get_many(["a query"])


# --- the state table -----------------------------------------------------------------------------


def test_state_is_always_read_consistently(world: World, calls: AwsCalls) -> None:
    runs = DynamoRunRepository(world.dynamodb, STATE)
    ledger = DynamoUploadLedger(world.dynamodb, STATE, QUERY_LOGS)
    champions = DynamoChampionRepository(world.dynamodb, STATE)

    runs.get("run-0123456789ab")
    runs.runs_of_job("search-router-1")
    list(runs.all())
    champions.current()
    champions.version(1)
    ledger.get(LOG.log_id)
    list(ledger.markers(LOG.log_id))
    list(ledger.all())

    assert len(calls.made) == 8
    assert all(call.parameters["ConsistentRead"] for call in calls.made)


def test_many_runs_are_read_page_by_page(world: World, calls: AwsCalls) -> None:
    # GIVEN more than the megabyte that one page holds
    runs = DynamoRunRepository(world.dynamodb, STATE)
    made = [
        a_run(run_id=f"run-{number:012x}", reason="x" * 300_000, created_at=START + number * WEEK)
        for number in range(8)
    ]
    for run in made:
        runs.create(run)

    assert list(runs.all()) == made
    assert [call.operation for call in calls.made].count("Query") > 1


def test_a_write_whose_reply_was_lost_is_repeated_without_harm(world: World) -> None:
    """Each write that must happen once, first with a lost reply, then as a retry makes it."""
    runs = DynamoRunRepository(world.dynamodb, STATE)
    ledger = DynamoUploadLedger(world.dynamodb, STATE, QUERY_LOGS)
    run = a_run(RunState.EVALUATING, evaluation=an_evaluation())
    noted = run.updated(START, reason="noted")
    writes: list[tuple[Any, Any]] = [
        (lambda: runs.create(run), run),
        (lambda: runs.replace(noted), None),
        (lambda: runs.record_job("search-router-1", run.run_id), None),
        (lambda: ledger.create(LOG), LOG),
        (lambda: ledger.record_part(MARKER, START), LOG.model_copy(update={"parts": 1})),
        (lambda: ledger.record_attempt(LOG.log_id, 0, receives=2), Attempts(1, 0)),
    ]
    for write, result in writes:
        with aws_calls(0, Fault.LOST_REPLY), pytest.raises(UnavailableError):
            write()
        assert write() == result

    assert runs.get(run.run_id) == noted
    assert runs.runs_of_job("search-router-1") == [run.run_id]
    assert list(ledger.markers(LOG.log_id)) == [MARKER]


class ContendedTable:
    """A state table in which others hold the counter for the first few transactions."""

    def __init__(self, world: World, refusals: int) -> None:
        self._client = world.dynamodb
        self.refusals = refusals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **request: Any) -> Any:
        self.refusals -= 1
        if self.refusals >= 0:
            raise ClientError(
                {
                    "Error": {"Code": "TransactionCanceledException", "Message": ""},
                    "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}],
                },
                "TransactWriteItems",
            )
        return self._client.transact_write_items(**request)


def test_workers_that_meet_at_the_counter_try_again_at_once(world: World) -> None:
    pauses: list[float] = []
    table: Any = ContendedTable(world, refusals=3)
    ledger = DynamoUploadLedger(table, STATE, QUERY_LOGS, pauses.append)
    DynamoUploadLedger(world.dynamodb, STATE, QUERY_LOGS).create(LOG)

    assert ledger.record_part(MARKER, START).parts == 1
    assert len(pauses) == 3
    assert sum(pauses) < 1

    table.refusals = 99
    with pytest.raises(ContendedError):
        ledger.record_part(MARKER, START)
    assert len(pauses) == 3 + 5


def test_a_promotion_whose_reply_was_lost_has_happened(world: World) -> None:
    runs = DynamoRunRepository(world.dynamodb, STATE)
    champions = DynamoChampionRepository(world.dynamodb, STATE)
    run = runs.create(a_run(RunState.EVALUATING, evaluation=an_evaluation()))
    promoted = run.moved(RunState.PROMOTED, START, champion_version=1)

    with aws_calls(0, Fault.LOST_REPLY), pytest.raises(UnavailableError):
        champions.promote(a_champion(1), None, promoted)

    assert champions.current() == a_champion(1)
    assert runs.get(run.run_id) == promoted

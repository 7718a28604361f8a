"""One set of promises per port, kept by the fake in memory and by the adapter on AWS alike.

What only one of the two does (time to live, batches on the wire) is tested with the adapters.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import boto3
import pytest

from search_router import ports
from search_router.adapters.bedrock import (
    BedrockDeployments,
    BedrockDistillationJobs,
    BedrockFoundationModels,
)
from search_router.adapters.dynamodb_cache import DynamoAnswerCaches
from search_router.adapters.dynamodb_champions import DynamoChampionRepository
from search_router.adapters.dynamodb_runs import DynamoRunRepository, DynamoSpendingLedger
from search_router.adapters.dynamodb_uploads import QUERY_LOGS, DynamoUploadLedger
from search_router.adapters.eventbridge import EventBridgePublisher
from search_router.adapters.s3 import S3ObjectStore, S3UploadStore
from search_router.adapters.sqs import SqsSplitQueue
from search_router.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    QuotaExceededError,
    UnavailableError,
)
from search_router.domain.events import ModelPromoted, QueryLogRouted, RouterEvent, RunFailed
from search_router.domain.intake.selection import IntakeCounts
from search_router.domain.lifecycle.budget import Purchase, Spending
from search_router.domain.lifecycle.distillation import DistillationJob
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.logs.query_logs import LogState, QueryLog, SplitMessage
from search_router.domain.logs.results import PartMarker, PartStats
from search_router.domain.serving.champions import Champion, ChampionMove
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.splits.plan import Attempts
from search_router.domain.uploads import ObjectRef
from tests.aws_calls import aws_calls
from tests.fakes import (
    START,
    UPLOAD_BUCKET,
    InMemoryCaches,
    InMemoryChampions,
    InMemoryCustomizer,
    InMemoryEvents,
    InMemoryLedger,
    InMemoryObjects,
    InMemoryQueue,
    InMemoryRuns,
    InMemorySpending,
    InMemoryUploads,
    VirtualClock,
)
from tests.integration.world import CACHE, DATA, REGION, STATE, UPLOADS, Bedrock, World
from tests.records import (
    JSONL,
    STUDENT,
    TEACHER,
    a_champion,
    a_dataset,
    a_decision,
    a_run,
    a_training_job,
    an_evaluation,
)

LATER = START + timedelta(minutes=1)
TEN = b"0123456789"
ASKER = "log-0123456789ab/0"


@dataclass(frozen=True, slots=True)
class Ports:
    """Every port of one kind, and what a test needs beside it to arrange and to look."""

    uploads: ports.UploadStore
    upload: Callable[[str, bytes], ObjectRef]
    erase: Callable[[ObjectRef], None]
    objects: ports.ObjectStore
    runs: ports.RunRepository
    spending: ports.SpendingLedger
    champions: ports.ChampionRepository
    ledger: ports.QueryLogLedger
    queue: ports.SplitQueue
    sent: Callable[[], list[SplitMessage]]
    events: ports.EventPublisher
    published: Callable[[], list[tuple[str, dict[str, Any]]]]
    caches: ports.AnswerCaches


@pytest.fixture(params=["memory", "aws"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def port(kind: str, request: pytest.FixtureRequest) -> Iterator[Ports]:
    if kind == "memory":
        yield _in_memory()
        return
    with aws_calls() as calls:
        yield _on_aws(
            request.getfixturevalue("world"),
            lambda: [
                (entry["DetailType"], json.loads(entry["Detail"]))
                for call in calls.made
                if call.operation == "PutEvents"
                for entry in call.parameters["Entries"]
            ],
        )


def _in_memory() -> Ports:
    uploads, runs, queue, events = (
        InMemoryUploads(),
        InMemoryRuns(),
        InMemoryQueue(),
        InMemoryEvents(),
    )
    return Ports(
        uploads=uploads,
        upload=uploads.upload,
        erase=uploads.erase,
        objects=InMemoryObjects(),
        runs=runs,
        spending=InMemorySpending(),
        champions=InMemoryChampions(runs),
        ledger=InMemoryLedger(),
        queue=queue,
        sent=lambda: queue.sent,
        events=events,
        published=lambda: [
            (event.detail_type, event.model_dump(mode="json")) for event in events.published
        ],
        caches=InMemoryCaches(),
    )


def _on_aws(world: World, published: Callable[[], list[tuple[str, dict[str, Any]]]]) -> Ports:
    def sent() -> list[SplitMessage]:
        found: list[SplitMessage] = []
        while messages := world.messages():
            found += [SplitMessage.model_validate_json(message["Body"]) for message in messages]
        return found

    return Ports(
        uploads=S3UploadStore(world.s3),
        upload=world.upload,
        erase=world.erase,
        objects=S3ObjectStore(world.s3, DATA),
        runs=DynamoRunRepository(world.dynamodb, STATE),
        spending=DynamoSpendingLedger(world.dynamodb, STATE),
        champions=DynamoChampionRepository(world.dynamodb, STATE),
        ledger=DynamoUploadLedger(world.dynamodb, STATE, QUERY_LOGS),
        queue=SqsSplitQueue(world.sqs, world.queue_url),
        sent=sent,
        events=EventBridgePublisher(boto3.client("events", REGION), "default", "a-stack"),
        published=published,
        caches=DynamoAnswerCaches(world.dynamodb, CACHE, timedelta(days=1), VirtualClock()),
    )


def test_both_kinds_call_the_upload_bucket_by_one_name() -> None:
    assert UPLOADS == UPLOAD_BUCKET


# --- the object store ----------------------------------------------------------------------------


def test_an_object_is_read_back_with_its_size(port: Ports) -> None:
    port.objects.put("runs/r/manifest.json", "ünïcode\n".encode())

    assert port.objects.get("runs/r/manifest.json") == "ünïcode\n".encode()
    info = port.objects.info("runs/r/manifest.json")
    assert (info.size, info.metadata) == (10, {})


def test_putting_again_is_harmless(port: Ports) -> None:
    for body in (b"first", b"second"):
        port.objects.put("runs/r/manifest.json", body)

    assert port.objects.get("runs/r/manifest.json") == b"second"


def test_only_the_first_put_once_writes(port: Ports) -> None:
    # GIVEN a key that somebody has written once
    key = "logs/l/parts/part-00000.jsonl"
    assert port.objects.put_once(key, b"theirs", {"identity": "abc", "rows": "6"})
    # WHEN another attempt has other bytes
    wrote = port.objects.put_once(key, b"ours", {"identity": "def", "rows": "4"})
    # THEN it is told so, and bytes and metadata are the first ones
    assert not wrote
    assert port.objects.get(key) == b"theirs"
    info = port.objects.info(key)
    assert (info.size, info.metadata) == (6, {"identity": "abc", "rows": "6"})


def test_put_once_does_not_replace_what_was_put_otherwise(port: Ports) -> None:
    port.objects.put("logs/l/plan.json", b"old")

    assert not port.objects.put_once("logs/l/plan.json", b"new", {})
    assert port.objects.get("logs/l/plan.json") == b"old"


def test_metadata_is_json_text_as_it_was(port: Ports) -> None:
    stats = PartStats(rows_in=3, latency={70: 3}, weights={"visual": [0, 3]}).model_dump_json()

    port.objects.put_once("logs/l/parts/part-00000.jsonl", b"", {"stats": stats, "version": ""})

    metadata = port.objects.info("logs/l/parts/part-00000.jsonl").metadata
    assert metadata == {"stats": stats, "version": ""}


@pytest.mark.parametrize("lines", [[], [b""], [b"one\n"], [b"one\n", b"", b"two\n"]])
def test_a_writer_joins_lines(port: Ports, lines: list[bytes]) -> None:
    with port.objects.writer("runs/r/training.jsonl") as write:
        for line in lines:
            write(line)

    assert port.objects.get("runs/r/training.jsonl") == b"".join(lines)


def test_an_error_while_writing_leaves_no_object(port: Ports) -> None:
    def write_truncated() -> None:
        with port.objects.writer("runs/r/rejected.jsonl") as write:
            write(b"one\n")
            raise InvalidInputError("the gzip data is truncated")

    with pytest.raises(InvalidInputError, match="truncated"):
        write_truncated()

    with pytest.raises(NotFoundError):
        port.objects.get("runs/r/rejected.jsonl")


def test_objects_are_listed_under_a_prefix_in_key_order(port: Ports) -> None:
    for key in ("logs/l/parts/b", "logs/l/parts/a", "logs/l/parts/a-1", "logs/l/plan.json", "x"):
        port.objects.put(key, key.encode())

    listed = list(port.objects.list("logs/l/parts/"))

    assert listed == [("logs/l/parts/a", 14), ("logs/l/parts/a-1", 16), ("logs/l/parts/b", 14)]
    assert list(port.objects.list("runs/")) == []


def test_an_object_that_is_not_there_is_not_found(port: Ports) -> None:
    with pytest.raises(NotFoundError):
        port.objects.get("runs/r/holdout.jsonl")
    with pytest.raises(NotFoundError):
        port.objects.info("runs/r/holdout.jsonl")


# --- the upload store ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, None),
        (0, 4),
        (3, 7),
        (3, None),
        (9, 10),
        (8, 99),
        (10, None),
        (10, 12),
        (50, 60),
        (4, 4),
    ],
)
def test_a_range_is_read_as_a_slice(port: Ports, start: int, end: int | None) -> None:
    source = port.upload("query-logs/a.jsonl", TEN)

    assert b"".join(port.uploads.read(source, start, end)) == TEN[start:end]


@pytest.mark.parametrize(("start", "end"), [(0, None), (0, 0), (0, 5), (3, 5)])
def test_an_empty_upload_has_no_bytes_in_any_range(port: Ports, start: int, end: int) -> None:
    source = port.upload("query-logs/empty.jsonl", b"")

    assert port.uploads.info(source).size == 0
    assert list(port.uploads.read(source, start, end)) == []


def test_every_version_stays_readable(port: Ports) -> None:
    first = port.upload("prompts/a.jsonl", b"first")
    second = port.upload("prompts/a.jsonl", b"the second")

    sizes = [port.uploads.info(source).size for source in (first, second)]
    bodies = [b"".join(port.uploads.read(source)) for source in (first, second)]
    assert (sizes, bodies) == ([5, 10], [b"first", b"the second"])


def test_without_a_version_the_current_one_is_read(port: Ports) -> None:
    port.upload("prompts/a.jsonl", b"first")
    port.upload("prompts/a.jsonl", b"the second")

    current = ObjectRef(UPLOADS, "prompts/a.jsonl")
    assert b"".join(port.uploads.read(current)) == b"the second"


def test_an_upload_that_is_gone_is_not_found(port: Ports) -> None:
    # GIVEN a version that was deleted, and places where nothing ever was
    erased = port.upload("prompts/a.jsonl", b"first")
    port.upload("prompts/a.jsonl", b"second")
    port.erase(erased)
    never = [
        erased,
        ObjectRef(UPLOADS, "prompts/never.jsonl", erased.version_id),
        ObjectRef(UPLOADS, "prompts/never.jsonl"),
        ObjectRef("another-bucket", "prompts/a.jsonl"),
    ]
    for source in never:
        # THEN neither its size nor its bytes are to be had
        with pytest.raises(NotFoundError):
            port.uploads.info(source)
        with pytest.raises(NotFoundError):
            list(port.uploads.read(source))


def test_the_current_uploads_under_a_prefix_are_listed_with_their_age(port: Ports) -> None:
    # GIVEN an overwritten file, a deleted one, and one elsewhere
    port.upload("prompts/latest/a.jsonl", b"first")
    current = port.upload("prompts/latest/a.jsonl", b"second")
    folder = port.upload("prompts/latest/b c+d%20/", b"")
    port.erase(port.upload("prompts/latest/gone.jsonl", b"gone"))
    port.upload("query-logs/a.jsonl", b"elsewhere")
    # WHEN the prefix is listed
    listed = list(port.uploads.latest(UPLOADS, "prompts/latest/"))
    # THEN each file is there once, with the version that an event would name
    assert [upload.source for upload in listed] == [current, folder]
    assert [upload.size for upload in listed] == [len(b"second"), 0]
    assert all(upload.uploaded_at.tzinfo is not None for upload in listed)


# --- the run repository --------------------------------------------------------------------------


def test_a_run_is_read_back_as_it_was(port: Ports) -> None:
    run = a_run(
        RunState.EVALUATING,
        reason='a "reason" - with ünïcode',
        source=ObjectRef("uploads", "prompts/ünïcode.jsonl"),
        dataset=a_dataset(prior=(1 / 3, 2 / 3, 0.1 + 0.2, 5e-324)),
        evaluation=an_evaluation(),
        created_at=START + timedelta(microseconds=1),
    )

    assert port.runs.get(run.run_id) is None
    assert port.runs.create(run) == run
    assert port.runs.get(run.run_id) == run


def test_creating_a_run_again_returns_the_first(port: Ports) -> None:
    first = a_run(dataset=a_dataset(counts=IntakeCounts(rows_in=7)))
    port.runs.create(first)

    assert port.runs.create(a_run(RunState.FAILED)) == first
    assert port.runs.get(first.run_id) == first


def test_the_next_revision_replaces_a_run(port: Ports) -> None:
    run = port.runs.create(a_run())

    training = run.moved(RunState.TRAINING, LATER, training=a_training_job())
    port.runs.replace(training)

    assert port.runs.get(run.run_id) == training
    assert (training.revision, training.updated_at) == (1, LATER)


def test_of_two_who_move_a_run_one_loses(port: Ports) -> None:
    # GIVEN a run that two have read
    run = port.runs.create(a_run())
    winner = run.moved(RunState.TRAINING, LATER)
    port.runs.replace(winner)
    # WHEN the slower one writes
    with pytest.raises(ConflictError):
        port.runs.replace(run.moved(RunState.FAILED, LATER, reason="too late"))
    # THEN nothing of it is there
    assert port.runs.get(run.run_id) == winner


def test_our_own_repeated_write_is_no_conflict(port: Ports) -> None:
    run = port.runs.create(a_run())
    training = run.moved(RunState.TRAINING, LATER)

    for _ in range(2):  # as after a lost reply
        port.runs.replace(training)

    assert port.runs.get(run.run_id) == training


def test_a_run_that_was_never_created_cannot_be_replaced(port: Ports) -> None:
    with pytest.raises(ConflictError):
        port.runs.replace(a_run().updated(LATER))

    assert port.runs.get(a_run().run_id) is None


def test_runs_wait_for_a_job_once_each(port: Ports) -> None:
    for run_id in ("run-00000000000b", "run-00000000000a", "run-00000000000b"):
        port.runs.record_job("search-router-1", run_id)
    port.runs.record_job("search-router-10", "run-00000000000c")

    assert port.runs.runs_of_job("search-router-1") == ["run-00000000000a", "run-00000000000b"]
    assert port.runs.runs_of_job("search-router-2") == []
    assert list(port.runs.all()) == []


def test_all_runs_are_yielded_oldest_first(port: Ports) -> None:
    ids = ("run-00000000000c", "run-00000000000a", "run-00000000000b")
    runs = [a_run(run_id=name, created_at=START + n * timedelta(1)) for n, name in enumerate(ids)]
    for run in reversed(runs):
        port.runs.create(run)

    assert list(port.runs.all()) == runs


def test_a_run_is_open_from_its_creation_until_it_is_settled(port: Ports) -> None:
    first = port.runs.create(a_run(RunState.FAILED, run_id="run-00000000000a"))
    second = port.runs.create(a_run(run_id="run-00000000000b"))
    assert list(port.runs.open()) == [first, second]

    port.runs.close(first)
    port.runs.close(first)
    assert list(port.runs.open()) == [second]
    assert port.runs.get(first.run_id) == first

    again = first.moved(RunState.SHARDED, LATER)
    port.runs.reopen(again)
    assert list(port.runs.open()) == [again, second]
    port.runs.close(first)
    assert list(port.runs.open()) == [again, second], "it was moved meanwhile"
    with pytest.raises(ConflictError):
        port.runs.reopen(first.moved(RunState.SHARDED, LATER))


def test_what_was_spent_is_replaced_by_who_read_it_last(port: Ports) -> None:
    assert port.spending.read() == Spending()
    purchase = Purchase(job_name="job", usd=1.5, started_at=START)
    spent = port.spending.read().plus(purchase, 10)

    port.spending.replace(spent)
    assert port.spending.read() == spent

    late = Spending().plus(purchase.model_copy(update={"job_name": "another"}), 10)
    with pytest.raises(UnavailableError):
        port.spending.replace(late)
    assert port.spending.read() == spent
    port.spending.replace(spent.minus("job"))
    assert port.spending.read().purchases == ()


# --- the champion pointer ------------------------------------------------------------------------


def _evaluated(port: Ports, run_id: str) -> Run:
    return port.runs.create(a_run(RunState.EVALUATING, run_id=run_id, evaluation=an_evaluation()))


def _promoted(run: Run, version: int) -> tuple[Champion, Run]:
    """Return the champion that a run would be, and the run after that."""
    return (
        a_champion(version, run_id=run.run_id),
        run.moved(RunState.PROMOTED, LATER, champion_version=version),
    )


def _promote(port: Ports, run_id: str, version: int, previous: Champion | None) -> Champion:
    champion, run = _promoted(_evaluated(port, run_id), version)
    port.champions.promote(champion, previous, run)
    return champion


def test_at_first_nobody_is_champion(port: Ports) -> None:
    assert port.champions.current() is None
    assert port.champions.version(1) is None


def test_a_promotion_moves_the_pointer_and_closes_the_run(port: Ports) -> None:
    run = _evaluated(port, "run-000000000001")
    champion, promoted = _promoted(run, 1)

    port.champions.promote(champion, None, promoted)

    assert port.champions.current() == port.champions.version(1) == champion
    assert port.runs.get(run.run_id) == promoted


def test_a_former_champion_stays_readable(port: Ports) -> None:
    first = _promote(port, "run-000000000001", 1, None)
    second = _promote(port, "run-000000000002", 2, first)

    assert port.champions.current() == second
    assert [port.champions.version(n) for n in (1, 2, 3)] == [first, second, None]


def test_of_two_promotions_the_loser_changes_nothing(port: Ports) -> None:
    # GIVEN two evaluated runs that both saw the same champion
    first = _promote(port, "run-000000000001", 1, None)
    rivals = [_evaluated(port, f"run-00000000000{n}") for n in (2, 3)]
    champion, promoted = _promoted(rivals[0], 2)
    port.champions.promote(champion, first, promoted)
    # WHEN the slower one promotes, under the same or the next version
    for version in (2, 3):
        late, closed = _promoted(rivals[1], version)
        with pytest.raises(ConflictError):
            port.champions.promote(late, first, closed)
    # THEN pointer, versions and its run are what they were
    assert port.champions.current() == port.champions.version(2) == champion
    assert port.champions.version(3) is None
    assert port.runs.get(rivals[1].run_id) == rivals[1]


def test_a_first_promotion_loses_against_a_champion(port: Ports) -> None:
    first = _promote(port, "run-000000000001", 1, None)

    with pytest.raises(ConflictError):
        _promote(port, "run-000000000002", 2, None)

    assert port.champions.current() == first
    assert port.champions.version(2) is None


def test_a_run_that_moved_meanwhile_is_not_promoted(port: Ports) -> None:
    # GIVEN a run that somebody rejects after it was read
    run = _evaluated(port, "run-000000000001")
    rejected = run.moved(RunState.REJECTED, LATER)
    port.runs.replace(rejected)
    # WHEN it is promoted all the same
    champion, promoted = _promoted(run, 1)
    with pytest.raises(ConflictError):
        port.champions.promote(champion, None, promoted)
    # THEN nobody became champion
    assert port.champions.current() is None
    assert port.champions.version(1) is None
    assert port.runs.get(run.run_id) == rejected


def test_a_version_is_never_written_twice(port: Ports) -> None:
    first = _promote(port, "run-000000000001", 1, None)

    with pytest.raises(ConflictError):
        _promote(port, "run-000000000002", 1, first)

    assert port.champions.current() == port.champions.version(1) == first


# --- the ledger of query logs --------------------------------------------------------------------


def _log(log_id: str = "log-0123456789ab", **changes: object) -> QueryLog:
    log = QueryLog(
        log_id=log_id,
        state=LogState.PLANNED,
        source_bucket=UPLOADS,
        source_key="query-logs/a.jsonl",
        source_version="v1",
        splits=3,
        champion_version=1,
        created_at=START,
        updated_at=START,
    )
    return log.model_copy(update=changes)


def _marker(split: int, log_id: str = "log-0123456789ab", rows: int = 5) -> PartMarker:
    stats = PartStats(rows_in=rows + 1, routed=rows, rejected=1, cost_usd=0.1 + 0.2)
    return PartMarker(
        log_id=log_id, split=split, rows=rows, identity=f"i{split}", size=100, stats=stats
    )


def test_a_log_is_created_once(port: Ports) -> None:
    assert port.ledger.get("log-0123456789ab") is None
    first = port.ledger.create(_log())

    assert port.ledger.create(_log(splits=7, state=LogState.FAILED)) == first == _log()
    assert port.ledger.get("log-0123456789ab") == first


def test_a_part_entered_twice_counts_once(port: Ports) -> None:
    port.ledger.create(_log())

    entered = port.ledger.record_part(_marker(0), LATER)
    again = port.ledger.record_part(_marker(0), LATER + timedelta(hours=1))

    assert entered == again == _log(parts=1, updated_at=LATER)
    assert list(port.ledger.markers("log-0123456789ab")) == [_marker(0)]


def test_the_last_part_completes_a_log(port: Ports) -> None:
    port.ledger.create(_log())

    heads = [port.ledger.record_part(_marker(split), LATER) for split in (2, 0, 1)]

    assert [head.is_complete for head in heads] == [False, False, True]
    assert port.ledger.get("log-0123456789ab") == heads[-1]


def test_markers_come_by_split(port: Ports) -> None:
    port.ledger.create(_log(splits=200))
    port.ledger.create(_log("log-0123456789ac"))
    for split in (100, 9, 10, 0):
        port.ledger.record_part(_marker(split), LATER)
    port.ledger.record_part(_marker(1, "log-0123456789ac"), LATER)

    assert list(port.ledger.markers("log-0123456789ab")) == [_marker(s) for s in (0, 9, 10, 100)]


def test_a_part_of_an_unknown_log_is_refused(port: Ports) -> None:
    with pytest.raises(NotFoundError):
        port.ledger.record_part(_marker(0), LATER)

    assert list(port.ledger.markers("log-0123456789ab")) == []
    assert list(port.ledger.all()) == []


def test_a_log_moves_forward_only(port: Ports) -> None:
    planned = port.ledger.create(_log())

    moves = [
        (state, port.ledger.move(planned.log_id, state, LATER, state.value.lower()))
        for state in (
            LogState.ROUTING,
            LogState.ROUTING,
            LogState.ROUTED,
            LogState.ROUTED,
            LogState.FAILED,
            LogState.ROUTING,
        )
    ]

    assert [state for state, moved in moves if moved] == [LogState.ROUTING, LogState.ROUTED]
    stored = port.ledger.get(planned.log_id)
    assert stored == _log(state=LogState.ROUTED, reason="routed", updated_at=LATER)


@pytest.mark.parametrize("end", [LogState.ROUTED, LogState.FAILED])
def test_a_log_may_end_before_it_is_known_to_be_routed(port: Ports, end: LogState) -> None:
    """Its parts may be complete before split_query_log has written that all are queued."""
    planned = port.ledger.create(_log())

    assert port.ledger.move(planned.log_id, end, LATER)
    assert not port.ledger.move(planned.log_id, LogState.ROUTING, LATER)


def test_parts_that_come_while_a_log_moves_are_kept(port: Ports) -> None:
    # GIVEN a log of which two parts have come
    planned = port.ledger.create(_log())
    port.ledger.record_part(_marker(0), LATER)
    port.ledger.record_part(_marker(1), LATER)
    # WHEN it is moved, and then the last part comes
    assert port.ledger.move(planned.log_id, LogState.ROUTING, LATER, "why")
    head = port.ledger.record_part(_marker(2), LATER)
    # THEN neither has undone the other
    assert head == _log(parts=3, state=LogState.ROUTING, reason="why", updated_at=LATER)


def test_attempts_at_a_split_are_counted_until_they_are_reset(port: Ports) -> None:
    log = port.ledger.create(_log()).log_id

    assert [port.ledger.record_attempt(log, 3, n) for n in (2, 3)] == [
        Attempts(1, 0),
        Attempts(2, 0),
    ]
    assert port.ledger.record_attempt(log, 4, 2) == Attempts(1, 0)
    port.ledger.reset_attempts(log, 3, answered=70)
    assert port.ledger.record_attempt(log, 3, 4) == Attempts(1, 70)
    port.ledger.reset_attempts(log, 3)
    assert port.ledger.record_attempt(log, 3, 5) == Attempts(1, 70)
    assert list(port.ledger.markers(log)) == [], "attempts are no parts"


def test_an_attempt_whose_count_is_repeated_is_counted_once(port: Ports) -> None:
    """As after a lost reply; and a message that is redriven is counted by SQS from 1 again."""
    log = port.ledger.create(_log()).log_id

    made = [port.ledger.record_attempt(log, 3, n).made for n in (7, 7, 8, 8, 8, 2, 7)]

    assert made == [1, 1, 2, 2, 2, 3, 3]


def test_attempts_without_a_record_can_be_reset(port: Ports) -> None:
    log = port.ledger.create(_log()).log_id

    for _ in range(2):  # as after a lost reply
        port.ledger.reset_attempts(log, 3)
        port.ledger.reset_attempts(log, 4, answered=7)

    assert port.ledger.record_attempt(log, 3, 2) == Attempts(1, 0)
    assert port.ledger.record_attempt(log, 4, 2) == Attempts(1, 7)


def test_an_unknown_log_cannot_be_moved(port: Ports) -> None:
    assert not port.ledger.move(_log().log_id, LogState.ROUTING, LATER)
    assert port.ledger.get(_log().log_id) is None


def test_all_logs_are_yielded(port: Ports) -> None:
    logs = [_log(f"log-00000000000{n}") for n in "abc"]
    for log in reversed(logs):
        port.ledger.create(log)
    port.ledger.record_part(_marker(0, "log-00000000000b"), LATER)

    counted = logs[1].model_copy(update={"parts": 1, "updated_at": LATER})
    assert list(port.ledger.all()) == [logs[0], counted, logs[2]]


# --- the queue and the bus -----------------------------------------------------------------------


def _message(split: int, version_id: str | None = "v1") -> SplitMessage:
    return SplitMessage(
        log_id="log-0123456789ab",
        split=split,
        start=split * 1_000,
        end=split * 1_000 + 1_000,
        bucket=UPLOADS,
        key="query-logs/a b+c%25 ü.jsonl",
        version_id=version_id,
        dialect=JSONL,
        champion_version=1,
    )


@pytest.mark.parametrize("number", [0, 1, 10, 23])
def test_every_message_is_sent_once(port: Ports, number: int) -> None:
    messages = [_message(split, None if split == 3 else "v1") for split in range(number)]

    port.queue.send(iter(messages))

    assert sorted(port.sent(), key=lambda message: message.split) == messages


def test_events_are_published_with_their_type_and_detail(port: Ports) -> None:
    events: list[RouterEvent] = [
        ModelPromoted(run_id="run-0123456789ab", champion_version=3),
        RunFailed(run_id="run-0123456789ab", reason='"ünïcode" - and quotes'),
        QueryLogRouted(log_id="log-0123456789ab"),
    ]
    for event in events:
        port.events.publish(event)

    assert port.published() == [
        ("ModelPromoted", {"run_id": "run-0123456789ab", "champion_version": 3}),
        ("RunFailed", {"run_id": "run-0123456789ab", "reason": '"ünïcode" - and quotes'}),
        ("QueryLogRouted", {"log_id": "log-0123456789ab"}),
    ]


# --- the caches ----------------------------------------------------------------------------------


def test_a_remembered_answer_costs_others_nothing(port: Ports) -> None:
    answer = a_decision((1 / 3, 1 / 3, 1 / 3, 0.0), status=Status.REPAIRED)

    port.caches.of(1, ASKER).put_many({"who is “she”?": answer})

    expected = Decision(answer.weights, Tier.CACHE, Status.REPAIRED, "champion")
    for owner in ("log-0123456789ab/1", ""):
        recalled = port.caches.of(1, owner).get_many(["who is “she”?", "never asked"])
        assert recalled == {"who is “she”?": expected}


def test_whoever_asked_gets_the_call_back_that_was_paid_for(port: Ports) -> None:
    answer = a_decision((0.1, 0.2, 0.3, 0.4))

    port.caches.of(1, ASKER).put_many({"a query": answer})

    assert port.caches.of(1, ASKER).get_many(["a query"]) == {"a query": answer}


def test_nobody_in_particular_gets_no_call_back(port: Ports) -> None:
    """The API asks for nobody: its own answer comes back as a hit."""
    port.caches.of(1, "").put_many({"a query": a_decision()})

    assert port.caches.of(1, "").get_many(["a query"])["a query"].tier is Tier.CACHE


def test_the_last_answer_is_kept(port: Ports) -> None:
    cache = port.caches.of(1, ASKER)
    for weights in ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0)):
        cache.put_many({"a query": a_decision(weights)})

    assert cache.get_many(["a query"])["a query"].weights == (0.0, 1.0, 0.0, 0.0)


def test_champion_versions_do_not_share_answers(port: Ports) -> None:
    port.caches.of(1, ASKER).put_many({"a query": a_decision()})

    assert port.caches.of(2, ASKER).get_many(["a query"]) == {}
    assert port.caches.of(11, ASKER).get_many(["a query"]) == {}


def test_more_than_one_batch_is_remembered_and_recalled(port: Ports) -> None:
    cache = port.caches.of(1, ASKER)
    decisions = {f"query {n}": a_decision((n / 300, 1 - n / 300, 0.0, 0.0)) for n in range(251)}
    cache.put_many(decisions)

    recalled = cache.get_many([*decisions, "query 251"])

    assert {query: answer.weights for query, answer in recalled.items()} == {
        query: answer.weights for query, answer in decisions.items()
    }


def test_nothing_asked_is_nothing_known(port: Ports) -> None:
    cache = port.caches.of(1, ASKER)
    cache.put_many({})

    assert cache.get_many([]) == {}


def test_a_rollback_moves_the_pointer_alone_and_is_noted(port: Ports) -> None:
    first, run = _promoted(_evaluated(port, "run-00000000000a"), 1)
    port.champions.promote(first, None, run)
    second, other = _promoted(_evaluated(port, "run-00000000000b"), 2)
    later = second.model_copy(update={"promoted_at": LATER})
    port.champions.promote(later, first, other)
    back = ChampionMove(
        moved_at=LATER + timedelta(1), from_version=2, to_version=1, reason="it was worse"
    )

    port.champions.roll_back(first, later, back)

    assert port.champions.current() == first
    assert list(port.champions.history()) == [first, later]
    assert port.champions.last_version() == 2
    assert [move.to_version for move in port.champions.moves()] == [1, 2, 1]
    assert list(port.champions.moves())[-1] == back
    with pytest.raises(ConflictError):
        port.champions.roll_back(later, later, back)
    assert port.champions.current() == first


def test_before_any_champion_there_is_no_version_and_no_move(port: Ports) -> None:
    assert port.champions.last_version() == 0
    assert [*port.champions.history(), *port.champions.moves()] == []


# --- Bedrock's control plane ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Foundry:
    """The three ports to the control plane, and what ends jobs and deployments."""

    models: ports.FoundationModels
    jobs: ports.DistillationJobs
    deployments: ports.Deployments
    end_job: Callable[[str], None]
    end_deployment: Callable[[str], None]

    def model(self, name: str) -> str:
        """Make a model by a job of this name."""
        self.jobs.start_job(_job(name))
        self.end_job(name)
        return self.jobs.job(name).model_arn


@pytest.fixture
def foundry(kind: str, request: pytest.FixtureRequest) -> Iterator[Foundry]:
    if kind == "memory":
        fake = InMemoryCustomizer()
        end_job: Callable[[str], None] = lambda name: cast("None", fake.end_job(name))  # noqa: E731
        yield Foundry(fake, fake, fake, end_job, fake.end_deployment)
        return
    bedrock: Bedrock = request.getfixturevalue("bedrock")
    world: World = request.getfixturevalue("world")
    world.s3.put_object(Bucket=DATA, Key="training.jsonl", Body=_training_set())
    client = boto3.client("bedrock", REGION)

    def an_hour_passes(_name: str) -> None:
        bedrock.clock.advance(timedelta(hours=1))

    yield Foundry(
        BedrockFoundationModels(client),
        BedrockDistillationJobs(client),
        BedrockDeployments(client),
        an_hour_passes,
        an_hour_passes,
    )
    client.close()


def _training_set() -> bytes:
    turns = [{"role": "user", "content": [{"text": "a query"}]}]
    record = {"schemaVersion": "bedrock-conversation-2024", "messages": turns}
    return (json.dumps(record).encode() + b"\n") * 100


def _job(name: str) -> DistillationJob:
    return DistillationJob(
        name=name,
        teacher=TEACHER,
        student=STUDENT,
        role_arn="arn:aws:iam::123456789012:role/distillation",
        training_uri="s3://data/training.jsonl",
        output_uri="s3://data/distillation",
        tags=(("UseCase", "search-router"), ("Run", "run-0123456789ab")),
    )


def test_a_job_is_found_by_name_and_arn_until_it_has_made_a_model(foundry: Foundry) -> None:
    arn = foundry.jobs.start_job(_job("search-router-1"))
    before = foundry.jobs.job("search-router-1")
    assert (before.name, before.arn, before.status) == ("search-router-1", arn, "InProgress")
    assert before.model_arn == ""

    foundry.end_job("search-router-1")

    after = foundry.jobs.job(arn)
    assert replace(after, model_arn="") == replace(before, status="Completed")
    assert ":custom-model/" in after.model_arn


def test_the_account_s_deployments_are_listed_until_they_are_deleted(foundry: Foundry) -> None:
    model = foundry.model("search-router-1")
    arns = [foundry.deployments.deploy(f"router-{number}", model) for number in range(2)]
    assert sorted(foundry.deployments.arns()) == sorted(arns)

    foundry.end_deployment("router-0")
    foundry.deployments.delete(arns[0])

    assert list(foundry.deployments.arns()) == arns[1:]


def test_the_same_job_is_bought_once(foundry: Foundry) -> None:
    arns = {foundry.jobs.start_job(_job("search-router-1")) for _ in range(2)}

    assert len(arns) == 1


def test_a_job_whose_name_is_taken_is_adopted(foundry: Foundry) -> None:
    # GIVEN a job that another run of the same bytes has started
    arn = foundry.jobs.start_job(_job("search-router-1"))
    foundry.end_job("search-router-1")
    # WHEN this run, with its own training object and tags, asks for it
    twin = replace(
        _job("search-router-1"),
        training_uri="s3://data/twin.jsonl",
        tags=(("Run", "run-0123456789ac"),),
    )
    # THEN it gets that job
    assert foundry.jobs.start_job(twin) == arn


def test_unknown_jobs_and_deployments_are_not_found(foundry: Foundry) -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/000000000000"
    with pytest.raises(NotFoundError):
        foundry.jobs.job("search-router-1")
    with pytest.raises(NotFoundError):
        foundry.deployments.deployment(arn)
    foundry.deployments.delete(arn)  # gone is gone


def test_a_deployment_becomes_active_and_is_deleted(foundry: Foundry) -> None:
    arn = foundry.deployments.deploy("router-serving", foundry.model("search-router-1"))
    assert foundry.deployments.deployment(arn).status == "Creating"
    foundry.end_deployment("router-serving")
    assert foundry.deployments.deployment("router-serving").arn == arn
    assert foundry.deployments.deployment(arn).status == "Active"

    for _ in range(2):
        foundry.deployments.delete(arn)

    with pytest.raises(NotFoundError):
        foundry.deployments.deployment(arn)


def test_a_model_is_deployed_once_under_a_name(foundry: Foundry) -> None:
    model = foundry.model("search-router-1")

    arns = {foundry.deployments.deploy("router-serving", model) for _ in range(2)}

    assert len(arns) == 1


def test_what_was_deleted_can_be_deployed_again(foundry: Foundry) -> None:
    # GIVEN a loser whose deployment is gone
    model = foundry.model("search-router-1")
    lost = foundry.deployments.deploy("router-serving", model)
    foundry.end_deployment("router-serving")
    foundry.deployments.delete(lost)
    # WHEN the same bytes are uploaded again
    arn = foundry.deployments.deploy("router-serving", model)
    # THEN there is a deployment that works
    assert foundry.deployments.deployment(arn).status == "Creating"


def test_an_eleventh_deployment_finds_no_place(foundry: Foundry) -> None:
    model = foundry.model("search-router-1")
    for number in range(10):
        foundry.deployments.deploy(f"router-{number}", model)
        foundry.end_deployment(f"router-{number}")

    with pytest.raises(QuotaExceededError):
        foundry.deployments.deploy("router-10", model)


def test_a_teacher_is_looked_up_by_its_profile_too(foundry: Foundry) -> None:
    lifecycle = foundry.models.lifecycle(f"us.{TEACHER}")

    assert (lifecycle.model_id, lifecycle.status) == (f"us.{TEACHER}", "ACTIVE")
    assert lifecycle.end_of_life is None

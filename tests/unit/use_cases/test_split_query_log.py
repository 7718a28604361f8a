"""Splitting a log: one plan, the same messages from every attempt, a reason for what is no log."""

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable

import pytest

from search_router.domain.errors import UnavailableError
from search_router.domain.logs import log_files
from search_router.domain.logs.query_logs import LogPlan, LogState, QueryLog, SplitMessage
from search_router.domain.splits.formats import RowFormat
from search_router.domain.uploads import ObjectRef
from search_router.use_cases.log_planning import SplitRules
from search_router.use_cases.split_query_log import SplitQueryLog
from tests.fakes import InMemoryQueue
from tests.records import JSONL, a_champion, gzipped, jsonl
from tests.unit.use_cases.world import World, ignored, routed, truth

SMALL = jsonl([{"query": f"query {n}"} for n in range(100)])
LARGE = jsonl([{"query": f"query {n % 100:04d}", "pad": "x" * 500} for n in range(300)])


def with_rules(world: World, rules: SplitRules) -> SplitQueryLog:
    return dataclasses.replace(world.split_query_log, rules=rules)


def test_a_small_log_is_one_message_with_everything_fixed(serving_world: World) -> None:
    world = serving_world

    log = world.split_log(SMALL)

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

    log = serving_world.split_log(LARGE)

    messages = serving_world.queue.sent
    assert [message.split for message in messages] == [0, 1]
    assert (messages[0].end, messages[1].end) == (messages[1].start, len(LARGE))
    assert log.splits == 2
    assert not any("query 0" in message.model_dump_json() for message in messages)


def test_a_text_log_needs_no_field(serving_world: World) -> None:
    serving_world.split_log(b"dogs barking\nred cars\n", "query-logs/searches.txt")

    assert serving_world.queue.sent[0].dialect.format is RowFormat.TEXT


@pytest.mark.parametrize(
    ("key", "body", "reason"),
    [
        ("query-logs/a.jsonl", b"", "the file is empty"),
        ("query-logs/a.jsonl", b"\n \n\r\n", "the file is empty"),
        ("query-logs/a.jsonl", b'{"text": "dogs"}\n', "no row has a query field"),
        ("query-logs/a.txt", b" \n", "the file is empty"),
        ("query-logs/a.csv.gz", gzipped(b""), "the file is empty"),
        ("query-logs/a.jsonl", b"\n" * 100 + b'{"text": "dogs"}\n', "no row has a query field"),
        (
            "query-logs/a.csv",
            b"dogs,1\n",
            "the first row (2 fields) is not a header",
        ),
        ("query-logs/a.parquet", b"PAR1", "not a query log: expected .jsonl, .ndjson, .json, .log"),
        (
            "query-logs/a.txt.gz",
            gzipped(SMALL)[:-9],
            "is truncated after 2190 unpacked bytes",
        ),
        ("query-logs/a.txt.gz", b"\x1f\x8b" + SMALL, "is damaged after 0 unpacked bytes"),
        ("query-logs/a.txt.gz", gzipped(bytes(2 * 10**7)), "more than 200 times its size"),
        ("query-logs/day/a.jsonl", SMALL, "a file inside a folder"),
    ],
)
def test_an_invalid_log_is_recorded_as_failed_with_a_reason(
    serving_world: World, key: str, body: bytes, reason: str
) -> None:
    world = serving_world

    log = world.split_log(body, key)

    assert log.state is LogState.FAILED
    assert reason in log.reason
    assert world.log(log.log_id) == log
    assert (world.queue.sent, world.objects.bodies) == ([], {})


def test_a_broken_gzip_costs_its_log_and_writes_no_plan(serving_world: World) -> None:
    """What was unpacked before the break lies there, and nobody reads it."""
    body = gzipped(LARGE * 100)[:-9]

    log = serving_world.split_log(body, "query-logs/a.jsonl.gz")

    assert log.state is LogState.FAILED
    assert serving_world.queue.sent == []
    assert all(key.startswith("logs/copies/") for key in serving_world.objects.bodies)


def _table(delimiter: str) -> Callable[[list[dict[str, str]]], bytes]:
    def write(rows: list[dict[str, str]]) -> bytes:
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue().encode()

    return write


FORMS: dict[str, Callable[[list[dict[str, str]]], bytes]] = {
    "jsonl": jsonl,
    "csv": _table(","),
    "tsv": _table("\t"),
    "txt": lambda rows: b"".join(row["query"].encode() + b"\n" for row in rows),
}
QUERIES = ['say "dogs bark" loud', '"red cars"', "a, b", "café \U0001f600", " red  cars ", "'=1+1"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_the_same_log_gives_the_same_answers_in_all_eight_forms(
    serving_world: World, form: str, packed: bool
) -> None:
    world = serving_world
    rows = [{"query": f"{QUERIES[n % 6]} {n % 700}", "n": str(n)} for n in range(6_000)]
    body = FORMS[form](rows)

    log = world.split_log(gzipped(body) if packed else body, f"query-logs/a.{form}{'.gz' * packed}")
    for message in world.queue.sent:
        world.route(message)

    found = [
        row
        for message in world.queue.sent
        for row in world.rows(f"logs/{log.log_id}/parts/part-{message.split:05d}.jsonl")
    ]
    assert len(world.queue.sent) == log.splits >= 2
    assert [row["query"] for row in found] == [row["query"] for row in rows]
    assert [row["audio"] for row in found] == [truth(row["query"])[1] for row in rows]
    assert {row["status"] for row in found} == {"ok"}
    if form != "txt":
        assert [str(row["n"]) for row in found] == [row["n"] for row in rows]
    text = [body[row["byte_offset"] :].split(b"\n", 1)[0] for row in found[::397]]
    assert text == [body.split(b"\n")[n + (form in ("csv", "tsv"))] for n in range(0, 6_000, 397)]


def test_a_log_that_is_read_through_has_its_rows_counted(serving_world: World) -> None:
    plain = serving_world.split_log(SMALL)
    packed = serving_world.split_log(gzipped(SMALL + b"\n\n"), "query-logs/b.jsonl.gz")

    assert (plain.rows, packed.rows) == (100, 100)
    assert packed.hours_if_distinct == pytest.approx(100 / 1_600 / 60, abs=0.005)
    plan = serving_world.text(f"logs/{packed.log_id}/plan.json")
    assert (plan["rows_are_counted"], plan["layout"], plan["rows"]) == (True, "copy", 100)


@pytest.mark.parametrize("key", ["query-logs/a.jsonl", "query-logs/a.csv.gz", "query-logs/a.txt"])
def test_whether_a_log_is_packed_is_in_its_bytes_not_in_its_name(
    serving_world: World, key: str
) -> None:
    other = key.removesuffix(".gz") if key.endswith(".gz") else f"{key}.gz"
    body = b'{"query": "dogs"}\n' if "jsonl" in key else b"query\ndogs\n"

    as_named = serving_world.split_log(gzipped(body) if key.endswith(".gz") else body, key)
    otherwise = serving_world.split_log(gzipped(body) if key.endswith(".gz") else body, other)

    assert (as_named.state, as_named.rows) == (otherwise.state, otherwise.rows)


def test_the_query_field_is_named_by_the_upload_or_by_the_settings(serving_world: World) -> None:
    body = jsonl([{"query": "x", "text": "y", "a": {"b": "z"}}])
    world = serving_world

    world.split(world.uploads.upload("query-logs/a.jsonl", body))
    world.split(world.uploads.upload("query-logs/b.jsonl", body, query_field="a.b"))
    world.split_query_log = with_rules(world, SplitRules(1_600, 2, "text"))
    world.split(world.uploads.upload("query-logs/c.jsonl", body))
    world.split(world.uploads.upload("query-logs/d.jsonl", body, query_field="query"))
    missing = world.split(world.uploads.upload("query-logs/e.jsonl", body, query_field="nope"))

    fields = [message.dialect.query_field for message in world.queue.sent]
    assert fields == ["query", "a.b", "text", "query"]
    assert isinstance(missing, QueryLog)
    assert missing.reason == (
        "no row has a string in the query field 'nope' (fields: query, text, a.b). "
        "Name the field with --query-field."
    )


@pytest.mark.parametrize(
    "head",
    [
        b"\n" * 70_000,
        b" \r\n" * 300_000,
        b'{"query": "' + b"x" * 90_000 + b'"}\n',
        b"broken\n" * 20_000,
    ],
    ids=["blank", "a megabyte of blanks", "one long row", "broken rows"],
)
def test_a_log_may_begin_with_rows_without_a_query(serving_world: World, head: bytes) -> None:
    world = serving_world
    log = world.split_log(head + LARGE)

    assert log.state is LogState.ROUTING
    assert {message.dialect for message in world.queue.sent} == {JSONL}
    stats = [routed(world.route(message)) for message in world.queue.sent]
    assert sum(part.routed for part in stats) == 300
    plan = LogPlan.model_validate_json(world.objects.get(f"logs/{log.log_id}/plan.json"))
    assert plan.split_bytes <= 6_000 * 600, "blank lines are not taken for tiny rows"


def test_the_search_for_a_query_is_bounded(
    serving_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "MAX_SAMPLE_BYTES", 2**20)

    log = serving_world.split_log(b"\n" * (2**20 + 1) + SMALL)

    assert (log.state, log.reason[:27]) == (LogState.FAILED, "no line is a JSON object. N")


@pytest.mark.parametrize(
    ("key", "kills"), [("query-logs/a.jsonl.gz", (0, 1, 2, 5)), ("query-logs/a.csv", (0,))]
)
def test_a_planner_killed_at_any_write_and_retried_sends_the_same_splits(
    key: str, kills: tuple[int, ...]
) -> None:
    """Killed after n objects; the retry has other settings and another champion."""
    rows = b"query\n" + b'"dogs, cats"\n' * 40_000
    body = gzipped(jsonl([{"query": f"q {n}"} for n in range(40_000)])) if "gz" in key else rows
    sent = []
    for writes in (None, *kills):
        world = World()
        world.champions.install(a_champion())
        source = world.uploads.upload(key, body)
        if writes is not None:
            world.objects.room = writes
            with pytest.raises(UnavailableError):
                world.split(source)
            world.objects.room = None
        world.queue.room = 1
        with pytest.raises(UnavailableError):
            world.split(source)
        world.queue.room = None
        world.champions.install(a_champion(2))
        world.split_query_log = with_rules(world, SplitRules(60, 2))
        world.split(source)
        first, *messages = world.queue.sent
        assert messages[0] == first
        sent.append(messages)
    assert all(messages == sent[0] for messages in sent)
    assert len(sent[0]) > 5


def test_without_a_champion_the_reason_names_the_remedy(world: World) -> None:
    log = world.split_log(SMALL)

    assert (log.state, log.reason) == (
        LogState.FAILED,
        "no model serves yet. Promote one, then upload the log again.",
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

    assert ignored(world.split(source)) == "the upload is ROUTING already"
    assert len(world.queue.sent) == 2


def test_a_failed_log_stays_failed_until_it_is_uploaded_again(world: World) -> None:
    source = world.uploads.upload("query-logs/a.jsonl", SMALL)
    world.split(source)
    world.champions.install(a_champion())

    assert ignored(world.split(source)) == "the upload is FAILED already"
    assert world.split_log(SMALL, "query-logs/a.jsonl").state is LogState.ROUTING


def test_a_retry_after_a_crash_between_two_messages_sends_both(serving_world: World) -> None:
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


def test_workers_may_finish_before_the_log_is_routing(
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
    log = world.split_log(LARGE)

    assert world.log(log.log_id).state is LogState.ROUTED


def test_a_plan_counts_the_last_row_though_it_is_cut_off(serving_world: World) -> None:
    log = serving_world.split_log(b"dog barks\nred autos", "query-logs/searches.txt")

    plan = LogPlan.model_validate_json(serving_world.objects.get(f"logs/{log.log_id}/plan.json"))
    assert plan.rows == 2

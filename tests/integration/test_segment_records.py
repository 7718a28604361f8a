"""The records of segments and the collections: the same contract in memory and in DynamoDB."""

from array import array
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from search_router import ports
from search_router.adapters import dynamodb_segments
from search_router.adapters.dynamodb_collections import DynamoCollectionRepository
from search_router.adapters.dynamodb_segments import DynamoSegmentRecords
from search_router.domain.errors import ContendedError, UnavailableError
from search_router.domain.search.index import Attributes, Collection
from search_router.domain.search.segment_records import Outcome, RecordWrite, SegmentRecord
from search_router.domain.search.segments import Segment
from tests.fakes import START, InMemoryCollections, InMemoryRecords

TABLE, STATE = "segments", "state"


def record(segment_id: str, order: str, text: str = "a door") -> SegmentRecord:
    attributes: Attributes = {
        "genre": "drama",
        "people": ["Ann"],
        "year": 2021,
        "score": 0.5,
        "hd": True,
    }
    segment = Segment(segment_id, "v1", 0.0, 1.5, {"visual": text}, {}, attributes)
    vectors = {"visual": array("f", [0.1, -2.0])}
    return SegmentRecord(segment_id, order, Outcome.INDEXED, segment, {"visual": "h"}, vectors)


def deletion(segment_id: str, order: str) -> SegmentRecord:
    return SegmentRecord(segment_id, order, Outcome.DELETED)


def new(*records: SegmentRecord) -> list[RecordWrite]:
    return [RecordWrite(one, None) for one in records]


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("dynamodb", "us-east-1")


@pytest.fixture
def table(dynamodb: Any) -> Any:
    for name in (TABLE, STATE):
        if name in dynamodb.list_tables()["TableNames"]:
            dynamodb.delete_table(TableName=name)
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        )
    return dynamodb


@pytest.fixture(params=["memory", "aws"])
def records(request: pytest.FixtureRequest) -> ports.SegmentRecords:
    if request.param == "memory":
        return InMemoryRecords()
    return DynamoSegmentRecords(request.getfixturevalue("table"), TABLE, lambda _: None)


@pytest.fixture(params=["memory", "aws"])
def collections(request: pytest.FixtureRequest) -> ports.CollectionRepository:
    if request.param == "memory":
        return InMemoryCollections()
    return DynamoCollectionRepository(request.getfixturevalue("table"), STATE)


def test_records_are_read_as_they_were_written(records: ports.SegmentRecords) -> None:
    written = [record("s1", "1"), deletion("s2", "1"), record("é/\u2028#", "1", "<b>\u202e")]

    assert records.put_many("films", new(*written)) == set()

    found = records.get_many("films", ["s1", "s2", "é/\u2028#", "missing", "s1"])
    assert found == {one.segment_id: one for one in written}
    assert records.get_many("other", ["s1"]) == {}
    assert records.get_many("films", []) == {}


def test_only_the_record_that_was_read_is_replaced(records: ports.SegmentRecords) -> None:
    records.put_many("films", new(record("s1", "1"), record("s2", "1")))

    lost = records.put_many(
        "films",
        [
            RecordWrite(record("s1", "2"), "1"),
            RecordWrite(record("s2", "2"), "0"),
            RecordWrite(record("s3", "2"), "1"),
            RecordWrite(record("s4", "2"), None),
        ],
    )

    assert lost == {"s2", "s3"}
    found = records.get_many("films", ["s1", "s2", "s3", "s4"])
    orders = {segment_id: one.order for segment_id, one in found.items()}
    assert orders == {"s1": "2", "s2": "1", "s4": "2"}
    assert records.put_many("films", new(record("s1", "3"))) == {"s1"}


def test_a_hundred_records_are_written_and_all_are_found(records: ports.SegmentRecords) -> None:
    written = [record(f"s{n}", "1") for n in range(99)]
    records.put_many("films", new(*written, deletion("gone", "1")))
    records.put_many("series", new(record("s0", "1")))

    assert {one.segment_id for one in records.all("films")} == {
        "gone",
        *(one.segment_id for one in written),
    }
    sample = records.sample("films", 200)
    assert len(sample) == len({one.segment_id for one in sample}) == 99
    assert "gone" not in {one.segment_id for one in sample}
    assert len(records.sample("films", 40)) <= 40


def test_a_collection_is_created_once(collections: ports.CollectionRepository) -> None:
    films = Collection(
        name="films", modalities=("a", "b"), embedding_model="m", dimension=256, created_at=START
    )
    other = films.model_copy(update={"dimension": 384})

    assert collections.create(films) == films
    assert collections.create(other) == films
    assert collections.get("films") == films
    collections.create(films.model_copy(update={"name": "arts"}))
    assert [one.name for one in collections.all()] == ["arts", "films"]
    collections.delete("arts")
    collections.delete("arts")
    assert [one.name for one in collections.all()] == ["films"]
    assert collections.get("arts") is None


def test_segments_are_counted_and_dropped_with_their_collection(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = DynamoSegmentRecords(table, TABLE, lambda _: None)
    written = [*(record(f"s{n}", "1") for n in range(70)), deletion("gone", "1")]
    records.put_many("films", new(*written))
    records.put_many("series", new(record("s0", "1")))
    monkeypatch.setattr(dynamodb_segments, "MAX_DELETES", 2)

    assert (records.count("films"), records.count("none")) == (70, 0)
    records.drop("films")
    records.drop("films")

    assert list(records.all("films")) == []
    assert records.count("series") == 1


def test_a_transaction_stays_within_its_bytes(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb_segments, "MAX_TRANSACTION_BYTES", 5_000)
    sizes: list[int] = []
    transact = table.transact_write_items

    def counted(**request: Any) -> Any:
        sizes.append(len(request["TransactItems"]))
        return transact(**request)

    monkeypatch.setattr(table, "transact_write_items", counted)

    DynamoSegmentRecords(table, TABLE).put_many(
        "films", new(*(record(f"s{n}", "1") for n in range(10)))
    )

    assert sum(sizes) == 10
    assert max(sizes) == 4


class Busy:
    """A client whose transactions conflict, or whose reads are not processed, a number of times."""

    def __init__(self, client: Any, times: int) -> None:
        self._client = client
        self._times = times

    def transact_write_items(self, **request: Any) -> Any:
        if self._times:
            self._times -= 1
            reasons = [{"Code": "None"} for _ in request["TransactItems"]]
            reasons[-1] = {"Code": "TransactionConflict"}
            error: Any = {"Error": {"Code": "TransactionCanceledException"}}
            raise ClientError(error | {"CancellationReasons": reasons}, "TransactWriteItems")
        return self._client.transact_write_items(**request)

    def batch_get_item(self, **request: Any) -> Any:
        if self._times:
            self._times -= 1
            return {"Responses": {}, "UnprocessedKeys": request["RequestItems"]}
        return self._client.batch_get_item(**request)

    def batch_write_item(self, **request: Any) -> Any:
        if self._times:
            self._times -= 1
            return {"UnprocessedItems": request["RequestItems"]}
        return self._client.batch_write_item(**request)

    def get_paginator(self, operation: str) -> Any:
        return self._client.get_paginator(operation)


def test_a_transaction_that_others_disturb_is_sent_again(table: Any) -> None:
    pauses: list[float] = []

    lost = DynamoSegmentRecords(Busy(table, 2), TABLE, pauses.append).put_many(  # type: ignore[arg-type]
        "films", new(record("s1", "1"), record("s2", "1"))
    )

    assert lost == set()
    assert len(pauses) == 2
    with pytest.raises(ContendedError):
        DynamoSegmentRecords(Busy(table, 99), TABLE, pauses.append).put_many(  # type: ignore[arg-type]
            "films", new(record("s3", "1"))
        )


def test_keys_that_were_not_read_are_read_again(table: Any) -> None:
    DynamoSegmentRecords(table, TABLE).put_many("films", new(record("s1", "1")))
    pauses: list[float] = []

    found = DynamoSegmentRecords(Busy(table, 3), TABLE, pauses.append).get_many(  # type: ignore[arg-type]
        "films", ["s1"]
    )

    assert list(found) == ["s1"]
    assert len(pauses) == 3
    with pytest.raises(UnavailableError):
        DynamoSegmentRecords(Busy(table, 99), TABLE, pauses.append).get_many("films", ["s1"])  # type: ignore[arg-type]


def test_deletions_that_were_not_processed_are_sent_again(table: Any) -> None:
    DynamoSegmentRecords(table, TABLE).put_many("films", new(record("s1", "1")))

    with pytest.raises(UnavailableError):
        DynamoSegmentRecords(Busy(table, 99), TABLE, lambda _: None).drop("films")  # type: ignore[arg-type]
    DynamoSegmentRecords(Busy(table, 3), TABLE, lambda _: None).drop("films")  # type: ignore[arg-type]

    assert list(DynamoSegmentRecords(table, TABLE).all("films")) == []

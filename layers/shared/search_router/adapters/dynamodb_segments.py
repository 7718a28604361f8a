"""The records of segments, in a table of their own.

    pk                  sk            what
    <collection>#07     <segment-id>  the last write of a segment

A collection has sixteen shards, by the CRC-32 of the id, so that its writes do not share one
partition. Vectors are 32-bit floats, little-endian, so an index can be rebuilt without embeddings.
"""

import json
import time
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.clock import rounds
from search_router.adapters.dynamodb_items import (
    ABSENT,
    Item,
    key,
    put,
    query_pages,
    write_batch,
)
from search_router.domain.errors import ContendedError, UnavailableError
from search_router.domain.search.index import Vector
from search_router.domain.search.segment_records import Outcome, RecordWrite, SegmentRecord
from search_router.domain.search.segments import Segment
from search_router.domain.streams import batched

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHARDS = 16
MAX_ITEMS = 100  # TransactWriteItems and BatchGetItem
MAX_DELETES = 25  # BatchWriteItem
MAX_TRANSACTION_BYTES = 3_500_000  # TransactWriteItems: 4 MB
_ROUNDS = 6
_OVERHEAD_BYTES = 1_000  # names, keys and hashes of an item


class DynamoSegmentRecords:
    """Stores the last write of every segment; a write replaces only the record that was read."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def get_many(self, collection: str, segment_ids: Sequence[str]) -> Mapping[str, SegmentRecord]:
        """Read records consistently, by segment id; those that do not exist are left out."""
        found: dict[str, SegmentRecord] = {}
        for ids in batched(dict.fromkeys(segment_ids), MAX_ITEMS):
            for item in self._get([_key(collection, segment_id) for segment_id in ids]):
                record = _record(item)
                found[record.segment_id] = record
        return found

    def put_many(self, collection: str, writes: Sequence[RecordWrite]) -> Set[str]:
        """Write records; return the ids of those that were not written, because others were first.

        A transaction is written as a whole or not at all, so the others are sent again.
        """
        lost: set[str] = set()
        for batch in _transactions(self._table, collection, writes):
            lost |= self._put(batch)
        return lost

    def sample(self, collection: str, limit: int) -> Sequence[SegmentRecord]:
        """Return about `limit` records of segments that are not deleted, from all shards.

        Half of each shard's are its first ids and half its last.
        """
        half = -(-limit // (2 * SHARDS))
        sampled: dict[str, SegmentRecord] = {}
        for shard in range(SHARDS):
            for forward in (True, False):
                items = self._query(_partition(collection, shard), forward, half)
                records = filter(lambda record: record.segment, map(_record, items))
                sampled |= {record.segment_id: record for record in islice(records, half)}
        return list(sampled.values())[:limit]

    def all(self, collection: str) -> Iterator[SegmentRecord]:
        """Yield every record, deletions included."""
        for shard in range(SHARDS):
            yield from map(_record, self._query(_partition(collection, shard), True, None))

    def count(self, collection: str) -> int:
        """Count the segments that are not deleted; reads all records."""
        counting: Any = {
            "Select": "COUNT",
            "FilterExpression": "attribute_exists(#segment)",
            "ExpressionAttributeNames": {"#segment": "segment"},  # a reserved word
        }
        return sum(reply["Count"] for reply in self._replies(collection, counting))

    def drop(self, collection: str) -> None:
        """Delete every record; one that a worker writes meanwhile may remain."""
        keys: Any = {"ProjectionExpression": "pk, sk"}
        for reply in self._replies(collection, keys):
            for batch in batched(reply["Items"], MAX_DELETES):
                deletes = [{"DeleteRequest": {"Key": one}} for one in batch]
                pause = rounds(_ROUNDS, self._sleep)
                write_batch(self._client, self._table, "delete segments", deletes, pause)

    def _replies(self, collection: str, request: Any) -> Iterator[Any]:
        for shard in range(SHARDS):
            yield from self._pages(_partition(collection, shard), **request)

    def _get(self, keys: list[Item]) -> Iterator[Item]:
        request: Any = {self._table: {"Keys": keys, "ConsistentRead": True}}
        pause = rounds(_ROUNDS, self._sleep)
        while request:
            if next(pause, None) is None:
                raise UnavailableError(f"read segments: not all were read in {_ROUNDS} rounds")
            with aws_errors("read segments"):
                reply = self._client.batch_get_item(RequestItems=request)
            items = reply["Responses"].get(self._table, [])
            yield from items
            request = reply.get("UnprocessedKeys")
            if items:  # 16 MB a reply are normal; only a reply without items counts as a failure
                pause = rounds(_ROUNDS, self._sleep)

    def _put(self, items: dict[str, Any]) -> set[str]:
        """Write one transaction, without the items whose conditions fail; return their ids."""
        remaining = dict(items)
        for _ in rounds(_ROUNDS, self._sleep):
            failed = self._transact(list(remaining.values()))
            if failed is None:
                return items.keys() - remaining.keys()
            kept = [one for place, one in enumerate(remaining) if place not in failed]
            remaining = {one: remaining[one] for one in kept}
            if not remaining:
                return set(items)
        raise ContendedError("write segments: other workers write the same ones")

    def _transact(self, puts: list[Any]) -> set[int] | None:
        """Write all or nothing; return the places of the failed conditions, None if written."""
        with aws_errors("write segments"):
            try:
                self._client.transact_write_items(TransactItems=puts)
            except ClientError as error:
                reasons = error.response.get("CancellationReasons", [])
                codes = [reason.get("Code") for reason in reasons]
                if not {"ConditionalCheckFailed", "TransactionConflict"}.intersection(codes):
                    raise
                return {n for n, code in enumerate(codes) if code == "ConditionalCheckFailed"}
        return None

    def _query(self, pk: str, forward: bool, page: int | None) -> Iterator[Item]:
        paging = {"PageSize": page} if page else {}
        for reply in self._pages(pk, ScanIndexForward=forward, PaginationConfig=paging):
            yield from reply["Items"]

    def _pages(self, pk: str, **request: Any) -> Iterator[Any]:
        return query_pages(
            self._client,
            self._table,
            "query segments",
            {
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": {":pk": {"S": pk}},
                **request,
            },
        )


def _transactions(
    table: str, collection: str, writes: Sequence[RecordWrite]
) -> Iterator[dict[str, Any]]:
    """Yield puts by segment id, within the limits of one transaction."""
    puts: dict[str, Any] = {}
    size = 0
    for write in writes:
        item = _item(collection, write.record)
        needed = _size(item)
        if puts and (len(puts) == MAX_ITEMS or size + needed > MAX_TRANSACTION_BYTES):
            yield puts
            puts, size = {}, 0
        puts[write.record.segment_id] = put(table, item, **_still(write.seen))
        size += needed
    if puts:
        yield puts


def _still(seen: str | None) -> Item:
    """Return the condition that the stored record is the one that was read."""
    if seen is None:
        return ABSENT
    return {
        "ConditionExpression": "#order = :seen",
        "ExpressionAttributeNames": {"#order": "order"},
        "ExpressionAttributeValues": {":seen": {"S": seen}},
    }


def _partition(collection: str, shard: int) -> str:
    return f"{collection}#{shard:02d}"


def _key(collection: str, segment_id: str) -> Item:
    shard = zlib.crc32(segment_id.encode()) % SHARDS
    return key(_partition(collection, shard), segment_id)


def _size(item: Item) -> int:
    vectors = sum(len(value["B"]) for value in item["vectors"]["M"].values())
    return _OVERHEAD_BYTES + len(item.get("segment", {}).get("S", "").encode()) + vectors


def _item(collection: str, record: SegmentRecord) -> Item:
    item = {
        **_key(collection, record.segment_id),
        "order": {"S": record.order},
        "outcome": {"S": record.outcome.value},
        "hashes": {"M": {name: {"S": value} for name, value in record.hashes.items()}},
        "vectors": {"M": {name: {"B": value.tobytes()} for name, value in record.vectors.items()}},
    }
    if record.segment is not None:
        item["segment"] = {"S": _segment_json(record.segment)}
    return item


def _segment_json(segment: Segment) -> str:
    fields = {
        "video_id": segment.video_id,
        "start": segment.start,
        "end": segment.end,
        "texts": segment.texts,
        "attributes": segment.attributes,
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def _record(item: Mapping[str, Any]) -> SegmentRecord:
    segment_id = item["sk"]["S"]
    stored = item.get("segment")
    segment = None
    if stored is not None:
        segment = Segment(segment_id=segment_id, vectors={}, **json.loads(stored["S"]))
    return SegmentRecord(
        segment_id=segment_id,
        order=item["order"]["S"],
        outcome=Outcome(item["outcome"]["S"]),
        segment=segment,
        hashes={name: value["S"] for name, value in item["hashes"]["M"].items()},
        vectors={name: _vector(value["B"]) for name, value in item["vectors"]["M"].items()},
    )


def _vector(data: bytes) -> Vector:
    vector = array("f")
    vector.frombytes(bytes(data))
    return vector

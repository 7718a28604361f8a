"""Bugs that somebody could write any day, planted into the product while a block lasts.

The harness is worth something only if it finds each of them; tests hold it to that.
"""

import contextlib
import dataclasses
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from search_router.adapters import dynamodb_cache, sqs
from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.dynamodb_cache import DynamoAnswerCache
from search_router.adapters.dynamodb_items import document_item, key
from search_router.adapters.dynamodb_uploads import DynamoUploadLedger
from search_router.adapters.s3 import S3ObjectStore
from search_router.domain import naming, queries, streams
from search_router.domain.errors import ConflictError, SearchRouterError
from search_router.domain.logs.results import PartMarker, PartStats
from search_router.domain.logs.rows import LogRow
from search_router.domain.serving import cascade
from search_router.domain.splits import rows as raw
from search_router.domain.splits.ledger import unpacked
from search_router.observability import logger
from search_router.use_cases import log_parts, split_parts
from search_router.use_cases.log_parts import LogParts
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.route_queries import RouteQueries
from tests.simulation import lambda_runtime

Patch = Any
_record_part = DynamoUploadLedger.record_part
_route_queries = RouteQueries.__call__
_raw_rows_of = raw.raw_rows
_raw_rows = raw.raw_rows_of_range
_rows = LogParts.rows
_put = S3ObjectStore.put
_handle = lambda_runtime.handle
_digest = queries.query_digest
_normalised = queries.normalised_query


def _none_returned() -> Patch:
    def handle(module: Any, event: Any, context: Any) -> None:
        _handle(module, event, context)

    return mock.patch.object(lambda_runtime, "handle", handle)


def _swallowed_error() -> Patch:
    def route_queries(self: Any, *arguments: Any) -> Any:
        try:
            return _route_queries(self, *arguments)
        except SearchRouterError as error:
            return Ignored(str(error))

    return mock.patch.object(RouteQueries, "__call__", route_queries)


def _lost_condition_as_error() -> Patch:
    def record_part(self: Any, marker: PartMarker, now: Any) -> Any:
        if any(entered.split == marker.split for entered in self.markers(marker.log_id)):
            raise ConflictError("somebody was first")
        return _record_part(self, marker, now)

    return mock.patch.object(DynamoUploadLedger, "record_part", record_part)


def _random_key() -> Patch:
    def part_key(log: str, split: int) -> str:
        return naming.upload_key(log, "parts", f"part-{random.getrandbits(32):08x}.jsonl")

    return mock.patch.object(naming, "part_key", part_key)


def _mark_before_write() -> Patch:
    class Marking:
        def __init__(self, message: Any, objects: Any, ledger: Any, clock: Any) -> None:
            self._message, self._objects, self._ledger = message, objects, ledger
            self._clock = clock

        def __getattr__(self, name: str) -> Any:
            return getattr(self._objects, name)

        def put_once(self, key: str, body: bytes, metadata: Any) -> Any:
            marker = PartMarker(
                log_id=self._message.log_id,
                split=self._message.split,
                rows=int(metadata["rows"]),
                identity=metadata["identity"],
                size=len(body),
                stats=unpacked(PartStats, metadata["stats"]),
            )
            self._ledger.record_part(marker, self._clock.now())
            return self._objects.put_once(key, body, metadata)

    def route_queries(self: Any, message: Any, *arguments: Any) -> Any:
        log = self.ledger.get(message.log_id)
        entered = {marker.split for marker in self.ledger.markers(message.log_id)}
        if log is not None and message.split in entered:
            return Ignored("done already")
        objects = Marking(message, self.objects, self.ledger, self.clock)
        return _route_queries(dataclasses.replace(self, objects=objects), message, *arguments)

    return mock.patch.object(RouteQueries, "__call__", route_queries)


def _unconditional_put() -> Patch:
    def put_once(self: Any, key: str, body: bytes, metadata: Any) -> bool:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body, Metadata=dict(metadata))
        return True

    return mock.patch.object(S3ObjectStore, "put_once", put_once)


def _counter_without_marker() -> Patch:
    def record_part(self: Any, marker: PartMarker, now: Any) -> Any:
        _count(self, marker)
        return self._head(marker.log_id)

    return mock.patch.object(DynamoUploadLedger, "record_part", record_part)


def _counted_twice() -> Patch:
    def record_part(self: Any, marker: PartMarker, now: Any) -> Any:
        item = document_item(f"LOG#{marker.log_id}", f"PART#{marker.split:08d}", marker)
        with aws_errors("record a part"):
            self._client.put_item(TableName=self._table, Item=item)
        _count(self, marker)
        return self._head(marker.log_id)

    return mock.patch.object(DynamoUploadLedger, "record_part", record_part)


def _count(ledger: Any, marker: PartMarker) -> None:
    with aws_errors("count a part"):
        ledger._client.update_item(
            TableName=ledger._table,
            Key=key("LOGS", marker.log_id),
            UpdateExpression="ADD parts :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )


def _key_collision() -> Patch:
    return mock.patch.object(dynamodb_cache, "query_digest", lambda query: _digest(query)[:1])


def _postponement_missing() -> Patch:
    return mock.patch.object(sqs.SqsSplitQueue, "set_visibility", return_value=None)


def _refused_messages_dropped() -> Patch:
    send = sqs.SqsSplitQueue._send_batch

    def send_batch(self: Any, batch: Any) -> list[Any]:
        send(self, batch)
        return []

    return mock.patch.object(sqs.SqsSplitQueue, "_send_batch", send_batch)


def _fallbacks_cached() -> Patch:
    def add(self: Any, query: str, decision: Any) -> None:
        self._unwritten[query] = decision

    return mock.patch.object(cascade._ReceivedAnswers, "add", add)


def _cache_never_written() -> Patch:
    return mock.patch.object(DynamoAnswerCache, "put_many", return_value=None)


def _first_line_kept() -> Patch:
    def raw_rows_of_range(chunks: Any, start: int, end: int, layout: Any) -> Any:
        joined = b"".join(chunks)
        return _raw_rows([b"\n" + joined[1:]] if start else [joined], start, end, layout)

    return mock.patch.object(split_parts, "raw_rows_of_range", raw_rows_of_range)


def _last_line_cut_off() -> Patch:
    def raw_rows_of_range(chunks: Any, start: int, end: int, layout: Any) -> Any:
        return _raw_rows([b"".join(chunks)[: end - max(0, start - 1)]], start, end, layout)

    return mock.patch.object(split_parts, "raw_rows_of_range", raw_rows_of_range)


def _line_ends_taken_for_row_ends() -> Patch:
    def raw_rows(chunks: Any, start: int, dialect: Any) -> Any:
        return _raw_rows_of(chunks, start, dialect.model_copy(update={"quoted": False}))

    return mock.patch.object(split_parts, "raw_rows", raw_rows)


def _second_member_forgotten() -> Patch:
    def gunzip(chunks: Any, max_bytes: int) -> Any:
        yield zlib.decompressobj(31).decompress(b"".join(chunks), max_bytes)

    return mock.patch.object(streams, "gunzip", gunzip)


def _copies_counted_from_zero() -> Patch:
    def raw_rows(chunks: Any, start: int, dialect: Any) -> Any:
        return _raw_rows_of(chunks, 0 if isinstance(chunks, list) else start, dialect)

    return mock.patch.object(split_parts, "raw_rows", raw_rows)


def _rejections_forgotten() -> Patch:
    def put(self: Any, key: str, body: bytes) -> None:
        if "/rejected/" not in key:
            _put(self, key, body)

    return mock.patch.object(S3ObjectStore, "put", put)


def _query_logged() -> Patch:
    def normalised(query: str) -> str:
        logger.info("row routed", query=query)
        return _normalised(query)

    return mock.patch.object(log_parts, "normalised_query", normalised)


def _rows_mixed_up() -> Patch:
    def rows(self: Any) -> list[Any]:
        found = _rows(self)
        good = [row for row in found if isinstance(row, LogRow)]
        texts = [row.query for row in good[1:] + good[:1]]
        moved = (row._replace(query=text) for row, text in zip(good, texts, strict=True))
        return [next(moved) if isinstance(row, LogRow) else row for row in found]

    return mock.patch.object(LogParts, "rows", rows)


PLANTED_BUGS: dict[str, Callable[[], Patch]] = {
    "None returned": _none_returned,
    "swallowed error": _swallowed_error,
    "lost condition taken for an error": _lost_condition_as_error,
    "random key": _random_key,
    "mark before write": _mark_before_write,
    "unconditional put": _unconditional_put,
    "counter without marker": _counter_without_marker,
    "ledger counted twice": _counted_twice,
    "key collision": _key_collision,
    "retry_delay missing": _postponement_missing,
    "refused messages dropped": _refused_messages_dropped,
    "fallbacks cached": _fallbacks_cached,
    "cache never written": _cache_never_written,
    "first partial line kept": _first_line_kept,
    "last line cut off": _last_line_cut_off,
    "line end in quotes taken for a row's end": _line_ends_taken_for_row_ends,
    "second gzip member forgotten": _second_member_forgotten,
    "unpacked copies counted from zero": _copies_counted_from_zero,
    "rejections forgotten": _rejections_forgotten,
    "query text logged": _query_logged,
    "rows mixed up": _rows_mixed_up,
}


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Plant one bug; functions are loaded anew inside the block and after it."""
    with lambda_runtime.no_warm_modules(), PLANTED_BUGS[name]():
        yield

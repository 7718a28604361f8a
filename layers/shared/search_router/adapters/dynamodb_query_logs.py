"""The ledger of query logs in the state table."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.clock import rounds
from search_router.adapters.dynamodb_items import (
    ABSENT,
    Item,
    document_item,
    get_item,
    key,
    number_of,
    put,
    query_items,
    read_document,
    remove_from_worklist,
)
from search_router.domain.errors import (
    ConflictError,
    ContendedError,
    NotFoundError,
    UnavailableError,
)
from search_router.domain.logs.query_logs import LOG_PREDECESSORS, Attempts, LogState, QueryLog
from search_router.domain.logs.results import PartMarker

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_LOGS, _OPEN = "LOGS", "OPEN#LOG"
_RECORD_ROUNDS = 6


class DynamoQueryLogLedger:
    """Stores query logs; a part's marker and the counter are written in one transaction."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def create(self, log: QueryLog) -> QueryLog:
        """Store a new log, or return the one already stored under its id."""
        try:
            with aws_errors("create a query log"):
                self._client.transact_write_items(
                    TransactItems=[
                        put(self._table, _head_item(log), **ABSENT),
                        put(self._table, key(_OPEN, log.log_id)),
                    ]
                )
        except ConflictError:
            return self._head(log.log_id)
        return log

    def get(self, log_id: str) -> QueryLog | None:
        """Read a log's head as it is now."""
        item = get_item(self._client, self._table, _LOGS, log_id)
        return _head_of(item) if item else None

    def record_part(self, marker: PartMarker, now: datetime) -> QueryLog:
        """Store a part's marker and count it, once; return the head.

        Workers that finish at the same time contend for the log's counter, and retry at once.
        """
        contended: ContendedError | None = None
        for _ in rounds(_RECORD_ROUNDS, self._sleep):
            try:
                self._record(marker, now)
            except ContendedError as error:
                contended = error
            except ConflictError:
                return self._head(marker.log_id)  # recorded before; raises if there is no such log
            else:
                return self._head(marker.log_id)
        raise contended or UnavailableError("record a part")

    def record_attempt(self, log_id: str, split: int, receives: int) -> Attempts:
        """Count an attempt at a split by its number of receives; repeating it changes nothing.

        The count is the size of a set. A number would grow when a reply is lost, because the SDK
        retries the update.
        """
        with aws_errors("record an attempt"):
            reply = self._client.update_item(
                TableName=self._table,
                Key=_attempts_key(log_id, split),
                UpdateExpression="ADD receives :this",
                ExpressionAttributeValues={":this": {"NS": [str(receives)]}},
                ReturnValues="ALL_NEW",
            )
        item = reply["Attributes"]
        answered = number_of(item, "answered") if "answered" in item else 0
        return Attempts(len(item["receives"]["NS"]), answered)

    def reset_attempts(self, log_id: str, split: int, answered: int | None = None) -> None:
        """Reset a split's count; `answered` queries are the next check's baseline."""
        change: Item = {"UpdateExpression": "REMOVE receives"}  # DynamoDB has no empty sets
        if answered is not None:
            change["UpdateExpression"] += " SET answered = :answered"
            change["ExpressionAttributeValues"] = {":answered": {"N": str(answered)}}
        with aws_errors("reset the attempts"):
            self._client.update_item(
                TableName=self._table, Key=_attempts_key(log_id, split), **change
            )

    def markers(self, log_id: str) -> Iterator[PartMarker]:
        """Yield the markers of a log, by split."""
        for item in query_items(self._client, self._table, f"LOG#{log_id}"):
            yield read_document(item, PartMarker)

    def move(self, log_id: str, state: LogState, now: datetime, reason: str = "") -> bool:
        """Move a log to a state; return False if it has reached that state already."""
        before: Item = {
            f":from{number}": {"S": predecessor.value}
            for number, predecessor in enumerate(sorted(LOG_PREDECESSORS[state]))
        }
        try:
            with aws_errors("move a query log"):
                self._client.update_item(
                    TableName=self._table,
                    Key=key(_LOGS, log_id),
                    UpdateExpression="SET #state = :to, reason = :reason, updated_at = :now",
                    ConditionExpression=f"#state IN ({', '.join(before)})",
                    ExpressionAttributeNames={"#state": "state"},
                    ExpressionAttributeValues={
                        **before,
                        ":to": {"S": state.value},
                        ":reason": {"S": reason},
                        ":now": {"S": now.isoformat()},
                    },
                )
        except ConflictError:
            return False
        return True

    def all(self) -> Iterator[QueryLog]:
        """Yield every log, by id."""
        for item in query_items(self._client, self._table, _LOGS):
            yield _head_of(item)

    def open(self) -> Iterator[QueryLog]:
        """Yield the logs on the worklist."""
        for item in list(query_items(self._client, self._table, _OPEN)):
            if (log := self.get(item["sk"]["S"])) is not None:
                yield log

    def close(self, log: QueryLog) -> None:
        """Remove a closed log from the worklist, unless its state has changed."""
        remove_from_worklist(
            self._client,
            self._table,
            _OPEN,
            key(_LOGS, log.log_id),
            ConditionExpression="#state = :seen",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":seen": {"S": log.state.value}},
        )

    def _record(self, marker: PartMarker, now: datetime) -> None:
        item = document_item(f"LOG#{marker.log_id}", f"PART#{marker.split:08d}", marker)
        with aws_errors("record a part"):
            self._client.transact_write_items(
                TransactItems=[
                    {
                        "Put": {
                            "TableName": self._table,
                            "Item": item,
                            "ConditionExpression": "attribute_not_exists(pk)",
                        }
                    },
                    {
                        "Update": {
                            "TableName": self._table,
                            "Key": key(_LOGS, marker.log_id),
                            "UpdateExpression": "ADD parts :one SET updated_at = :now",
                            "ConditionExpression": "attribute_exists(pk)",
                            "ExpressionAttributeValues": {
                                ":one": {"N": "1"},
                                ":now": {"S": now.isoformat()},
                            },
                        }
                    },
                ]
            )

    def _head(self, log_id: str) -> QueryLog:
        log = self.get(log_id)
        if log is None:
            raise NotFoundError(f"query log {log_id} is not in the ledger")
        return log


def _attempts_key(log_id: str, split: int) -> Item:
    return key(f"ATTEMPTS#{log_id}", f"SPLIT#{split:08d}")


def _head_item(log: QueryLog) -> Item:
    return document_item(
        _LOGS,
        log.log_id,
        log,
        state=log.state.value,
        reason=log.reason,
        parts=log.parts,
        updated_at=log.updated_at.isoformat(),
    )


def _head_of(item: Item) -> QueryLog:
    """Read a head: its changing fields are attributes, the others are in the document."""
    created = read_document(item, QueryLog)
    return QueryLog(
        **{
            **dict(created),
            "state": item["state"]["S"],
            "reason": item["reason"]["S"],
            "parts": number_of(item, "parts"),
            "updated_at": item["updated_at"]["S"],
        }
    )

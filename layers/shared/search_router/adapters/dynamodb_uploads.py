"""The ledgers of query logs and of uploads of segments, in the state table."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

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
from search_router.domain.logs.query_logs import QueryLog
from search_router.domain.logs.results import PartMarker
from search_router.domain.search.segment_uploads import SegmentMarker, SegmentUpload
from search_router.domain.splits.ledger import SplitMarker, UploadHead, UploadState
from search_router.domain.splits.plan import Attempts

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HeadT = TypeVar("HeadT", bound=UploadHead)
MarkerT = TypeVar("MarkerT", bound=SplitMarker)
_RECORD_ROUNDS = 6


class LedgerKind(NamedTuple, Generic[HeadT, MarkerT]):
    """Where one kind of upload is stored: partitions of its heads, worklist and parts."""

    heads: str
    worklist: str
    parts: str
    head: type[HeadT]
    marker: type[MarkerT]


QUERY_LOGS = LedgerKind("LOGS", "OPEN#LOG", "LOG#", QueryLog, PartMarker)
SEGMENTS = LedgerKind("SEGMENTS", "OPEN#SEGMENTS", "SEGMENTS#", SegmentUpload, SegmentMarker)


class DynamoUploadLedger(Generic[HeadT, MarkerT]):
    """Stores one kind of upload; a part's marker and the counter are written in one transaction."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        kind: LedgerKind[HeadT, MarkerT],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._kind = kind
        self._client = client
        self._table = table
        self._sleep = sleep

    def create(self, head: HeadT) -> HeadT:
        """Store a new upload, or return the one already stored under its id."""
        try:
            with aws_errors("create an upload"):
                self._client.transact_write_items(
                    TransactItems=[
                        put(self._table, self._head_item(head), **ABSENT),
                        put(self._table, key(self._kind.worklist, head.upload)),
                    ]
                )
        except ConflictError:
            return self._head(head.upload)
        return head

    def get(self, upload: str) -> HeadT | None:
        """Read an upload's head as it is now."""
        item = get_item(self._client, self._table, self._kind.heads, upload)
        return self._head_of(item) if item else None

    def record_part(self, marker: MarkerT, now: datetime) -> HeadT:
        """Store a part's marker and count it, once; return the head.

        Workers that finish at the same time contend for the upload's counter, and retry at once.
        """
        contended: ContendedError | None = None
        for _ in rounds(_RECORD_ROUNDS, self._sleep):
            try:
                self._record(marker, now)
            except ContendedError as error:
                contended = error
            except ConflictError:
                return self._head(
                    marker.upload
                )  # recorded before; raises NotFoundError for an unknown one
            else:
                return self._head(marker.upload)
        raise contended or UnavailableError("record a part")

    def record_attempt(self, upload: str, split: int, receives: int) -> Attempts:
        """Count an attempt at a split by its number of receives; repeating it changes nothing.

        The count is the size of a set. A number would grow when a reply is lost, because the SDK
        retries the update.
        """
        with aws_errors("record an attempt"):
            reply = self._client.update_item(
                TableName=self._table,
                Key=_attempts_key(upload, split),
                UpdateExpression="ADD receives :this",
                ExpressionAttributeValues={":this": {"NS": [str(receives)]}},
                ReturnValues="ALL_NEW",
            )
        item = reply["Attributes"]
        answered = number_of(item, "answered") if "answered" in item else 0
        return Attempts(len(item["receives"]["NS"]), answered)

    def reset_attempts(self, upload: str, split: int, answered: int | None = None) -> None:
        """Reset a split's count; `answered` rows are the next check's baseline."""
        change: Item = {"UpdateExpression": "REMOVE receives"}  # DynamoDB has no empty sets
        if answered is not None:
            change["UpdateExpression"] += " SET answered = :answered"
            change["ExpressionAttributeValues"] = {":answered": {"N": str(answered)}}
        with aws_errors("reset the attempts"):
            self._client.update_item(
                TableName=self._table, Key=_attempts_key(upload, split), **change
            )

    def markers(self, upload: str) -> Iterator[MarkerT]:
        """Yield the markers of an upload, by split."""
        for item in query_items(self._client, self._table, f"{self._kind.parts}{upload}"):
            yield read_document(item, self._kind.marker)

    def move(self, upload: str, state: UploadState, now: datetime, reason: str = "") -> bool:
        """Move an upload to a state; return False if it has reached that state already."""
        before: Item = {
            f":from{number}": {"S": predecessor.value}
            for number, predecessor in enumerate(sorted(state.predecessors))
        }
        try:
            with aws_errors("move an upload"):
                self._client.update_item(
                    TableName=self._table,
                    Key=key(self._kind.heads, upload),
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

    def all(self) -> Iterator[HeadT]:
        """Yield every upload, by id."""
        for item in query_items(self._client, self._table, self._kind.heads):
            yield self._head_of(item)

    def open(self) -> Iterator[HeadT]:
        """Yield the uploads on the worklist."""
        for item in list(query_items(self._client, self._table, self._kind.worklist)):
            if (head := self.get(item["sk"]["S"])) is not None:
                yield head

    def close(self, head: HeadT) -> None:
        """Remove a closed upload from the worklist, unless its state has changed."""
        remove_from_worklist(
            self._client,
            self._table,
            self._kind.worklist,
            key(self._kind.heads, head.upload),
            ConditionExpression="#state = :seen",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":seen": {"S": head.state.value}},
        )

    def _record(self, marker: MarkerT, now: datetime) -> None:
        item = document_item(
            f"{self._kind.parts}{marker.upload}", f"PART#{marker.split:08d}", marker
        )
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
                            "Key": key(self._kind.heads, marker.upload),
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

    def _head(self, upload: str) -> HeadT:
        head = self.get(upload)
        if head is None:
            raise NotFoundError(f"upload {upload} is not in the ledger")
        return head

    def _head_item(self, head: HeadT) -> Item:
        return document_item(
            self._kind.heads,
            head.upload,
            head,
            state=head.state.value,
            reason=head.reason,
            parts=head.parts,
            updated_at=head.updated_at.isoformat(),
        )

    def _head_of(self, item: Item) -> HeadT:
        """Read a head: its changing fields are attributes, the others are in the document."""
        created = read_document(item, self._kind.head)
        return self._kind.head(
            **{
                **dict(created),
                "state": item["state"]["S"],
                "reason": item["reason"]["S"],
                "parts": number_of(item, "parts"),
                "updated_at": item["updated_at"]["S"],
            }
        )


def _attempts_key(upload: str, split: int) -> Item:
    return key(f"ATTEMPTS#{upload}", f"SPLIT#{split:08d}")

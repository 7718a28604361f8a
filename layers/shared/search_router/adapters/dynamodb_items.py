"""The items of the state table.

    pk                 sk            what
    RUNS               <run-id>      a run
    JOB#<job-name>     <run-id>      a run that waits for the job
    CHAMPION           CURRENT       the champion pointer
    CHAMPION           V#00000001    one champion, written once
    CHAMPION           MOVE#<time>…  one move of the pointer, by a promotion or a rollback
    SPENDING           CURRENT       what prompts may have cost in the last 30 days
    SPENDING#LOGS      CURRENT       what query logs may have cost in the last 30 days
    OPEN               <run-id>      a run on the schedule's worklist
    OPEN#LOG           <log-id>      a query log on the schedule's worklist
    LOGS               <log-id>      a query log's head, with its number of parts
    LOG#<log-id>       PART#00000000 one part's marker
    ATTEMPTS#<log-id>  SPLIT#00000000 receives of a split that ended without an error
    COLLECTIONS        <name>        a collection of segments
    SEGMENTS           <upload-id>   the head of an upload of segments
    SEGMENTS#<upload-id> PART#00000000 one part's marker
    OPEN#SEGMENTS      <upload-id>   an upload of segments on the schedule's worklist

Attributes that conditions use are native; the rest is one JSON document, because DynamoDB's numbers
are not floats.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from search_router.adapters.aws_errors import aws_errors
from search_router.domain.errors import ConflictError, InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from search_router.domain.lifecycle.runs import Run


Item = dict[str, Any]
RecordT = TypeVar("RecordT", bound=BaseModel)
DOCUMENT = "document"
RUNS = "RUNS"
ABSENT = {"ConditionExpression": "attribute_not_exists(pk)"}


def key(pk: str, sk: str) -> Item:
    """Return a primary key in DynamoDB's wire form."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def document_item(pk: str, sk: str, record: BaseModel, **attributes: str | int) -> Item:
    """Return an item: key, native attributes, and the record as JSON."""
    native = {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
        for name, value in attributes.items()
    }
    return {**key(pk, sk), **native, DOCUMENT: {"S": record.model_dump_json()}}


def read_document(item: Item, kind: type[RecordT]) -> RecordT:
    """Return an item's record; ignores unknown fields, which a newer version may have added.

    Raises InvalidInputError for a record that this version cannot read.
    """
    try:
        return kind.model_validate_json(item[DOCUMENT]["S"])
    except ValidationError as error:
        fields = ", ".join(str(problem["loc"]) for problem in error.errors()[:3])
        raise InvalidInputError(
            f"stored {kind.__name__} is not valid. Invalid fields: {fields}"
        ) from None


def run_item(run: "Run") -> Item:
    """Return a run as an item."""
    return document_item(RUNS, run.run_id, run, revision=run.revision, state=run.state.value)


def revision_condition(run: "Run") -> Item:
    """Return the condition that the stored run is the revision before this one."""
    return {
        "ConditionExpression": "revision = :before",
        "ExpressionAttributeValues": {":before": {"N": str(run.revision - 1)}},
    }


def put(table: str, item: Item, **condition: Any) -> Any:
    """Return the step of a transaction that writes an item."""
    return {"Put": {"TableName": table, "Item": item, **condition}}


def remove_from_worklist(
    client: "DynamoDBClient", table: str, worklist: str, record: Item, **condition: Any
) -> None:
    """Delete a record's entry from a worklist if the record meets a condition.

    `record` is its key; the entry has the same sort key.
    """
    entry = {"pk": {"S": worklist}, "sk": record["sk"]}
    check: Any = {"TableName": table, "Key": record, **condition}
    with suppress(ConflictError), aws_errors("remove from the worklist"):
        client.transact_write_items(
            TransactItems=[
                {"ConditionCheck": check},
                {"Delete": {"TableName": table, "Key": entry}},
            ]
        )


def number_of(item: Item, name: str) -> int:
    """Return a numeric attribute."""
    return int(item[name]["N"])


def get_item(client: "DynamoDBClient", table: str, pk: str, sk: str) -> Item | None:
    """Read one item consistently."""
    with aws_errors("read the state table"):
        reply = client.get_item(TableName=table, Key=key(pk, sk), ConsistentRead=True)
    return reply.get("Item")


def query_items(client: "DynamoDBClient", table: str, pk: str, prefix: str = "") -> Iterator[Item]:
    """Yield a partition's items in key order, or those of a prefix, read consistently."""
    request = {"ConsistentRead": True, **_condition(pk, prefix)}
    for page in query_pages(client, table, "query the state table", request):
        yield from page["Items"]


def query_pages(client: "DynamoDBClient", table: str, action: str, request: Any) -> Iterator[Any]:
    """Yield the replies of a query, page by page; `action` begins the messages of errors."""
    pages = client.get_paginator("query").paginate(TableName=table, **request)
    with aws_errors(action):
        yield from pages


def write_batch(
    client: "DynamoDBClient", table: str, action: str, requests: list[Any], pause: Iterator[int]
) -> None:
    """Put and delete at most 25 items; sends those that DynamoDB leaves out again, after a pause.

    Raises UnavailableError if some are still left out when the pauses end.
    """
    request: Any = {table: requests}
    for _ in pause:
        with aws_errors(action):
            reply = client.batch_write_item(RequestItems=request)
        request = reply.get("UnprocessedItems")
        if not request:
            return
    raise UnavailableError(f"{action}: not all were written")


def last_sort_key(client: "DynamoDBClient", table: str, pk: str, prefix: str) -> str | None:
    """Return a partition's highest sort key with a prefix, read consistently."""
    with aws_errors("query the state table"):
        reply = client.query(
            TableName=table,
            ConsistentRead=True,
            ScanIndexForward=False,
            Limit=1,
            **_condition(pk, prefix),
        )
    return reply["Items"][0]["sk"]["S"] if reply["Items"] else None


def _condition(pk: str, prefix: str) -> Any:
    values = {":pk": {"S": pk}}
    if not prefix:
        return {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": values}
    return {
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
        "ExpressionAttributeValues": {**values, ":prefix": {"S": prefix}},
    }

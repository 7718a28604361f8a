"""What jobs cost in the last 30 days, in one item of the state table."""

from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.dynamodb_items import document_item, get_item, read_document
from search_router.domain.errors import ConflictError, UnavailableError
from search_router.domain.lifecycle.budget import Spending

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PK, _SK = "SPENDING", "CURRENT"


class DynamoSpendingLedger:
    """Keeps the spending; `revision` decides who may replace it."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def read(self) -> Spending:
        """Read what was spent; nothing before the first job."""
        item = get_item(self._client, self._table, _PK, _SK)
        return read_document(item, Spending) if item else Spending()

    def replace(self, spending: Spending) -> None:
        """Store the next revision; raises UnavailableError if somebody else was first."""
        try:
            with aws_errors("note a purchase"):
                self._client.put_item(
                    TableName=self._table,
                    Item=document_item(_PK, _SK, spending, revision=spending.revision),
                    ConditionExpression="attribute_not_exists(pk) OR revision = :before",
                    ExpressionAttributeValues={":before": {"N": str(spending.revision - 1)}},
                )
        except ConflictError:
            if self.read() != spending:  # our own repeated write is no conflict
                raise UnavailableError("note a purchase: another run was first") from None

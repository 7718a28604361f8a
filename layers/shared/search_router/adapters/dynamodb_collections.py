"""The collections, in the state table."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.dynamodb_items import (
    ABSENT,
    document_item,
    get_item,
    key,
    query_items,
    read_document,
)
from search_router.domain.errors import ConflictError, UnavailableError
from search_router.domain.search.index import Collection

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_COLLECTIONS = "COLLECTIONS"


class DynamoCollectionRepository:
    """Stores the collections; the first upload of each creates it."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def create(self, collection: Collection) -> Collection:
        """Store a new collection, or return the one already stored under its name."""
        item = document_item(_COLLECTIONS, collection.name, collection)
        absent: Any = ABSENT
        try:
            with aws_errors("create a collection"):
                self._client.put_item(TableName=self._table, Item=item, **absent)
        except ConflictError:
            stored = self.get(collection.name)
            if stored is None:
                raise UnavailableError("the collection was deleted meanwhile") from None
            return stored
        return collection

    def get(self, name: str) -> Collection | None:
        """Read a collection."""
        item = get_item(self._client, self._table, _COLLECTIONS, name)
        return read_document(item, Collection) if item else None

    def all(self) -> Iterator[Collection]:
        """Yield every collection, by name."""
        for item in query_items(self._client, self._table, _COLLECTIONS):
            yield read_document(item, Collection)

    def delete(self, name: str) -> None:
        """Delete a collection's entry; its index and records are deleted separately."""
        with aws_errors("delete a collection"):
            self._client.delete_item(TableName=self._table, Key=key(_COLLECTIONS, name))

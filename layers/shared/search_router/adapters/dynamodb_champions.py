"""The champion pointer and its versions in the state table."""

from typing import TYPE_CHECKING, Any

from search_router.adapters.aws_errors import translated
from search_router.adapters.dynamodb_items import Item, document_item, get_item, read_document
from search_router.adapters.dynamodb_runs import revision_condition, run_item
from search_router.domain.champions import Champion
from search_router.domain.runs import Run

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_CHAMPION = "CHAMPION"
_CURRENT = "CURRENT"
_ABSENT = {"ConditionExpression": "attribute_not_exists(pk)"}


class DynamoChampionRepository:
    """Moves the pointer, stores the version and closes the run in one transaction."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def current(self) -> Champion | None:
        """Read the champion that the pointer names; the pointer carries a copy of it."""
        return self._read(_CURRENT)

    def version(self, version: int) -> Champion | None:
        """Read one champion by its version."""
        return self._read(_version_key(version))

    def promote(self, champion: Champion, previous: Champion | None, run: Run) -> None:
        """Store the champion, move the pointer on from `previous`, replace the run; all or none."""
        stored = document_item(_CHAMPION, _version_key(champion.version), champion)
        pointer = document_item(_CHAMPION, _CURRENT, champion, version=champion.version)
        puts: Any = [
            {"Put": {"TableName": self._table, "Item": item, **condition}}
            for item, condition in (
                (stored, _ABSENT),
                (pointer, _moved_from(previous)),
                (run_item(run), revision_condition(run)),
            )
        ]
        with translated("promote a model"):
            self._client.transact_write_items(TransactItems=puts)

    def _read(self, sk: str) -> Champion | None:
        item = get_item(self._client, self._table, _CHAMPION, sk)
        return read_document(item, Champion) if item else None


def _version_key(version: int) -> str:
    return f"V#{version:08d}"


def _moved_from(previous: Champion | None) -> Item:
    if previous is None:
        return _ABSENT
    return {
        "ConditionExpression": "version = :previous",
        "ExpressionAttributeValues": {":previous": {"N": str(previous.version)}},
    }

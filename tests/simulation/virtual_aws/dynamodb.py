"""DynamoDB: conditional writes, transactions that are all or nothing, pages of three items."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.virtual_aws.expressions import Expression, Item
from tests.simulation.virtual_aws.wire import Document, NotPlayedError, Reply, Request, ServiceError

PAGE = 3  # items; so few that most queries have pages
Key = tuple[str, str]
_WRITES = {"PutItem": "Put", "UpdateItem": "Update", "DeleteItem": "Delete"}
Changed = Callable[[str, Key, Item | None], None]


@dataclass(slots=True)
class VirtualDynamoDB:
    """Tables by name, made when they are first written; `changed` sees every write."""

    changed: Changed
    tables: dict[str, dict[Key, Item]] = field(default_factory=dict)
    _tokens: set[str] = field(default_factory=set)

    def answer(self, request: Request) -> Reply:
        """Perform one request."""
        document = request.json
        write = _WRITES.get(request.operation)
        if write is not None:
            return self._write([{write: document}], document)
        match request.operation:
            case "GetItem":
                found = self._find(document["TableName"], document["Key"])
                return Reply.of({"Item": found} if found else {})
            case "TransactWriteItems":
                return self._transact(document)
            case "Query":
                return Reply.of(self._query(document))
            case "BatchGetItem":
                return Reply.of(self._batch_get(document))
            case "BatchWriteItem":
                return Reply.of(self._batch_write(document))
        raise NotPlayedError(str(request))

    def items(self, table: str, pk: str) -> list[Item]:
        """Return a partition, in key order, for the harness."""
        rows = self.tables.get(table, {})
        return [rows[key] for key in sorted(rows) if key[0] == pk]

    def _find(self, table: str, key: Item) -> Item | None:
        return self.tables.get(table, {}).get(_key(key))

    def _write(self, actions: list[Document], document: Document) -> Reply:
        failed = self._failed(actions)
        if failed[0] is not None:
            raise ServiceError("ConditionalCheckFailedException")
        self._perform(actions)
        if document.get("ReturnValues", "NONE") not in ("NONE", "ALL_NEW"):
            raise NotPlayedError(f"ReturnValues {document['ReturnValues']}")
        if document.get("ReturnValues") == "ALL_NEW":
            return Reply.of({"Attributes": self._find(document["TableName"], document["Key"])})
        return Reply.of({})

    def _transact(self, document: Document) -> Reply:
        token = document["ClientRequestToken"]
        if token in self._tokens:  # the SDK asks again because the reply was lost
            return Reply.of({})
        actions = document["TransactItems"]
        failed = self._failed(actions)
        if any(failed):
            reasons = [{"Code": code or "None"} for code in failed]
            raise ServiceError("TransactionCanceledException", CancellationReasons=reasons)
        self._tokens.add(token)
        self._perform(actions)
        return Reply.of({})

    def _failed(self, actions: list[Document]) -> list[str | None]:
        return [None if self._allowed(action) else "ConditionalCheckFailed" for action in actions]

    def _allowed(self, action: Document) -> bool:
        ((_, write),) = action.items()
        condition = write.get("ConditionExpression")
        found = self._find(write["TableName"], write.get("Item") or write["Key"])
        return condition is None or Expression(condition, write).holds(found)

    def _perform(self, actions: list[Document]) -> None:
        for action in actions:
            ((kind, write),) = action.items()
            if kind == "ConditionCheck":
                continue
            table, key = write["TableName"], _key(write.get("Item") or write["Key"])
            before = self.tables.get(table, {}).get(key)
            match kind:
                case "Put":
                    self._store(table, key, write["Item"])
                case "Update":
                    update = Expression(write["UpdateExpression"], write)
                    self._store(table, key, update.updated(before or write["Key"]))
                case "Delete":
                    self._store(table, key, None)
                case _:
                    raise NotPlayedError(kind)

    def _store(self, table: str, key: Key, item: Item | None) -> None:
        rows = self.tables.setdefault(table, {})
        if item is None:
            rows.pop(key, None)
        else:
            rows[key] = item
        self.changed(table, key, item)

    def _query(self, document: Document) -> Document:
        rows = self.tables.get(document["TableName"], {})
        keys = [
            key
            for key in sorted(rows, reverse=not document.get("ScanIndexForward", True))
            if Expression(document["KeyConditionExpression"], document).holds(rows[key])
        ]
        if "ExclusiveStartKey" in document:
            keys = keys[keys.index(_key(document["ExclusiveStartKey"])) + 1 :]
        page = keys[: min(PAGE, document.get("Limit", PAGE))]
        found = [rows[key] for key in page]
        if "FilterExpression" in document:
            wanted = Expression(document["FilterExpression"], document)
            found = [item for item in found if wanted.holds(item)]
        result: Document = {"Items": found, "Count": len(found)}
        if len(keys) > len(page):
            pk, sk = page[-1]
            result["LastEvaluatedKey"] = {"pk": {"S": pk}, "sk": {"S": sk}}
        return result

    def _batch_get(self, document: Document) -> Document:
        found = {
            table: [item for key in wanted["Keys"] if (item := self._find(table, key))]
            for table, wanted in document["RequestItems"].items()
        }
        return {"Responses": found, "UnprocessedKeys": {}}

    def _batch_write(self, document: Document) -> Document:
        for table, writes in document["RequestItems"].items():
            for write in writes:
                if "PutRequest" not in write:
                    raise NotPlayedError("BatchWriteItem with deletes")
                item = write["PutRequest"]["Item"]
                self._store(table, _key(item), item)
        return {"UnprocessedItems": {}}


def _key(item: Item) -> Key:
    return item["pk"]["S"], item["sk"]["S"] if "sk" in item else ""

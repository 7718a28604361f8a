"""The answer cache: one item per champion version and query, with a time to live.

Queries are stored as hashes. Expired items that DynamoDB has not deleted yet are ignored.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.clock import rounds
from search_router.adapters.dynamodb_items import write_batch
from search_router.domain.errors import TransientError
from search_router.domain.queries import query_digest
from search_router.domain.serving.decisions import Decision, cached_value, decision_from_cache
from search_router.domain.streams import batched
from search_router.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_GET_ITEMS = 100  # BatchGetItem's limit
_PUT_ITEMS = 25  # BatchWriteItem's limit
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class DynamoAnswerCaches:
    """The answer caches by champion version and owner."""

    client: "DynamoDBClient"
    table: str
    time_to_live: timedelta
    clock: Clock

    def of(self, champion_version: int, owner: str) -> "DynamoAnswerCache":
        """Return one version's cache; entries of `owner` count as model calls, not cache hits."""
        return DynamoAnswerCache(self, champion_version, owner)


@dataclass(frozen=True, slots=True)
class DynamoAnswerCache:
    """Reads and writes in batches; retries unprocessed items, then skips them."""

    caches: DynamoAnswerCaches
    champion_version: int
    owner: str

    def get_many(self, queries: Sequence[str]) -> Mapping[str, Decision]:
        """Return the cached decisions of these queries; empty while the cache cannot be read."""
        by_key = {self._key(query): query for query in queries}
        now = self.caches.clock.now().timestamp()
        cached: dict[str, Decision] = {}
        for keys in batched(list(by_key), _GET_ITEMS):
            with suppress(TransientError):
                for item in self._get(keys):
                    if float(item["expires_at"]["N"]) > now:
                        query = by_key[item["pk"]["S"]]
                        cached[query] = decision_from_cache(item["answer"]["S"], self.owner)
        return cached

    def put_many(self, decisions: Mapping[str, Decision]) -> None:
        """Cache decisions; those that cannot be written are skipped."""
        expires_at = int((self.caches.clock.now() + self.caches.time_to_live).timestamp())
        puts: list[Any] = [
            {
                "PutRequest": {
                    "Item": {
                        "pk": {"S": self._key(query)},
                        "answer": {"S": cached_value(decision, self.owner)},
                        "expires_at": {"N": str(expires_at)},
                    }
                }
            }
            for query, decision in decisions.items()
        ]
        for batch in batched(puts, _PUT_ITEMS):
            with suppress(TransientError):
                write_batch(
                    self.caches.client,
                    self.caches.table,
                    "write the cache",
                    batch,
                    rounds(_ROUNDS, self.caches.clock.sleep),
                )

    def _key(self, query: str) -> str:
        return f"{self.champion_version}#{query_digest(query)}"

    def _get(self, keys: list[str]) -> Iterator[dict[str, Any]]:
        request: Any = {self.caches.table: {"Keys": [{"pk": {"S": key}} for key in keys]}}
        for _ in rounds(_ROUNDS, self.caches.clock.sleep):
            with aws_errors("read the cache"):
                reply = self.caches.client.batch_get_item(RequestItems=request)
            yield from reply["Responses"].get(self.caches.table, [])
            request = reply.get("UnprocessedKeys")
            if not request:
                return

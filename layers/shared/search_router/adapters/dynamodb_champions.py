"""The champion pointer, its versions and its moves in the state table."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from search_router.adapters.aws_errors import aws_errors
from search_router.adapters.dynamodb_items import (
    ABSENT,
    Item,
    document_item,
    get_item,
    last_sort_key,
    put,
    query_items,
    read_document,
    revision_condition,
    run_item,
)
from search_router.domain.errors import OperatorError, TransientError
from search_router.domain.serving.champions import Champion, ChampionMove
from search_router.ports import CurrentChampion

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from search_router.domain.lifecycle.runs import Run

_CHAMPION = "CHAMPION"
_CURRENT = "CURRENT"
_VERSIONS, _MOVES = "V#", "MOVE#"


class DynamoChampionRepository:
    """Stores champions; a promotion writes version, pointer and run in one transaction."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def current(self) -> Champion | None:
        """Read the champion that the pointer names; the pointer carries a copy of it."""
        return self._read(_CURRENT)

    def version(self, version: int) -> Champion | None:
        """Read one champion by its version."""
        return self._read(_version_key(version))

    def history(self) -> Iterator[Champion]:
        """Yield every champion, by version."""
        for item in query_items(self._client, self._table, _CHAMPION, _VERSIONS):
            yield read_document(item, Champion)

    def last_version(self) -> int:
        """Return the highest version; 0 if there is none."""
        last = last_sort_key(self._client, self._table, _CHAMPION, _VERSIONS)
        return int(last.removeprefix(_VERSIONS)) if last else 0

    def moves(self) -> Iterator[ChampionMove]:
        """Yield every move of the pointer, oldest first."""
        for item in query_items(self._client, self._table, _CHAMPION, _MOVES):
            yield read_document(item, ChampionMove)

    def promote(self, champion: Champion, previous: Champion | None, run: "Run") -> None:
        """Store the champion, move the pointer from `previous`, replace the run; all or none."""
        move = ChampionMove(
            moved_at=champion.promoted_at,
            from_version=previous.version if previous else None,
            to_version=champion.version,
            reason=run.why,
        )
        stored = document_item(_CHAMPION, _version_key(champion.version), champion)
        self._write(
            "promote a model",
            (stored, ABSENT),
            (_pointer(champion), _moved_from(previous)),
            (run_item(run), revision_condition(run)),
            (_move_item(move), {}),
        )

    def roll_back(self, champion: Champion, previous: Champion, move: ChampionMove) -> None:
        """Move the pointer from `previous` to a stored champion, record the move; all or none."""
        self._write(
            "roll back",
            (_pointer(champion), _moved_from(previous)),
            (_move_item(move), {}),
        )

    def _write(self, action: str, *items: tuple[Item, Item]) -> None:
        puts: Any = [put(self._table, item, **condition) for item, condition in items]
        with aws_errors(action):
            self._client.transact_write_items(TransactItems=puts)

    def _read(self, sk: str) -> Champion | None:
        item = get_item(self._client, self._table, _CHAMPION, sk)
        return read_document(item, Champion) if item else None


class StaleIfErrorChampion:
    """Reads the pointer, and returns the last champion read while that fails."""

    def __init__(self, champions: CurrentChampion) -> None:
        self._champions = champions
        self._last: Champion | None = None

    def current(self) -> Champion | None:
        """Return the champion; raises an error only if none was read before."""
        try:
            self._last = self._champions.current()
        except (TransientError, OperatorError):
            if self._last is None:
                raise
        return self._last


def _version_key(version: int) -> str:
    return f"{_VERSIONS}{version:08d}"


def _pointer(champion: Champion) -> Item:
    return document_item(_CHAMPION, _CURRENT, champion, version=champion.version)


def _move_item(move: ChampionMove) -> Item:
    """Return a move as an item, keyed by its time so that moves sort by it."""
    return document_item(
        _CHAMPION, f"{_MOVES}{move.moved_at.isoformat()}#{move.to_version:08d}", move
    )


def _moved_from(previous: Champion | None) -> Item:
    if previous is None:
        return ABSENT
    return {
        "ConditionExpression": "version = :previous",
        "ExpressionAttributeValues": {":previous": {"N": str(previous.version)}},
    }

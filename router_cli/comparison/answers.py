"""The queries of a comparison and the answers so far, in one SQLite file.

The cascade uses the file as its cache, so a comparison that was stopped asks only for what is
missing. The file holds the text of the queries, as the results do.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from search_router.domain.queries import normalised_query, query_digest
from search_router.domain.serving.decisions import Decision, Status
from search_router.domain.weights import Modalities

RECORDED = "recorded"
ASKED_TOGETHER = 500
_DECISION = TypeAdapter(Decision)
_RECORDED_COLUMNS = (
    "tier",
    "status",
    "model",
    "latency_ms",
    "input_tokens",
    "output_tokens",
    "cost_usd",
)
_TABLES = """
CREATE TABLE IF NOT EXISTS logs (log_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS queries (
  digest BLOB PRIMARY KEY, query TEXT NOT NULL, rows INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
  side TEXT, digest BLOB, answer TEXT NOT NULL, PRIMARY KEY (side, digest));
"""
# A sample is the first queries by hash: the same ones each time, spread over the log.
_SAMPLE = "WITH sample AS (SELECT * FROM queries ORDER BY digest LIMIT :limit) "
_MISSING = (
    "FROM sample WHERE digest > :after AND NOT EXISTS "
    "(SELECT 1 FROM answers WHERE side = :side AND answers.digest = sample.digest)"
)
_COUNT_MISSING = f"{_SAMPLE} SELECT count(*) {_MISSING}"
_LIST_MISSING = f"{_SAMPLE} SELECT digest, query {_MISSING} ORDER BY digest LIMIT :together"
_USABLE = "SELECT 1 FROM answers WHERE side = ? AND answer ->> 'status' != ? LIMIT 1"
_PAIRS = f"""{_SAMPLE} SELECT query, rows, base.answer, against.answer FROM sample
JOIN answers AS base ON base.side = :base AND base.digest = sample.digest
JOIN answers AS against ON against.side = :against AND against.digest = sample.digest
ORDER BY sample.digest"""  # noqa: S608 - no text from outside


@dataclass(frozen=True, slots=True)
class AnsweredTwice:
    """One distinct query with the answers of both sides."""

    query: str
    rows: int
    base: Decision
    against: Decision


class ComparisonStore(AbstractContextManager["ComparisonStore"]):
    """The queries of one log and their answers; a side is one model asked in one way."""

    def __init__(self, path: Path) -> None:
        # The cascade reads its cache in the threads that call the model.
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._lock = threading.Lock()
        self._database.executescript(_TABLES)

    def __exit__(self, *_: object) -> None:
        self._database.commit()
        self._database.close()

    def holds(self, log_id: str) -> bool:
        """Return whether the store has all queries of a log."""
        found = self._database.execute("SELECT 1 FROM logs WHERE log_id = ?", (log_id,))
        return found.fetchone() is not None

    def add_log(self, log_id: str, rows: Iterable[dict[str, Any]], modalities: Modalities) -> None:
        """Store the distinct queries of a log with their recorded answers, in one transaction."""
        with self._database:
            for row in rows:
                digest = _digest(row["query"])
                known = self._database.execute(
                    "UPDATE queries SET rows = rows + 1 WHERE digest = ?", (digest,)
                )
                if known.rowcount == 0:
                    self._database.execute(
                        "INSERT INTO queries VALUES (?, ?, 1)", (digest, row["query"])
                    )
                    self._put(RECORDED, digest, _recorded(row, modalities))
            self._database.execute("INSERT INTO logs VALUES (?)", (log_id,))

    def missing(self, side: str, sample: int | None) -> int:
        """Return how many of the compared queries have no answer of a side."""
        [count] = self._database.execute(_COUNT_MISSING, _parameters(sample, side=side)).fetchone()
        return int(count)

    def has_usable(self, side: str) -> bool:
        """Return whether a side has given any answer that is not the prior."""
        found = self._database.execute(_USABLE, (side, Status.FALLBACK.value)).fetchone()
        return found is not None

    def unanswered(
        self, side: str, sample: int | None, sizes: Iterable[int] = ()
    ) -> Iterator[dict[str, str]]:
        """Yield the queries without an answer, by their normalised text.

        The chunks have the given sizes, then 500.
        """
        after = b""
        for together in chain(sizes, repeat(ASKED_TOGETHER)):
            parameters = _parameters(sample, side=side, after=after, together=together)
            found = self._database.execute(_LIST_MISSING, parameters).fetchall()
            if not found:
                return
            yield {normalised_query(query): query for _, query in found}
            after = found[-1][0]

    def keep(self, side: str, decisions: Mapping[str, Decision]) -> None:
        """Store answers by normalised query."""
        with self._lock, self._database:
            for query, decision in decisions.items():
                self._put(side, _digest(query), decision)

    def answer(self, side: str, query: str) -> Decision | None:
        """Return the answer of a side to a query."""
        with self._lock:
            found = self._database.execute(
                "SELECT answer FROM answers WHERE side = ? AND digest = ?", (side, _digest(query))
            ).fetchone()
        return _DECISION.validate_json(found[0]) if found else None

    def pairs(self, base: str, against: str, sample: int | None) -> Iterator[AnsweredTwice]:
        """Yield the compared queries that both sides have answered, in the order of their hash."""
        parameters = _parameters(sample, base=base, against=against)
        for query, rows, first, second in self._database.execute(_PAIRS, parameters):
            yield AnsweredTwice(
                query, rows, _DECISION.validate_json(first), _DECISION.validate_json(second)
            )

    def _put(self, side: str, digest: bytes, decision: Decision) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
            (side, digest, _DECISION.dump_json(decision).decode("utf-8")),
        )


@dataclass(frozen=True, slots=True)
class KeptAnswers:
    """The store as the cache of one side."""

    store: ComparisonStore
    side: str

    def get_many(self, queries: Sequence[str]) -> Mapping[str, Decision]:
        """Return the answers that this side has given already."""
        found = {query: self.store.answer(self.side, query) for query in queries}
        return {query: decision for query, decision in found.items() if decision is not None}

    def put_many(self, decisions: Mapping[str, Decision]) -> None:
        """Keep answers as they come."""
        self.store.keep(self.side, decisions)


def _digest(query: str) -> bytes:
    return bytes.fromhex(query_digest(query))


def _parameters(sample: int | None, **values: object) -> dict[str, object]:
    no_limit = -1
    limit = no_limit if sample is None else sample
    return {"limit": limit, "after": b"", **values}


def _recorded(row: dict[str, Any], modalities: Modalities) -> Decision:
    return _DECISION.validate_python(
        {"weights": [row[name] for name in modalities]}
        | {name: row[name] for name in _RECORDED_COLUMNS}
    )

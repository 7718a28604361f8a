"""The queries of a comparison and the answers so far, in one SQLite file.

It is the cache that the cascade looks into, so a comparison that was stopped asks only what is
missing when it is started again. It holds the queries' text, as the results do.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search_router.domain.queries import normalised_query, query_digest
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.streams import batched
from search_router.domain.weights import Modalities

RECORDED = "recorded"
ASKED_TOGETHER = 500
_TABLES = """
CREATE TABLE IF NOT EXISTS logs (log_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS queries (
  digest BLOB PRIMARY KEY, query TEXT NOT NULL, rows INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
  side TEXT, digest BLOB, answer TEXT NOT NULL, PRIMARY KEY (side, digest));
"""


@dataclass(frozen=True, slots=True)
class AnsweredTwice:
    """One distinct query and what the two sides say."""

    query: str
    rows: int
    base: Decision
    against: Decision


class ComparisonStore(AbstractContextManager["ComparisonStore"]):
    """Queries and answers of one log; a side is a name for one way to ask one model."""

    def __init__(self, path: Path) -> None:
        # The cascade draws queries, and so looks into its cache, in the model's threads.
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._lock = threading.Lock()
        self._database.executescript(_TABLES)

    def __exit__(self, *_: object) -> None:
        self._database.commit()
        self._database.close()

    def holds(self, log_id: str) -> bool:
        """Tell whether all queries of a log are in."""
        found = self._database.execute("SELECT 1 FROM logs WHERE log_id = ?", (log_id,))
        return found.fetchone() is not None

    def take_in(self, log_id: str, rows: Iterable[dict[str, Any]], modalities: Modalities) -> None:
        """Store the distinct queries of a log and what they were answered; all or nothing."""
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
        """Return how many of the compared queries a side has not answered."""
        return sum(1 for _ in self._unanswered(side, sample))

    def unanswered(self, side: str, sample: int | None) -> Iterator[dict[str, str]]:
        """Yield what is missing as the cascade wants it, five hundred at a time."""
        for chunk in batched(list(self._unanswered(side, sample)), ASKED_TOGETHER):
            texts = [self._text(digest) for digest in chunk]
            yield {normalised_query(text): text for text in texts}

    def keep(self, side: str, decisions: Mapping[str, Decision]) -> None:
        """Store answers by normalised query."""
        with self._lock, self._database:
            for query, decision in decisions.items():
                self._put(side, _digest(query), decision)

    def answer(self, side: str, query: str) -> Decision | None:
        """Return what a side answered to a query."""
        with self._lock:
            return self._answer(side, _digest(query))

    def pairs(self, base: str, against: str, sample: int | None) -> Iterator[AnsweredTwice]:
        """Yield the compared queries with both answers, in the order of their hash."""
        for digest, query, rows in self._chosen(sample):
            first, second = self._answer(base, digest), self._answer(against, digest)
            if first is not None and second is not None:
                yield AnsweredTwice(query, rows, first, second)

    def _chosen(self, sample: int | None) -> Iterator[tuple[bytes, str, int]]:
        """Yield the first queries by hash: the same sample each time, spread over the log."""
        limit = -1 if sample is None else sample
        yield from self._database.execute(
            "SELECT digest, query, rows FROM queries ORDER BY digest LIMIT ?", (limit,)
        )

    def _unanswered(self, side: str, sample: int | None) -> Iterator[bytes]:
        for digest, _, _ in self._chosen(sample):
            if self._answer(side, digest) is None:
                yield digest

    def _text(self, digest: bytes) -> str:
        found = self._database.execute("SELECT query FROM queries WHERE digest = ?", (digest,))
        return str(found.fetchone()[0])

    def _answer(self, side: str, digest: bytes) -> Decision | None:
        found = self._database.execute(
            "SELECT answer FROM answers WHERE side = ? AND digest = ?", (side, digest)
        ).fetchone()
        return _read(found[0]) if found else None

    def _put(self, side: str, digest: bytes, decision: Decision) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
            (side, digest, json.dumps(asdict(decision))),
        )


@dataclass(frozen=True, slots=True)
class KeptAnswers:
    """The store as one side's cache."""

    store: ComparisonStore
    side: str

    def get_many(self, queries: Sequence[str]) -> Mapping[str, Decision]:
        """Return what this side answered before."""
        found = {query: self.store.answer(self.side, query) for query in queries}
        return {query: decision for query, decision in found.items() if decision is not None}

    def put_many(self, decisions: Mapping[str, Decision]) -> None:
        """Keep answers as they come."""
        self.store.keep(self.side, decisions)


def _digest(query: str) -> bytes:
    return bytes.fromhex(query_digest(query))


def _recorded(row: dict[str, Any], modalities: Modalities) -> Decision:
    return Decision(
        weights=tuple(row[name] for name in modalities),
        tier=Tier(row["tier"]),
        status=Status(row["status"]),
        model=row["model"],
        latency_ms=row["latency_ms"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cost_usd=row["cost_usd"],
    )


def _read(text: str) -> Decision:
    fields = json.loads(text)
    return Decision(
        **{
            **fields,
            "weights": tuple(fields["weights"]),
            "tier": Tier(fields["tier"]),
            "status": Status(fields["status"]),
        }
    )

"""The distinct queries of a log, kept on disk: counting a billion rows takes no more memory."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from search_router.domain.queries import query_digest

_TEMPORARY = ""  # SQLite's name for a database that disappears with its connection
_CREATE = "CREATE TABLE distinct_queries (digest BLOB PRIMARY KEY, rows INTEGER, kept TEXT)"
_ADD = """INSERT INTO distinct_queries VALUES (?, 1, ?)
          ON CONFLICT (digest) DO UPDATE SET rows = rows + 1"""


class DistinctQueries(AbstractContextManager["DistinctQueries"]):
    """Counts rows per distinct query, and keeps of each query's first row what it is asked to."""

    def __init__(self, *kept: str) -> None:
        self._kept = kept
        self._database = sqlite3.connect(_TEMPORARY)
        self._database.execute(_CREATE)

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def __len__(self) -> int:
        [count] = self._database.execute("SELECT count(*) FROM distinct_queries").fetchone()
        return int(count)

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Count rows in."""
        self._database.executemany(
            _ADD,
            (
                (
                    bytes.fromhex(query_digest(row["query"])),
                    json.dumps([row[name] for name in self._kept]) if self._kept else None,
                )
                for row in rows
            ),
        )

    def __iter__(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield rows and kept values of every query, the most frequent first, ties by hash."""
        found = self._database.execute(
            "SELECT rows, kept FROM distinct_queries ORDER BY rows DESC, digest"
        )
        for rows, kept in found:
            yield rows, json.loads(kept) if kept else []

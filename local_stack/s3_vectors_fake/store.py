"""The vectors of one index: numbers in a mapped file, everything else in SQLite.

A vector's row is its position in the file. A replaced vector gets a new row, and the old one is
free when SQLite has committed: after a crash, the rows that SQLite lists are complete.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from local_stack.bedrock_fake.contract import Params
from local_stack.s3_vectors_fake.errors import not_found
from local_stack.s3_vectors_fake.filters import Filters, Mask, comparables
from local_stack.s3_vectors_fake.text import Rows, Scores, TextIndex

_FIRST_ROWS = 1024  # the file then doubles
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (row INTEGER PRIMARY KEY, key TEXT UNIQUE, metadata TEXT);
CREATE TABLE IF NOT EXISTS attributes
    (key TEXT, kind TEXT, value, row INTEGER, PRIMARY KEY (key, kind, value, row)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class IndexConfig:
    """What CreateIndex fixed; `languages` maps each searchable key to its language or ""."""

    dimension: int
    non_filterable: frozenset[str]
    languages: Mapping[str, str]


class Entry(NamedTuple):
    """One vector to write."""

    key: str
    data: NDArray[np.float32]
    metadata: Params


class Stored(NamedTuple):
    """One stored vector."""

    row: int
    key: str
    metadata: Params


class VectorStore:
    """The vectors of one index. `locked` makes several calls one step."""

    def __init__(self, folder: Path, config: IndexConfig) -> None:
        self.config = config
        self._path = folder / "vectors.f32"
        self._path.touch()
        self._database: sqlite3.Connection | None = sqlite3.connect(
            folder / "index.sqlite", check_same_thread=False, isolation_level=None
        )
        self._lock = threading.RLock()
        self._database.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; {_SCHEMA}"
        )
        self._texts = {
            key: TextIndex(self._database, number, config.languages[key])
            for number, key in enumerate(sorted(config.languages))
        }
        self._load()

    def close(self) -> None:
        """Close the files; later calls raise a NotFoundException."""
        with self._lock:
            if self._database is not None:
                for texts in self._texts.values():
                    texts.close()
                self._database.close()
                self._database = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other threads from the store."""
        with self._lock:
            yield

    def put(self, entries: Sequence[Entry]) -> None:
        """Write vectors in one transaction; of several with one key, the last is kept."""
        entries = list({entry.key: entry for entry in entries}.values())
        with self._lock, self._transaction() as database:
            old = self._remove([entry.key for entry in entries])
            rows = self._take_rows(len(entries))
            data = np.stack([entry.data for entry in entries])
            self._vectors[rows] = data
            self._lengths[rows] = np.linalg.norm(data, axis=1)
            database.executemany(
                "INSERT INTO entries VALUES (?, ?, ?)",
                [
                    (row, entry.key, json.dumps(entry.metadata))
                    for row, entry in zip(rows, entries, strict=True)
                ],
            )
            database.executemany(
                "INSERT INTO attributes VALUES (?, ?, ?, ?)",
                [
                    (*found, row)
                    for row, entry in zip(rows, entries, strict=True)
                    for found in comparables(entry.metadata, self.config.non_filterable)
                ],
            )
            for key, texts in self._texts.items():
                texts.put(
                    (row, entry.metadata[key])
                    for row, entry in zip(rows, entries, strict=True)
                    if isinstance(entry.metadata.get(key), str)
                )
            database.execute("COMMIT")
            self._live[rows] = True
            self._release(old)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete vectors; unknown keys are ignored."""
        with self._lock, self._transaction() as database:
            old = self._remove(keys)
            database.execute("COMMIT")
            self._release(old)

    def by_keys(self, keys: Sequence[str]) -> list[Stored]:
        """Return the stored vectors of some keys, in their order."""
        found = {stored.key: stored for stored in self._select("key", keys)}
        return [found[key] for key in dict.fromkeys(keys) if key in found]

    def by_rows(self, rows: Sequence[int]) -> list[Stored]:
        """Return the stored vectors of some rows, in their order."""
        found = {stored.row: stored for stored in self._select("row", rows)}
        return [found[row] for row in rows]

    def all_rows(self) -> Rows:
        """Return all rows."""
        return np.flatnonzero(self._live)

    def data(self, row: int) -> list[float]:
        """Return the numbers of a row."""
        numbers: list[float] = self._vectors[row].tolist()
        return numbers

    def allowed(self, filter_: Any) -> Mask:
        """Return which rows a filter allows."""
        return Filters(self._lookup, self._live, self.config.non_filterable).rows(filter_)

    def nearest(
        self, vector: NDArray[np.float32], allowed: Mask | None, limit: int
    ) -> tuple[Rows, Scores]:
        """Return the nearest rows and their cosine distances, nearest first."""
        live = self._live if allowed is None else allowed
        rows = np.flatnonzero(live)
        # Gathering rows copies them; beyond a tenth, multiplying all of them is faster.
        if len(rows) * 10 < np.count_nonzero(self._live) or not len(rows):
            products = self._vectors[rows] @ vector
        else:
            products = (self._vectors[: rows[-1] + 1] @ vector)[rows]
        cosines = products / (self._lengths[rows] * np.float32(np.linalg.norm(vector)))
        distances = np.clip(1 - cosines, 0, 2).astype(np.float32)
        if len(rows) > limit:
            nearest = np.argpartition(distances, limit - 1)[:limit]
            rows, distances = rows[nearest], distances[nearest]
        order = np.lexsort((rows, distances))
        return rows[order], distances[order]

    def search_text(
        self, key: str, query: str, allowed: Mask | None, limit: int
    ) -> tuple[Rows, Scores]:
        """Return the rows that match a text query and their BM25, best first."""
        return self._texts[key].search(query, allowed, limit)

    def _load(self) -> None:
        entries = self._require().execute("SELECT row FROM entries").fetchall()
        rows = np.fromiter((row for (row,) in entries), np.int64, len(entries))
        size = self._path.stat().st_size // (4 * self.config.dimension)
        self._lengths = np.zeros(size, np.float32)
        self._live = np.zeros(size, np.bool_)
        self._map(max(size, _FIRST_ROWS))
        self._live[rows] = True
        self._lengths = np.sqrt(np.einsum("ij,ij->i", self._vectors, self._vectors))
        self._free = [int(row) for row in np.flatnonzero(~self._live)[::-1]]

    def _map(self, size: int) -> None:
        """Give the file `size` rows."""
        with self._path.open("r+b") as file:
            file.truncate(size * self.config.dimension * 4)
        self._vectors: NDArray[np.float32] = np.asarray(
            np.memmap(self._path, np.float32, "r+", shape=(size, self.config.dimension))
        )
        more = size - len(self._live)
        self._live = np.concatenate([self._live, np.zeros(more, np.bool_)])
        self._lengths = np.concatenate([self._lengths, np.zeros(more, np.float32)])

    def _take_rows(self, count: int) -> list[int]:
        """Return free rows, lowest first."""
        while len(self._free) < count:
            size = len(self._live)
            self._map(2 * size)
            self._free = [*range(2 * size - 1, size - 1, -1), *self._free]
        rows = self._free[-count:][::-1]
        del self._free[-count:]
        return rows

    def _release(self, rows: Sequence[int]) -> None:
        if rows:
            self._live[rows] = False
            self._free.extend(reversed(rows))

    def _remove(self, keys: Sequence[str]) -> list[int]:
        """Remove entries from the database; return their rows."""
        database = self._require()
        removed = list(self._select("key", keys))
        rows = [stored.row for stored in removed]
        database.executemany("DELETE FROM entries WHERE row = ?", [(row,) for row in rows])
        database.executemany(
            "DELETE FROM attributes WHERE key = ? AND kind = ? AND value = ? AND row = ?",
            [
                (*found, stored.row)
                for stored in removed
                for found in comparables(stored.metadata, self.config.non_filterable)
            ],
        )
        for texts in self._texts.values():
            texts.delete(rows)
        return rows

    def _select(self, column: str, values: Sequence[Any]) -> Iterator[Stored]:
        marks = ",".join("?" * len(values))
        found = self._require().execute(
            f"SELECT row, key, metadata FROM entries WHERE {column} IN ({marks})",  # noqa: S608
            [*values],
        )
        return (Stored(row, key, json.loads(metadata)) for row, key, metadata in found)

    def _lookup(self, key: str, condition: str, values: tuple[Any, ...]) -> Mask:
        found = (
            self._require()
            .execute(
                f"SELECT row FROM attributes WHERE key = ? AND {condition}",  # noqa: S608
                (key, *values),
            )
            .fetchall()
        )
        mask = np.zeros(len(self._live), np.bool_)
        mask[np.fromiter((row for (row,) in found), np.int64, len(found))] = True
        return mask

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction, which the block commits; an error rolls it back."""
        database = self._require()
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _require(self) -> sqlite3.Connection:
        if self._database is None:
            raise not_found("index")
        return self._database

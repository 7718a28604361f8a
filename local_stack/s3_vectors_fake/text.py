"""Text search: analyzers, and an FTS5 table of SQLite for each searchable key."""

# ruff: noqa: S608 - the names of tables are our own

import math
import re
import sqlite3
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
Postings = tuple[Rows, Scores]

_K1, _B = 1.2, 0.75
_MAX_CACHED = 2_000_000  # rows of terms, 24 MB

_WORD = re.compile(r"[^\W_]+")
# Lucene's English stop words, and those that questions to a search are full of.
_ENGLISH = """a an and are as at be but by for from has have he her his i if in into is it its my no
not of on or our she so such that the their then there these they this to us was we were
what when where which who will with you your"""
_STOP_WORDS: Mapping[str, frozenset[str]] = {"en": frozenset(_WORD.findall(_ENGLISH))}
_TOKENIZERS = {"en": "porter unicode61"}


class TextIndex:
    """The texts of one metadata key by row, ranked by BM25 as Lucene computes it.

    FTS5 stems the words and stores which row has them. The scores are computed here: its own bm25
    takes 0.3 s for words that most of 100,000 texts have.
    """

    def __init__(self, database: sqlite3.Connection, number: int, language: str) -> None:
        self._database = database
        self._table = f"text_{number}"
        self._stop_words = _STOP_WORDS.get(language, frozenset())
        tokenizer = _TOKENIZERS.get(language, "unicode61")
        self._queries = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        for connection in (database, self._queries):
            connection.executescript(
                f"CREATE VIRTUAL TABLE IF NOT EXISTS {self._table} "
                f"USING fts5(words, tokenize='{tokenizer}');"
                f"CREATE VIRTUAL TABLE IF NOT EXISTS temp.{self._table}_terms "
                f"USING fts5vocab(main, {self._table}, instance);"
            )
        counted = database.execute(
            f"SELECT rowid, length(words) - length(replace(words, ' ', '')) + 1 FROM {self._table}"
        )
        self._lengths = np.zeros(0, np.float32)
        self._set_lengths(counted)
        self._postings: dict[str, Postings] = {}

    def close(self) -> None:
        """Close what is not part of the index's database."""
        self._queries.close()

    def put(self, texts: Iterable[tuple[int, str]]) -> None:
        """Add the texts of new rows; texts without a searchable word are left out."""
        found = [(row, words) for row, text in texts if (words := self._words(text))]
        self._database.executemany(
            f"INSERT INTO {self._table} (rowid, words) VALUES (?, ?)",
            [(row, " ".join(words)) for row, words in found],
        )
        self._set_lengths((row, len(words)) for row, words in found)

    def delete(self, rows: Iterable[int]) -> None:
        """Remove rows."""
        self._database.executemany(
            f"DELETE FROM {self._table} WHERE rowid = ?", [(row,) for row in rows]
        )
        self._set_lengths((row, 0) for row in rows)

    def search(
        self, query: str, allowed: NDArray[np.bool_] | None, limit: int
    ) -> tuple[Rows, Scores]:
        """Return the rows with any of the query's words and their BM25, best first."""
        lengths = self._lengths
        texts = int(np.count_nonzero(lengths))
        mean = float(lengths.sum()) / max(1, texts)
        scores = np.zeros(len(lengths), np.float32)
        for term in self._terms(query):
            rows, counts = self._find(term)
            idf = math.log1p((texts - len(rows) + 0.5) / (len(rows) + 0.5))
            norm = _K1 * (1 - _B + _B * lengths[rows] / mean)
            scores[rows] += idf * (_K1 + 1) * counts / (counts + norm)
        found = np.flatnonzero(scores if allowed is None else scores * allowed[: len(scores)])
        if len(found) > limit:
            found = found[np.argpartition(-scores[found], limit - 1)[:limit]]
        order = np.lexsort((found, -scores[found]))
        return found[order], scores[found[order]]

    def _words(self, text: str) -> list[str]:
        return [word for word in _WORD.findall(text.lower()) if word not in self._stop_words]

    def _terms(self, query: str) -> list[str]:
        """Return the distinct stems of a query."""
        words = " ".join(self._words(query))
        self._queries.execute(f"DELETE FROM {self._table}")
        self._queries.execute(f"INSERT INTO {self._table} (words) VALUES (?)", (words,))
        terms = self._queries.execute(f"SELECT DISTINCT term FROM {self._table}_terms")
        return [term for (term,) in terms]

    def _find(self, term: str) -> Postings:
        """Return the rows with a term, and how often they have it."""
        if term not in self._postings:
            (joined,) = self._database.execute(
                f"SELECT group_concat(doc) FROM {self._table}_terms WHERE term = ?", (term,)
            ).fetchone()
            instances = np.array(joined.split(",") if joined else [], dtype=np.int64)
            rows, counts = np.unique(instances, return_counts=True)
            if sum(len(cached) for cached, _ in self._postings.values()) > _MAX_CACHED:
                self._postings.clear()
            self._postings[term] = rows, counts.astype(np.float32)
        return self._postings[term]

    def _set_lengths(self, lengths: Iterable[tuple[int, int]]) -> None:
        """Set the number of words of some rows, and forget what was found before."""
        changed = list(lengths)
        self._postings = {}
        if changed:
            missing = max(row for row, _ in changed) + 1 - len(self._lengths)
            if missing > 0:
                more = np.zeros(max(missing, len(self._lengths)), np.float32)
                self._lengths = np.concatenate([self._lengths, more])
            rows, counts = zip(*changed, strict=True)
            self._lengths[[*rows]] = counts

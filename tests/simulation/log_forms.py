"""The forms in which people write query logs, and lines that are broken in each of them."""

import csv
import io
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

FORMS = (".jsonl", ".csv", ".tsv", ".txt", ".jsonl.gz", ".csv.gz", ".tsv.gz", ".txt.gz")
Quoting = Literal[0, 1, 3]  # csv.QUOTE_MINIMAL, QUOTE_ALL, QUOTE_NONE
_NOTES = ("", "seen twice", 'he said "no"', "a, b; c", "日本")
_LINE_END = "\r\n"  # in some Pythons the writer quotes only the line ends that it writes
_NO_UTF8 = b"\xff\xfe"
_BROKEN_JSON = (
    b'{"query": "half a',
    b'{"other": "no query"}',
    b'{"query": "   "}',
    b'{"query": 7}',
    b'["query"]',
    b'{"query": NaN}',
    _NO_UTF8 + b'{"query": "x"}',
    b'{"query": "twice", "query": "twice"}',
)


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV or TSV: columns in the order of the header, of which one holds the query."""

    delimiter: str
    names: tuple[str, ...]
    query_name: str
    quoting: Quoting

    @property
    def line_ends(self) -> bool:
        """Tell whether a field may hold line ends."""
        return self.quoting != csv.QUOTE_NONE

    @property
    def header(self) -> bytes:
        return self._written(self.names)

    def columns(self, chance: random.Random, offset: int, query: str) -> dict[str, Any]:
        """Fill a row."""
        fields = {name: chance.choice(_NOTES) for name in self.names}
        if self.line_ends and chance.random() < 0.2:
            fields["note"] = "one line\r\nanother,\n"
        return {**fields, "n": str(offset), self.query_name: query}

    def line(self, columns: Mapping[str, Any]) -> bytes:
        return self._written([columns[name] for name in self.names])

    def broken(self, chance: random.Random) -> bytes:
        cut = self.delimiter.encode()
        width = len(self.names)
        blank = ["" if name == self.query_name else "7" for name in self.names]
        lines = [
            b"one",
            cut.join([b"7"] * (width + 1)),
            cut.join([_NO_UTF8] * width),
            self._written(blank),
        ]
        if self.line_ends:
            lines.append(b'"ab"c' + cut * (width - 1))
        return chance.choice(lines)

    def _written(self, fields: "tuple[str, ...] | list[str]") -> bytes:
        if not self.line_ends:
            return self.delimiter.join(fields).encode()
        text = io.StringIO()
        csv.writer(
            text, delimiter=self.delimiter, quoting=self.quoting, lineterminator=_LINE_END
        ).writerow(fields)
        return text.getvalue().removesuffix(_LINE_END).encode()


@dataclass(frozen=True, slots=True)
class JsonLines:
    """An object a line; its strings hold what they like."""

    line_ends: bool = True
    header: bytes = b""

    def columns(self, chance: random.Random, offset: int, query: str) -> dict[str, Any]:
        """Fill a row, now and then with names that are ours."""
        clashing: dict[str, Any] = {"visual": "mine", "row_id": 7, "nested": {"q": [None, True]}}
        return {"query": query, "n": offset} | (clashing if chance.random() < 0.2 else {})

    def line(self, columns: Mapping[str, Any]) -> bytes:
        return json.dumps(columns, ensure_ascii=False).encode()

    def broken(self, chance: random.Random) -> bytes:
        return chance.choice(_BROKEN_JSON)


@dataclass(frozen=True, slots=True)
class PlainText:
    """A query a line."""

    line_ends: bool = False
    header: bytes = b""

    def columns(self, chance: random.Random, offset: int, query: str) -> dict[str, Any]:
        return {"query": query}

    def line(self, columns: Mapping[str, Any]) -> bytes:
        query: str = columns["query"]
        return query.encode()

    def broken(self, chance: random.Random) -> bytes:
        return _NO_UTF8


Form = Table | JsonLines | PlainText


def a_form(chance: random.Random, key: str) -> Form:
    """Choose how a log of this name is written."""
    name = key.removesuffix(".gz")
    if name.endswith(".jsonl"):
        return JsonLines()
    if name.endswith(".txt"):
        return PlainText()
    tsv = name.endswith(".tsv")
    query_name = chance.choice(("query", "q", "user_query"))
    names = [query_name, "n", "note", *chance.choice(((), ("visual", "row_id")))]
    chance.shuffle(names)
    plain: Quoting = csv.QUOTE_NONE if tsv else csv.QUOTE_MINIMAL
    quoting = chance.choice((plain, csv.QUOTE_ALL))
    return Table("\t" if tsv else ",", tuple(names), query_name, quoting)

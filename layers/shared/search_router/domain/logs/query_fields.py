"""Choose the field that holds the queries, by its name and by the values in a sample of rows."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

MAX_FIELD_DEPTH = 6
SPECIFIC_NAMES = (
    "user_query",  # OpenSearch UBI, whose `query` is query DSL
    "search_query",
    "query_text",
    "search_text",
    "search_term",
    "search_terms",
    "top_queries",  # Search Console
)
GENERIC_NAMES = ("query", "q", "url_query")
QUERY_FIELDS = SPECIFIC_NAMES + GENERIC_NAMES
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_JSON = re.compile(r"\s*[\[{]\s*(?:[\"'\[\]{}]|$)")
_NESTED = re.compile(r":\s*[\[{]")
_NUMBERS = re.compile(r"(?=\D*+\d)[\d\s.,:+\-/%$\u20acTZ]++")  # also dates and prices
_IDS = re.compile(
    r"(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}|[a-z]{1,8}[-_#:]\d+"
    r"|(?=\S*\d)[\w-]{20,})",
    re.IGNORECASE,
)


@dataclass(slots=True)
class FieldValues:
    """Counts of one field's values in a sample; `other` says what the last one without text is."""

    texts: int = 0
    others: int = 0
    other: str = ""

    def add(self, value: str) -> None:
        """Count one value that is not blank."""
        kind = not_text(value)
        if kind:
            self.others, self.other = self.others + 1, kind
        else:
            self.texts += 1

    @property
    def holds_queries(self) -> bool:
        """Whether most values are text, or there are none."""
        return self.texts > self.others or not self.others


def holds_json(value: str) -> bool:
    """Return whether a value begins as a JSON object or array of strings does."""
    return value.lstrip()[:1] in ("{", "[") and _JSON.match(value) is not None


def holds_query_dsl(value: str) -> bool:
    """Return whether a value is JSON with objects inside, as the body of a search request is."""
    return holds_json(value) and _NESTED.search(value) is not None


def not_text(value: str) -> str:
    """Return what a value is instead of a query: JSON, numbers or ids; empty if it is text."""
    text = value.strip()
    if holds_json(text):
        return "JSON"
    if _NUMBERS.fullmatch(text):
        return "numbers"
    return "ids" if _IDS.fullmatch(text) else ""


def same_name(left: str, right: str) -> bool:
    """Return whether two names are equal but for case, outer spaces and Unicode composition."""
    return _folded(left) == _folded(right)


def query_name(name: str) -> str:
    """Return which of QUERY_FIELDS a name spells, as `userQuery` or `User Query`; or nothing."""
    folded = re.sub(r"[\W_]+", "_", _CAMEL.sub("_", name)).strip("_").casefold()
    return folded if folded in QUERY_FIELDS else ""


def strings_in(row: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Yield (path of the parent, name, value) of each string, level by level."""
    level: list[tuple[str, Mapping[str, object]]] = [("", row)]
    for _ in range(MAX_FIELD_DEPTH):
        inner: list[tuple[str, Mapping[str, object]]] = []
        for parent, fields in level:
            for name, value in fields.items():
                if isinstance(value, str):
                    yield parent, name, value
                elif isinstance(value, Mapping):
                    inner.append((f"{parent}{name}.", value))
        level = inner


def choose_field(values: Mapping[tuple[str, str], FieldValues]) -> tuple[str, str] | None:
    """Return the field (path of its parent, name) that holds the queries, or None.

    A specific name comes first wherever it is, then the outermost field. A field with values in
    less than half of the rows of the fullest one is not chosen.
    """
    usable = {
        field: found
        for field, found in values.items()
        if query_name(field[1]) and found.holds_queries
    }
    most = max((found.texts for found in usable.values()), default=0)
    full = [field for field, found in usable.items() if found.texts * 2 >= most]
    parents = list(dict.fromkeys(parent for parent, _ in full))

    def rank(field: tuple[str, str]) -> tuple[bool, int, int, int]:
        parent, name = field
        known = query_name(name)
        return (
            known in GENERIC_NAMES,
            parent.count("."),
            parents.index(parent),
            QUERY_FIELDS.index(known),
        )

    return min(full, key=rank, default=None)


def count_values(rows: Iterable[Mapping[str, object]]) -> dict[tuple[str, str], FieldValues]:
    """Return the counts of every field that holds a string which is not blank."""
    values: dict[tuple[str, str], FieldValues] = {}
    for row in rows:
        for parent, name, value in strings_in(row):
            found = values.setdefault((parent, name), FieldValues())
            if value.strip():
                found.add(value)
    return values


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()

"""Metadata: its limits, the values that filters compare, and the filters themselves."""

import json
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from local_stack.bedrock_fake.contract import Params
from local_stack.s3_vectors_fake.errors import invalid, utf8

Mask: TypeAlias = NDArray[np.bool_]
# An attribute as it is compared: kind ("s", "n" or "b") and value. Kinds never equal each other.
Comparable: TypeAlias = tuple[str, str | float]
# Takes a key and a condition on kind and value in SQL; returns the rows that have such a value.
Lookup: TypeAlias = Callable[[str, str, tuple[Any, ...]], Mask]

MAX_KEYS = 50
MAX_METADATA_BYTES = 40 * 1024
MAX_FILTERABLE_BYTES = 2 * 1024
_MAX_DEPTH = 32
_ORDERS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def check_metadata(metadata: Any, non_filterable: frozenset[str]) -> None:
    """Raise a ValidationException for metadata that is too large or has an unsupported value."""
    if not isinstance(metadata, dict):
        raise invalid("Metadata must be a JSON object")
    if len(metadata) > MAX_KEYS:
        raise invalid(f"Metadata must have at most {MAX_KEYS} keys")
    if _size(metadata) > MAX_METADATA_BYTES:
        raise invalid(f"Metadata must have at most {MAX_METADATA_BYTES} bytes")
    filterable = {key: value for key, value in metadata.items() if key not in non_filterable}
    if _size(filterable) > MAX_FILTERABLE_BYTES:
        raise invalid(f"Filterable metadata must have at most {MAX_FILTERABLE_BYTES} bytes")
    for value in metadata.values():
        for element in value if isinstance(value, list) else [value]:
            comparable(element)


def comparable(value: Any) -> Comparable:
    """Return a value as it is compared; ValidationException if it is not a primitive."""
    if isinstance(value, bool):
        return "b", float(value)
    if isinstance(value, str):
        return "s", utf8(value)
    if isinstance(value, int | float) and abs(value) <= sys.float_info.max:
        return "n", float(value)
    raise invalid("Metadata values must be strings, numbers, booleans or lists of them")


def comparables(
    metadata: Mapping[str, Any], non_filterable: frozenset[str]
) -> Iterator[tuple[str, str, str | float]]:
    """Yield key, kind and value of everything that a filter can find, once."""
    for key, value in metadata.items():
        if key not in non_filterable:
            elements = value if isinstance(value, list) else [value]
            yield from {(key, *comparable(element)) for element in elements}


class Filters:
    """Evaluates filters of one index; `live` holds its rows."""

    def __init__(self, lookup: Lookup, live: Mask, non_filterable: frozenset[str]) -> None:
        self._lookup = lookup
        self._live = live
        self._non_filterable = non_filterable

    def rows(self, filter_: Any, depth: int = 0) -> Mask:
        """Return the rows that a filter allows; ValidationException if it is malformed."""
        if not isinstance(filter_, dict) or not filter_ or depth > _MAX_DEPTH:
            raise invalid("Invalid query filter")
        allowed = self._live.copy()
        for name, condition in filter_.items():
            if name in ("$and", "$or"):
                allowed &= self._combined(name, condition, depth)
            else:
                allowed &= self._key(name, condition)
        return allowed

    def _combined(self, name: str, filters: Any, depth: int) -> Mask:
        if not isinstance(filters, list) or not filters:
            raise invalid(f"Invalid query filter: {name} needs a list of filters")
        parts = [self.rows(part, depth + 1) for part in filters]
        return reduce(operator.and_ if name == "$and" else operator.or_, parts)

    def _key(self, key: str, condition: Any) -> Mask:
        if utf8(key).startswith("$") or key in self._non_filterable:
            raise invalid("Invalid query filter: a key is not filterable")
        operators = condition if isinstance(condition, dict) else {"$eq": condition}
        if not operators:
            raise invalid("Invalid query filter")
        return reduce(
            operator.and_, [self._compare(key, name, value) for name, value in operators.items()]
        )

    def _compare(self, key: str, name: str, value: Any) -> Mask:
        if name in ("$eq", "$ne"):
            found = self._lookup(key, "kind = ? AND value = ?", comparable(value))
        elif name in ("$in", "$nin"):
            found = self._any_of(key, value)
        elif name in _ORDERS:
            found = self._lookup(key, f"kind = 'n' AND value {_ORDERS[name]} ?", _number(value))
        elif name == "$exists" and isinstance(value, bool):
            found = self._lookup(key, "TRUE", ())
        else:
            raise invalid("Invalid query filter: unknown operator")
        negated = name in ("$ne", "$nin") or (name == "$exists" and not value)
        return self._live & ~found if negated else found

    def _any_of(self, key: str, values: Any) -> Mask:
        if not isinstance(values, list) or not values:
            raise invalid("Invalid query filter: $in and $nin need a list of values")
        found = [self._lookup(key, "kind = ? AND value = ?", comparable(one)) for one in values]
        return reduce(operator.or_, found)


def _number(value: Any) -> tuple[float]:
    kind, number = comparable(value)
    if kind != "n":
        raise invalid("Invalid query filter: only numbers are ordered")
    return (float(number),)


def _size(metadata: Params) -> int:
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    return len(utf8(text).encode())

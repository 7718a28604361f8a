"""Filters on attributes: `genre:drama`, `year:>=2015`. A hit must meet all filters of a search."""

import math
import re
from enum import StrEnum
from typing import NamedTuple

from search_router.domain.errors import BadRequestError

MAX_FILTERS = 10
MAX_FILTER_CHARACTERS = 200
_PARTS = re.compile(r"([^:\s]{1,63}):(>=|<=|>|<|!=)?(.*)", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


class Operator(StrEnum):
    """How an attribute is compared. EQUAL and NOT_EQUAL look at any element of a list."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="


class Filter(NamedTuple):
    """One comparison of an attribute.

    `number` is the value as a number, if it is one; the comparison then holds for the number and
    for the text. `<`, `<=`, `>` and `>=` compare numbers only.
    """

    field: str
    operator: Operator
    text: str
    number: float | None


def parse_filter(expression: str) -> Filter:
    """Parse `field:value` or `field:<operator>value`; raises BadRequestError."""
    found = _PARTS.fullmatch(expression) if len(expression) <= MAX_FILTER_CHARACTERS else None
    if found is None:
        raise BadRequestError("filter is not field:value. Write for example genre:drama.")
    field, symbol, text = found[1], found[2], found[3].strip()
    operator = Operator(symbol or "=")
    if not text:
        raise BadRequestError(f"filter on {field} has no value. Write for example {field}:drama.")
    number = float(text) if _NUMBER.fullmatch(text) else None
    ordered = operator not in (Operator.EQUAL, Operator.NOT_EQUAL)
    if ordered and (number is None or not math.isfinite(number)):
        raise BadRequestError(
            f"filter on {field} compares with something that is not a number. "
            f"Write for example {field}:{operator.value}2015."
        )
    return Filter(field, operator, text, number)

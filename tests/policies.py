"""Evaluates IAM policy statements against requests.

Supports the elements, operators and principals that the template uses, and raises ValueError for
any other. The emulator has its own implementation, so each checks the other.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Statement = Mapping[str, Any]

_FOR_ALL = "ForAllValues:"
_ELEMENTS = frozenset({"Sid", "Effect", "Action", "Resource", "Principal", "Condition"})


@dataclass(frozen=True)
class Request:
    """A call with its condition keys. Only resource policies look at `principal`."""

    action: str
    resource: str
    context: Mapping[str, Any] = field(default_factory=dict)
    principal: str = ""


def is_allowed(statements: Iterable[Statement], request: Request) -> bool:
    """Evaluate one document as IAM does: a Deny wins, and the default is to deny."""
    effects = {statement["Effect"] for statement in statements if matches(statement, request)}
    return effects == {"Allow"}


def matches(statement: Statement, request: Request) -> bool:
    """Return whether a statement applies to a request.

    Raises ValueError for an unsupported statement.
    """
    unknown = statement.keys() - _ELEMENTS
    if unknown:
        raise ValueError(f"cannot evaluate {sorted(unknown)}")
    return (
        _is_like(request.action, statement["Action"], ignoring_case=True)
        and ("Resource" not in statement or _is_like(request.resource, statement["Resource"]))
        and ("Principal" not in statement or _names(statement["Principal"], request.principal))
        and _holds(statement.get("Condition", {}), request.context)
    )


def _names(principal: Any, caller: str) -> bool:
    if principal == "*":
        return True
    (kind, names), *others = principal.items()
    if kind != "Service" or others:
        raise ValueError(f"cannot evaluate the principal {principal}")
    return caller in listed(names)


def _holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, Any]) -> bool:
    """Return whether every key of every operator matches.

    A key must be present, except for ForAllValues, which holds for a key without values.
    """
    present = {name.lower(): listed(value) for name, value in context.items()}
    for operator, wanted in condition.items():
        for_all = operator.startswith(_FOR_ALL)
        compare = _OPERATORS.get(operator.removeprefix(_FOR_ALL))
        if compare is None:
            raise ValueError(f"cannot evaluate {operator}")
        for key, values in wanted.items():
            found = present.get(key.lower(), [])
            if not (found or for_all) or not all(compare(str(one), values) for one in found):
                return False
    return True


def _is_like(text: str, patterns: Any, *, ignoring_case: bool = False) -> bool:
    flags = re.DOTALL | (re.IGNORECASE if ignoring_case else 0)
    return any(
        re.fullmatch(re.escape(p).replace(r"\*", ".*").replace(r"\?", "."), text, flags)
        for p in listed(patterns)
    )


def _is_one_of(text: str, values: Any) -> bool:
    return text in listed(values)


def _is_truth(text: str, values: Any) -> bool:
    return text.lower() in [str(value).lower() for value in listed(values)]


def listed(value: Any) -> list[Any]:
    """Return a value that may be a single item as a list."""
    return value if isinstance(value, list) else [value]


_OPERATORS: Mapping[str, Callable[[str, Any], bool]] = {
    "ArnEquals": _is_like,  # same as ArnLike
    "ArnLike": _is_like,
    "Bool": _is_truth,
    "StringEquals": _is_one_of,
    "StringLike": _is_like,
}

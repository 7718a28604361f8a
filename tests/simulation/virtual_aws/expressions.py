"""DynamoDB's condition and update expressions, as far as this system writes them."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.simulation.virtual_aws.wire import NotPlayedError, ServiceError

Value = dict[str, Any]
Item = dict[str, Value]
_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),+\-]|[#:]?[A-Za-z_][A-Za-z0-9_]*)")


class Expression:
    """One expression with its placeholders; made anew for each evaluation."""

    def __init__(self, text: str, request: Mapping[str, Any]) -> None:
        self._tokens = _tokens(text)
        self._names: Mapping[str, str] = request.get("ExpressionAttributeNames", {})
        self._values: Mapping[str, Value] = request.get("ExpressionAttributeValues", {})
        self._place = 0

    # --- conditions -----------------------------------------------------------------------------

    def holds(self, item: Item | None) -> bool:
        """Evaluate a condition on an item, or on none."""
        self._place = 0
        result = self._any(item or {})
        if self._place != len(self._tokens):
            raise NotPlayedError(f"condition: {' '.join(self._tokens)}")
        return result

    def _any(self, item: Item) -> bool:
        result = self._all(item)
        while self._skip("OR"):
            result = self._all(item) or result
        return result

    def _all(self, item: Item) -> bool:
        result = self._one(item)
        while self._skip("AND"):
            result = self._one(item) and result
        return result

    def _one(self, item: Item) -> bool:
        if self._skip("NOT"):
            return not self._one(item)
        if self._skip("("):
            result = self._any(item)
            self._expect(")")
            return result
        if self._peek(1) == "(":
            return self._function(item)
        return self._comparison(item)

    def _function(self, item: Item) -> bool:
        name = self._next()
        arguments = []
        self._expect("(")
        while not self._skip(")"):
            arguments.append(self._operand(item))
            self._skip(",")
        match name, arguments:
            case "attribute_exists", [found]:
                return found is not None
            case "attribute_not_exists", [found]:
                return found is None
            case "begins_with", [text, start]:
                return bool(text and start and text["S"].startswith(start["S"]))
        raise NotPlayedError(f"condition function {name}")

    def _comparison(self, item: Item) -> bool:
        left = self._operand(item)
        operator = self._next()
        if operator == "IN":
            return left is not None and left in self._list(item)
        if operator == "BETWEEN":
            low = self._operand(item)
            self._expect("AND")
            high = self._operand(item)
            return left is not None and _plain(low) <= _plain(left) <= _plain(high)
        right = self._operand(item)
        if left is None or right is None:
            return operator == "<>" and left != right
        return _compare(operator, _plain(left), _plain(right))

    def _list(self, item: Item) -> list[Value | None]:
        self._expect("(")
        found = [self._operand(item)]
        while self._skip(","):
            found.append(self._operand(item))
        self._expect(")")
        return found

    # --- updates --------------------------------------------------------------------------------

    def updated(self, item: Item) -> Item:
        """Return the item after an update expression."""
        self._place = 0
        after = dict(item)
        while self._place < len(self._tokens):
            clause = self._next()
            self._clause(clause, item, after)
            while self._skip(","):
                self._clause(clause, item, after)
        return after

    def _clause(self, clause: str, before: Item, after: Item) -> None:
        name = self._name()
        match clause:
            case "SET":
                self._expect("=")
                after[name] = self._sum(before)
            case "ADD":
                after[name] = _added(before.get(name), self._needed(before))
            case "REMOVE":
                after.pop(name, None)
            case _:
                raise NotPlayedError(f"update clause {clause}")

    def _sum(self, item: Item) -> Value:
        value = self._term(item)
        while (sign := self._peek(0)) in ("+", "-"):
            self._place += 1
            other = _plain(self._term(item)) * (1 if sign == "+" else -1)
            value = {"N": str(_plain(value) + other)}
        return value

    def _term(self, item: Item) -> Value:
        if self._peek(0) != "if_not_exists":
            return self._needed(item)
        self._place += 1
        self._expect("(")
        found = item.get(self._name())
        self._expect(",")
        default = self._needed(item)
        self._expect(")")
        return found if found is not None else default

    # --- tokens ---------------------------------------------------------------------------------

    def _operand(self, item: Item) -> Value | None:
        if (self._peek(0) or "").startswith(":"):
            return self._values[self._next()]
        return item.get(self._name())

    def _needed(self, item: Item) -> Value:
        value = self._operand(item)
        if value is None:
            raise NotPlayedError("an update that reads a missing attribute")
        return value

    def _name(self) -> str:
        token = self._next()
        return self._names[token] if token.startswith("#") else token

    def _peek(self, ahead: int) -> str | None:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else None

    def _next(self) -> str:
        self._place += 1
        return self._tokens[self._place - 1]

    def _skip(self, token: str) -> bool:
        found = (self._peek(0) or "").upper() == token
        self._place += found
        return found

    def _expect(self, token: str) -> None:
        if not self._skip(token):
            raise NotPlayedError(f"expected {token} in {' '.join(self._tokens)}")


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise NotPlayedError(f"expression: {text}")
        tokens.append(found[1])
        place = found.end()
    return tokens


def _plain(value: Value | None) -> Any:
    if value is None:
        raise NotPlayedError("a comparison with nothing")
    kind, content = next(iter(value.items()))
    return Decimal(content) if kind == "N" else content


def _added(before: Value | None, amount: Value) -> Value:
    """Add a number to a number, or the elements of a set to a set; missing is 0, or empty."""
    ((kind, content),) = amount.items()
    if before is not None and set(before) != {kind}:
        raise ServiceError("ValidationException")
    match kind:
        case "N":
            return {"N": str(_plain(before or {"N": "0"}) + _plain(amount))}
        case "NS" if content:
            return {"NS": sorted({*(before or {"NS": []})["NS"], *content}, key=Decimal)}
    raise ServiceError("ValidationException")


def _compare(operator: str, left: Any, right: Any) -> bool:
    match operator:
        case "=":
            return bool(left == right)
        case "<>":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case ">=":
            return bool(left >= right)
    raise NotPlayedError(f"operator {operator}")

"""Bedrock's contract as botocore's service models state it: shapes, patterns, error codes.

botocore checks only required members, types and minima on the client's side; Bedrock refuses far
more. Here both directions are held to everything the models say.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from botocore.model import (
    ListShape,
    MapShape,
    OperationModel,
    Shape,
    StringShape,
    StructureShape,
)
from botocore.utils import parse_timestamp
from botocore.validate import ParamValidator

from local_stack.bedrock_double.errors import BedrockError

Params = dict[str, Any]

_VALIDATOR = ParamValidator()
# Job names' pattern can match a dash in two ways, which takes for ever on a long row of them.
_TWO_WAYS, _ONE_WAY = r"(-*[a-zA-Z0-9\+\-\.])*", r"[a-zA-Z0-9\+\-\.]*"


# AWS's guide and notebooks want `General` for jobs with an LLM judge; the model does not list it.
_MISSING_FROM_ENUMS = {"EvaluationTaskType": ("General",)}


class ContractBrokenError(Exception):
    """The double itself said something that Bedrock could not have said."""


def read_request(
    operation: OperationModel, labels: Mapping[str, str], target: str, body: bytes
) -> Params:
    """Return the operation's parameters as boto3's caller named them.

    Raises `BedrockError` (ValidationException) with every violated constraint.
    """
    query = dict(parse_qsl(urlsplit(target).query))
    shape = _modelled(operation.input_shape)
    payload = shape.serialization.get("payload")
    params: Params = {payload: body} if payload else _read_json(body)
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        wire_name = member.serialization.get("name", name)
        if location == "uri":
            params[name] = labels[wire_name]
        elif location == "querystring" and wire_name in query:
            params[name] = _from_text(query[wire_name], member)
    violations = list_violations(params, shape)
    if violations:
        raise BedrockError("ValidationException", _report(violations))
    return params


def _modelled(shape: StructureShape | None) -> StructureShape:
    if shape is None:
        raise ContractBrokenError("an operation without a modelled shape is not played")
    return shape


def _read_json(body: bytes) -> Params:
    try:
        params = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BedrockError("ValidationException", "The request body is not JSON.") from error
    if not isinstance(params, dict):
        raise BedrockError("ValidationException", "The request body is not a JSON object.")
    return params


def _from_text(text: str, shape: Shape) -> Any:
    try:
        if shape.type_name == "timestamp":
            return parse_timestamp(text)
        if shape.type_name == "boolean" and text in ("true", "false"):
            return text == "true"
        return int(text) if shape.type_name == "integer" else text
    except ValueError:
        return text  # the wrong type is then reported as such


def _report(violations: list[str]) -> str:
    count = len(violations)
    return f"{count} validation error{'s' if count > 1 else ''} detected: " + "; ".join(violations)


def write_reply(operation: OperationModel, reply: Params) -> bytes:
    """Return a reply's body, JSON or a blob; `ContractBrokenError` if the model forbids it."""
    shape = _modelled(operation.output_shape)
    violations = list_violations(reply, shape)
    if violations:
        raise ContractBrokenError(f"{operation.name} replied: {'; '.join(violations)}")
    payload = shape.serialization.get("payload")
    if payload:
        return bytes(reply[payload])
    return json.dumps(reply, default=_timestamp).encode()


def _timestamp(value: object) -> str:
    # Every timestamp of these two services that a reply carries is modelled as ISO 8601.
    if not isinstance(value, datetime):
        raise ContractBrokenError(f"{type(value).__name__} has no JSON form")
    return iso_time(value)


def iso_time(moment: datetime) -> str:
    """Return a timestamp in the form that Bedrock's replies and events use."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_status(operation: OperationModel, code: str) -> int:
    """Return the HTTP status of a modelled error.

    Raises `ContractBrokenError` for one that the operation does not list.
    """
    for shape in operation.error_shapes:
        if shape.name == code:
            return int(shape.metadata["error"]["httpStatusCode"])
    raise ContractBrokenError(f"{operation.name} cannot answer {code}")


def list_violations(value: Any, shape: Shape) -> list[str]:
    """Return every constraint of the shape that the value violates, in Bedrock's words."""
    errors = _VALIDATOR.validate(value, shape)
    if errors.has_errors():  # types may be wrong, so nothing deeper can be asked
        return str(errors.generate_report()).splitlines()
    return list(_constraint_violations(value, shape, ""))


def _constraint_violations(value: Any, shape: Shape, place: str) -> Iterator[str]:
    for constraint in _violated(value, shape):
        yield f"Value '{value}' at '{place[1:]}' failed to satisfy constraint: Member {constraint}"
    if isinstance(shape, StructureShape) and not shape.is_document_type:
        for name, member in value.items():
            yield from _constraint_violations(member, shape.members[name], f"{place}.{name}")
    elif isinstance(shape, ListShape):
        for index, member in enumerate(value, start=1):
            yield from _constraint_violations(member, shape.member, f"{place}.{index}.member")
    elif isinstance(shape, MapShape):
        for key, member in value.items():
            yield from _constraint_violations(key, shape.key, f"{place}.{key}")
            yield from _constraint_violations(member, shape.value, f"{place}.{key}")


def _violated(value: Any, shape: Shape) -> Iterator[str]:
    """Yield what botocore's validator leaves out: maxima, patterns and enums."""
    rules = shape.metadata
    if "max" in rules:
        if isinstance(value, str | bytes | list | dict):
            if len(value) > rules["max"]:
                yield f"must have length less than or equal to {rules['max']}"
        elif value > rules["max"]:
            yield f"must have value less than or equal to {rules['max']}"
    if not isinstance(shape, StringShape):
        return
    if shape.enum and value not in (*shape.enum, *_MISSING_FROM_ENUMS.get(shape.name, ())):
        yield f"must satisfy enum value set: [{', '.join(shape.enum)}]"
    if "pattern" in rules and not _compile(rules["pattern"]).fullmatch(value):
        yield f"must satisfy regular expression pattern: {rules['pattern']}"


@functools.cache
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(_TWO_WAYS, _ONE_WAY))

"""A service's contract as botocore's models state it: routes, shapes, patterns, error codes.

botocore itself checks required members, types and minima only. This module checks requests and
replies against everything the models say. The S3 Vectors fake uses it too.

ApiError                an error that the service model lists for the operation
├── BedrockError        one of Bedrock
└── UnimplementedError  something that the service can do and the fake cannot (HTTP 501)
"""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from botocore.loaders import Loader
from botocore.model import (
    ListShape,
    MapShape,
    OperationModel,
    ServiceModel,
    Shape,
    StringShape,
    StructureShape,
)
from botocore.utils import parse_timestamp
from botocore.validate import ParamValidator

Params = dict[str, Any]
Operation = Callable[[Params], Params]

SERVICES = ("bedrock", "bedrock-runtime")
# The pattern of job names matches a dash in two ways: exponential time on many dashes.
_AMBIGUOUS, _LINEAR = r"(-*[a-zA-Z0-9\+\-\.])*", r"[a-zA-Z0-9\+\-\.]*"
_CLIENT_ERROR = 400  # the status of errors for which the model lists none
# AWS's guide and notebooks use `General` for jobs with an LLM judge; the model does not list it.
_MISSING_FROM_ENUMS = {"EvaluationTaskType": ("General",)}


class ApiError(Exception):
    """The request gets an error reply; the service model defines its HTTP status."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class BedrockError(ApiError):
    """An error of Bedrock."""


class UnimplementedError(ApiError):
    """The fake does not implement this part of the service."""

    def __init__(self, what: str) -> None:
        super().__init__("UnimplementedException", f"The fake does not implement {what}.")


class InvalidReplyError(Exception):
    """The fake produced a reply that the service model does not allow."""


def invalid(message: str) -> BedrockError:
    """Return a ValidationException."""
    return BedrockError("ValidationException", message)


def not_found(message: str) -> BedrockError:
    """Return a ResourceNotFoundException."""
    return BedrockError("ResourceNotFoundException", message)


def conflict(message: str) -> BedrockError:
    """Return a ConflictException."""
    return BedrockError("ConflictException", message)


def check_quota(count: int, quota: int, what: str) -> None:
    """Raise a ServiceQuotaExceededException if no further resource fits the quota."""
    if count >= quota:
        raise BedrockError(
            "ServiceQuotaExceededException", f"The account has its maximum of {quota} {what}."
        )


# --- Routes ---------------------------------------------------------------------------------------


class Router:
    """Maps method and path to an operation, for every operation of the services."""

    def __init__(self, services: Sequence[str] = SERVICES) -> None:
        self._by_name: dict[str, OperationModel] = {}
        # By method and number of path segments.
        self._routes: dict[tuple[str, int], list[tuple[re.Pattern[str], OperationModel]]] = {}
        for service in services:
            model = ServiceModel(Loader().load_service_model(service, "service-2"))
            for name in model.operation_names:
                operation = model.operation_model(name)
                path = operation.http["requestUri"].rstrip("/")
                pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "/?")
                key = (operation.http["method"], path.count("/"))
                self._routes.setdefault(key, []).append((pattern, operation))
                self._by_name[name] = operation

    def operation(self, name: str) -> OperationModel:
        """Return an operation by name; raises ValueError for an unknown name."""
        if name not in self._by_name:
            raise ValueError(f"unknown operation: {name}")
        return self._by_name[name]

    def find(self, method: str, path: str) -> tuple[OperationModel, dict[str, str]] | None:
        """Return the operation and its path labels, or None for an unknown path."""
        for pattern, operation in self._routes.get((method, path.rstrip("/").count("/")), []):
            found = pattern.fullmatch(path)
            if found:
                return operation, {name: unquote(text) for name, text in found.groupdict().items()}
        return None


@functools.cache
def router_of(services: Sequence[str]) -> Router:
    """Return the shared router of some services. Reading the service models is slow."""
    return Router(services)


def bedrock_router() -> Router:
    """Return the shared router of Bedrock."""
    return router_of(SERVICES)


# --- Requests and replies -------------------------------------------------------------------------


def read_request(
    operation: OperationModel, labels: Mapping[str, str], target: str, body: bytes
) -> Params:
    """Return the parameters of a request as the boto3 caller named them.

    Raises `BedrockError` (ValidationException) that lists every violated constraint.
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
        errors = f"{len(violations)} validation error{'s' if len(violations) > 1 else ''}"
        raise invalid(f"{errors} detected: {'; '.join(violations)}")
    return params


def _modelled(shape: StructureShape | None) -> StructureShape:
    if shape is None:
        raise InvalidReplyError("operations without a modelled shape are not implemented")
    return shape


def _read_json(body: bytes) -> Params:
    try:
        params = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise invalid("The request body is not JSON.") from error
    if not isinstance(params, dict):
        raise invalid("The request body is not a JSON object.")
    return params


def _from_text(text: str, shape: Shape) -> Any:
    try:
        if shape.type_name == "timestamp":
            return parse_timestamp(text)
        if shape.type_name == "boolean" and text in ("true", "false"):
            return text == "true"
        return int(text) if shape.type_name == "integer" else text
    except ValueError:
        return text  # the validator then reports the wrong type


def write_reply(operation: OperationModel, reply: Params) -> bytes:
    """Return the body of a reply; `InvalidReplyError` if the model does not allow it."""
    violations = list_violations(reply, _modelled(operation.output_shape))
    if violations:
        raise InvalidReplyError(f"{operation.name} replied: {'; '.join(violations)}")
    payload = _modelled(operation.output_shape).serialization.get("payload")
    if payload:
        content: bytes = reply[payload]
        return content
    return json.dumps(reply, default=_timestamp).encode()


def _timestamp(value: object) -> str:
    # Both services model every timestamp of a reply as ISO 8601.
    if not isinstance(value, datetime):
        raise InvalidReplyError(f"{type(value).__name__} has no JSON form")
    return iso_time(value)


def iso_time(moment: datetime) -> str:
    """Return a timestamp as Bedrock's replies and events write it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_status(operation: OperationModel, code: str) -> int:
    """Return the HTTP status of an error; `InvalidReplyError` if the operation does not list it."""
    for shape in operation.error_shapes:
        if shape.name == code:
            return int(shape.metadata.get("error", {}).get("httpStatusCode", _CLIENT_ERROR))
    raise InvalidReplyError(f"{operation.name} cannot answer {code}")


def _is_vector(shape: ListShape) -> bool:
    return shape.member.type_name == "float" and not shape.member.metadata


class _Validator(ParamValidator):
    """Checks the types of a vector's numbers at once, which takes 1 % of the time."""

    def _validate_list(self, param: Any, shape: ListShape, errors: Any, name: str) -> None:
        is_checked = isinstance(param, list) and _is_vector(shape)
        if not is_checked or not set(map(type, param)) <= {int, float}:
            super()._validate_list(param, shape, errors, name)  # type: ignore[misc]  # not in its stubs


_VALIDATOR = _Validator()


def list_violations(value: Any, shape: Shape) -> list[str]:
    """Return every constraint of the shape that the value violates, in Bedrock's words."""
    errors = _VALIDATOR.validate(value, shape)
    if errors.has_errors():  # nested constraints assume correct types
        return str(errors.generate_report()).splitlines()
    return list(_constraint_violations(value, shape, ""))


def _constraint_violations(value: Any, shape: Shape, path: str) -> Iterator[str]:
    for constraint in _violated(value, shape):
        yield f"Value '{value}' at '{path[1:]}' failed to satisfy constraint: Member {constraint}"
    if isinstance(shape, StructureShape) and not shape.is_document_type:
        for name, member in value.items():
            yield from _constraint_violations(member, shape.members[name], f"{path}.{name}")
    elif isinstance(shape, ListShape) and not _is_vector(shape):
        for index, member in enumerate(value, start=1):
            yield from _constraint_violations(member, shape.member, f"{path}.{index}.member")
    elif isinstance(shape, MapShape):
        for key, member in value.items():
            yield from _constraint_violations(key, shape.key, f"{path}.{key}")
            yield from _constraint_violations(member, shape.value, f"{path}.{key}")


def _violated(value: Any, shape: Shape) -> Iterator[str]:
    """Yield the violations that botocore does not check: maxima, patterns and enums."""
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
    return re.compile(pattern.replace(_AMBIGUOUS, _LINEAR))

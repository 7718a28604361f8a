"""Watches the edge between our adapters and AWS: records every call and breaks one if told to.

It wraps the one method through which every boto3 client makes every call, above the SDK's own
retries: what is broken here stays broken. Product code knows nothing of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from unittest import mock

from botocore.client import BaseClient
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError


class Crash(BaseException):
    """The process dies: nothing may catch it."""


class Fault(StrEnum):
    """What can happen to one call."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    CONNECTION_ERROR = "connection error"
    LOST_REPLY = "lost reply after commit"
    THROTTLED = "throttled"
    ACCESS_DENIED = "access denied"
    CREDENTIALS_EXPIRED = "credentials expired"
    MODEL_UNKNOWN = "model unknown"  # only Converse answers so; access denied for other calls
    MODEL_LOCKED = "model locked"


@dataclass(frozen=True, slots=True)
class AwsCall:
    """One call as our code made it."""

    service: str
    operation: str
    parameters: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.service}:{self.operation}"


@dataclass(slots=True)
class AwsCalls:
    """The calls so far; call number `broken` (from 0) meets `fault`."""

    broken: int | None = None
    fault: Fault = Fault.CRASH_BEFORE
    made: list[AwsCall] = field(default_factory=list)
    fired: int = 0

    def around(self, original: Any, client: Any, operation: str, parameters: Any) -> Any:
        """Make one call, or break it."""
        number = len(self.made)
        service = client.meta.service_model.service_name
        self.made.append(AwsCall(service, operation, dict(parameters)))
        if number != self.broken:
            return original(client, operation, parameters)
        self.fired += 1
        _break_before(self.fault, operation, client)
        original(client, operation, parameters)
        if self.fault is Fault.CRASH_AFTER:
            raise Crash(f"after {service}:{operation}")
        raise ReadTimeoutError(endpoint_url=client.meta.endpoint_url)

    def events(self) -> list[str]:
        """Return the detail types put on the bus, in order."""
        return [
            entry["DetailType"]
            for call in self.made
            if call.operation == "PutEvents"
            for entry in call.parameters["Entries"]
        ]


@contextmanager
def aws_calls(broken: int | None = None, fault: Fault = Fault.CRASH_BEFORE) -> Iterator[AwsCalls]:
    """Record the calls made in the block; break call number `broken` (from 0), if given."""
    calls = AwsCalls(broken, fault)
    original = BaseClient._make_api_call  # type: ignore[attr-defined]  # not in the stubs

    def make_api_call(client: Any, operation: str, parameters: Any) -> Any:
        return calls.around(original, client, operation, parameters)

    with mock.patch.object(BaseClient, "_make_api_call", make_api_call):
        yield calls


def _break_before(fault: Fault, operation: str, client: Any) -> None:
    match fault:
        case Fault.CRASH_BEFORE:
            raise Crash(f"before {operation}")
        case Fault.CONNECTION_ERROR:
            raise ConnectTimeoutError(endpoint_url=client.meta.endpoint_url)
        case Fault.THROTTLED:
            raise _refusal("ThrottlingException", 429, operation)
        case Fault.ACCESS_DENIED:
            raise _refusal("AccessDeniedException", 403, operation)
        case Fault.CREDENTIALS_EXPIRED:
            raise _refusal("ExpiredTokenException", 400, operation)
        case Fault.MODEL_UNKNOWN if operation == "Converse":
            message = "The provided model identifier is invalid."
            raise _refusal("ValidationException", 400, operation, message)
        case Fault.MODEL_LOCKED if operation == "Converse":
            message = "Model use case details have not been submitted for this account."
            raise _refusal("ResourceNotFoundException", 404, operation, message)
        case Fault.MODEL_UNKNOWN | Fault.MODEL_LOCKED:
            raise _refusal("AccessDeniedException", 403, operation)


def _refusal(
    code: str, status: int, operation: str, message: str = "planned by the test"
) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
                "HostId": "",
            },
        },
        operation,
    )

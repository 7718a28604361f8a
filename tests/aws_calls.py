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
    if fault is Fault.CRASH_BEFORE:
        raise Crash(f"before {operation}")
    if fault is Fault.CONNECTION_ERROR:
        raise ConnectTimeoutError(endpoint_url=client.meta.endpoint_url)
    if fault in _MODEL_FAULTS and operation != "Converse":
        fault = Fault.ACCESS_DENIED
    if fault in _REFUSALS:
        raise _refusal(*_REFUSALS[fault], operation)


_MODEL_FAULTS = (Fault.MODEL_UNKNOWN, Fault.MODEL_LOCKED)
_PLANNED = "planned by the test"
_REFUSALS = {
    Fault.THROTTLED: ("ThrottlingException", 429, _PLANNED),
    Fault.ACCESS_DENIED: ("AccessDeniedException", 403, _PLANNED),
    Fault.CREDENTIALS_EXPIRED: ("ExpiredTokenException", 400, _PLANNED),
    Fault.MODEL_UNKNOWN: (
        "ValidationException",
        400,
        "The provided model identifier is invalid.",
    ),
    Fault.MODEL_LOCKED: (
        "ResourceNotFoundException",
        404,
        "Model use case details have not been submitted for this account.",
    ),
}


def _refusal(code: str, status: int, message: str, operation: str) -> ClientError:
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

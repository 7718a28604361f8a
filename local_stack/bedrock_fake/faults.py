"""Injected faults: a seeded share of an operation's calls, or its next calls.

A draw depends on the seed, the request and how often the request was repeated, not on the order of
threads. A retry draws again, and equal runs fail at equal requests.
"""

import hashlib
import threading
from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum

from botocore.model import OperationModel

from local_stack.bedrock_fake.clock import draw
from local_stack.bedrock_fake.contract import ApiError

_EVERY_OPERATION = "*"


class Fault(StrEnum):
    """What can happen to a call; numbers are HTTP statuses."""

    THROTTLE = "throttle"
    MODEL_TIMEOUT = "408"
    MODEL_ERROR = "424"
    INTERNAL = "500"
    UNAVAILABLE = "503"
    MODEL_UNKNOWN = "model-unknown"
    MODEL_LOCKED = "model-locked"
    MODEL_LEGACY = "model-legacy"
    LOST_REPLY = "lost-reply"  # the operation succeeds, but its reply does not arrive


# By service: Bedrock's code, then that of S3 Vectors where it differs.
_CODES = {
    Fault.THROTTLE: ("ThrottlingException", "TooManyRequestsException"),
    Fault.MODEL_TIMEOUT: ("ModelTimeoutException", "RequestTimeoutException"),
    Fault.MODEL_ERROR: ("ModelErrorException",),
    Fault.INTERNAL: ("InternalServerException",),
    Fault.UNAVAILABLE: ("ServiceUnavailableException",),
    Fault.MODEL_UNKNOWN: ("ValidationException",),
    Fault.MODEL_LOCKED: ("ResourceNotFoundException",),
    Fault.MODEL_LEGACY: ("ResourceNotFoundException",),
}
# What Bedrock answers for models that it does not serve to this account.
_MESSAGES = {
    Fault.MODEL_UNKNOWN: "The provided model identifier is invalid.",
    Fault.MODEL_LOCKED: (
        "Model use case details have not been submitted for this account. Fill out the Anthropic "
        "use case details form before using the model."
    ),
    Fault.MODEL_LEGACY: (
        "Access denied. This Model is marked by provider as Legacy and you have not been actively "
        "using the model in the last 30 days. Please upgrade to an active model."
    ),
}


@dataclass(frozen=True, slots=True)
class FaultRule:
    """A share of an operation's calls that get one fault; `*` matches every operation."""

    operation: str
    fault: Fault
    rate: float

    def applies_to(self, operation: OperationModel) -> bool:
        """Return whether the rule names this operation and its model lists the error."""
        named = self.operation in (_EVERY_OPERATION, operation.name)
        return named and can_return(operation, self.fault)


def can_return(operation: OperationModel, fault: Fault) -> bool:
    """Return whether the service model lists the fault's error; a lost reply is always possible."""
    return fault is Fault.LOST_REPLY or _code(operation, fault) is not None


def _code(operation: OperationModel, fault: Fault) -> str | None:
    listed = {shape.name for shape in operation.error_shapes}
    return next((code for code in _CODES.get(fault, ()) if code in listed), None)


def parse_faults(text: str) -> tuple[FaultRule, ...]:
    """Parse rules such as `Converse:throttle:0.1,*:lost-reply:0.02`; raises ValueError."""
    return tuple(_parse_rule(rule.strip()) for rule in text.split(",") if rule.strip())


def _parse_rule(text: str) -> FaultRule:
    operation, _, rest = text.partition(":")
    fault, _, rate = rest.partition(":")
    try:
        rule = FaultRule(operation, Fault(fault), float(rate))
    except ValueError:
        raise ValueError(f"{text!r} is not OPERATION:FAULT:RATE") from None
    if not operation or not 0 <= rule.rate <= 1:
        raise ValueError(f"{text!r} is not OPERATION:FAULT:RATE with a rate in [0, 1]")
    return rule


class FaultPlan:
    """Decides which call gets which fault."""

    def __init__(self) -> None:
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._next: dict[str, deque[Fault]] = {}
        self._lock = threading.Lock()

    def fail_next(self, operation: str, fault: Fault, times: int) -> None:
        """Let the next calls of an operation fail, before any rule applies."""
        with self._lock:
            self._next.setdefault(operation, deque()).extend([fault] * times)

    def fault_of(
        self, operation: OperationModel, request: bytes, rules: tuple[FaultRule, ...], seed: int
    ) -> Fault | None:
        """Return the fault of this call, if any."""
        with self._lock:
            planned = self._next.get(operation.name)
            if planned:
                return planned.popleft()
            rules = tuple(rule for rule in rules if rule.applies_to(operation))
            if not rules:
                return None
            digest = hashlib.blake2b(request, digest_size=16).hexdigest()
            self._attempts[operation.name, digest] += 1
            attempt = self._attempts[operation.name, digest]
        for rule in rules:
            subject = (rule.operation, rule.fault, operation.name, digest, str(attempt))
            if draw(seed, "fault", *subject) < rule.rate:
                return rule.fault
        return None


def raise_error(operation: OperationModel, fault: Fault | None) -> None:
    """Raise the `ApiError` of a fault; None and a lost reply raise nothing."""
    code = _code(operation, fault) if fault else None
    if code:
        message = _MESSAGES.get(fault, "This fault is injected by the fake.") if fault else ""
        raise ApiError(code, message)

"""What goes wrong on purpose: a seeded share of an operation's calls, or its next calls.

A draw depends on the seed, the request and how often that request came before, never on the order
of threads: a retry draws anew, and two runs with the same requests fail at the same ones.
"""

import hashlib
import threading
from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum

from botocore.model import OperationModel

from local_stack.bedrock_double.chance import draw
from local_stack.bedrock_double.errors import BedrockError

_EVERY_OPERATION = "*"
_MESSAGE = "The double was told to fail here."


class Fault(StrEnum):
    """What can happen to a call; the numbers are HTTP statuses."""

    THROTTLE = "throttle"
    MODEL_TIMEOUT = "408"
    MODEL_ERROR = "424"
    INTERNAL = "500"
    UNAVAILABLE = "503"
    LOST_REPLY = "lost-reply"  # the work is done, the caller hears nothing


_CODES = {
    Fault.THROTTLE: "ThrottlingException",
    Fault.MODEL_TIMEOUT: "ModelTimeoutException",
    Fault.MODEL_ERROR: "ModelErrorException",
    Fault.INTERNAL: "InternalServerException",
    Fault.UNAVAILABLE: "ServiceUnavailableException",
}


@dataclass(frozen=True, slots=True)
class FaultRule:
    """A share of an operation's calls that meet one fault; operation `*` is every one."""

    operation: str
    fault: Fault
    rate: float

    def concerns(self, operation: OperationModel) -> bool:
        """Tell whether this operation is meant, and Bedrock could answer it so."""
        return self.operation in (_EVERY_OPERATION, operation.name) and can_meet(
            operation, self.fault
        )


def can_meet(operation: OperationModel, fault: Fault) -> bool:
    """Tell whether the service model lists the fault's error; a reply can always get lost."""
    code = _CODES.get(fault)
    return code is None or any(shape.name == code for shape in operation.error_shapes)


def parse_faults(text: str) -> tuple[FaultRule, ...]:
    """Read rules like `Converse:throttle:0.1,*:lost-reply:0.02`; `ValueError` tells the wrong one.

    An operation that does not exist meets nothing.
    """
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
    """Says which call meets which fault."""

    def __init__(self) -> None:
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._next: dict[str, deque[Fault]] = {}
        self._lock = threading.Lock()

    def fail_next(self, operation: str, fault: Fault, times: int) -> None:
        """Let the next calls of an operation meet a fault, ahead of any share."""
        with self._lock:
            self._next.setdefault(operation, deque()).extend([fault] * times)

    def fault_of(
        self,
        operation: OperationModel,
        request: bytes,
        rules: tuple[FaultRule, ...],
        seed: int,
    ) -> Fault | None:
        """Return what this call meets, if anything."""
        with self._lock:
            waiting = self._next.get(operation.name)
            if waiting:
                return waiting.popleft()
            rules = tuple(rule for rule in rules if rule.concerns(operation))
            if not rules:
                return None
            subject = hashlib.blake2b(request, digest_size=16).hexdigest()
            self._attempts[operation.name, subject] += 1
            attempt = self._attempts[operation.name, subject]
        for rule in rules:
            about = (rule.operation, rule.fault, operation.name, subject, str(attempt))
            if draw(seed, "fault", *about) < rule.rate:
                return rule.fault
        return None


def meet(fault: Fault | None) -> None:
    """Refuse a call that meets an error; `BedrockError`. A lost reply refuses nothing."""
    code = _CODES.get(fault) if fault else None
    if code:
        raise BedrockError(code, _MESSAGE)

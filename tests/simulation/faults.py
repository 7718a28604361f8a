"""What may go wrong at every AWS call, and on the way of every event and message."""

import random
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from tests.simulation.virtual_aws.wire import Request

HOUR = 3_600.0


class Fault(StrEnum):
    """Kinds of trouble; those up to `STALL` happen to single calls."""

    CRASH_BEFORE = "crash before the call"
    CRASH_AFTER = "crash after the call"
    CONNECTION_ERROR = "connection error"
    LOST_REPLY = "lost reply after commit"
    THROTTLED = "throttled"
    SERVER_ERROR = "server error"
    CONFLICT = "passing conflict"
    PARTIAL_BATCH = "batch taken in part"
    BROKEN_BODY = "body that breaks off"
    MODEL_TIMEOUT = "model timeout (408)"
    MODEL_ERROR = "model error (424)"
    STALL = "function timeout in mid work"

    EVENT_LOST = "event lost"
    EVENT_LATE = "event late"
    EVENT_TWICE = "event twice"
    TICK_LOST = "tick of the schedule lost"
    MESSAGE_TWICE = "message twice"
    DELETE_LOST = "deletion of a message lost"
    OUTAGE = "Bedrock outage"
    ACCESS_DENIED = "permission taken away"
    PROMOTION = "promotion in the middle"
    OVERWRITTEN = "upload overwritten"
    ERASED = "upload erased"
    DEAD_LETTER = "dead letter after a long outage"
    REDRIVE = "redrive days later"
    NESTED = "two workers at a time"


_ANYWHERE = (
    Fault.CRASH_BEFORE,
    Fault.CRASH_AFTER,
    Fault.CONNECTION_ERROR,
    Fault.LOST_REPLY,
    Fault.THROTTLED,
    Fault.SERVER_ERROR,
)
_STALLS = 0.05  # of all faults, because each costs an hour and a half of visibility
_SPECIAL = 4.0  # times the rate: few calls can meet these at all
_OF_MODELS = (*_ANYWHERE, Fault.MODEL_TIMEOUT, Fault.MODEL_ERROR)
_BATCHES = frozenset({"SendMessageBatch", "BatchGetItem", "BatchWriteItem", "PutEvents"})


def _special(request: Request) -> list[Fault]:
    """Return what can happen to this kind of call only."""
    special: list[Fault] = []
    if request.operation in _BATCHES:
        special.append(Fault.PARTIAL_BATCH)
    if request.operation == "GetObject":
        special.append(Fault.BROKEN_BODY)
    if request.operation == "TransactWriteItems" or "if-none-match" in request.headers:
        special.append(Fault.CONFLICT)
    return special


@dataclass(slots=True)
class FaultPlan:
    """Decides by chance; nothing of its own goes wrong after `calm_at` seconds.

    `rate` is the probability per call that it meets a fault, `stubborn` that all of the SDK's
    attempts at this call meet it too; what is `certain` happens whenever it can.
    """

    chance: random.Random
    rate: float
    stubborn: float
    calm_at: float
    outages: list[tuple[float, float]] = field(default_factory=list)
    denials: list[tuple[float, float]] = field(default_factory=list)
    certain: frozenset[Fault] = frozenset()
    fired: Counter[Fault] = field(default_factory=Counter)
    last: dict[Fault, float] = field(default_factory=dict)
    _stubborn_calls: dict[str, Fault] = field(default_factory=dict)

    def for_call(self, function: str, request: Request, now: float) -> Fault | None:
        """Return what happens to this attempt of a function's call."""
        fault = self._lasting(request, now) or self._passing(request, now)
        if fault is not None:
            self.note(fault, now)
        return fault

    def happens(self, fault: Fault, probability: float, now: float) -> bool:
        """Throw the dice for trouble on the way of an event or a message."""
        happens = fault in self.certain or (
            now < self.calm_at and self.rate > 0 and self.chance.random() < probability
        )
        if happens:
            self.note(fault, now)
        return happens

    def note(self, fault: Fault, now: float) -> None:
        """Count trouble; the promise of rest counts from here."""
        self.fired[fault] += 1
        self.last[fault] = now

    def _lasting(self, request: Request, now: float) -> Fault | None:
        if request.service == "bedrock-runtime" and _within(self.outages, now):
            return Fault.OUTAGE
        if request.service == "bedrock-runtime" and _within(self.denials, now):
            return Fault.ACCESS_DENIED
        return self._stubborn_calls.get(request.call)

    def _passing(self, request: Request, now: float) -> Fault | None:
        if now >= self.calm_at:
            return None
        special = _special(request)
        if special and self.chance.random() < _SPECIAL * self.rate:
            return self.chance.choice(special)
        if self.chance.random() >= self.rate:
            return None
        if self.chance.random() < _STALLS:
            return Fault.STALL
        fault = self.chance.choice(_OF_MODELS if request.operation == "Converse" else _ANYWHERE)
        if self.chance.random() < self.stubborn:
            self._stubborn_calls[request.call] = fault
        return fault


@dataclass(slots=True)
class OneFault(FaultPlan):
    """Nothing goes wrong but one call: number `broken`, over all calls of some functions.

    All of the SDK's attempts at it meet the fault.
    """

    functions: frozenset[str] = frozenset()
    fault: Fault = Fault.CRASH_BEFORE
    broken: int = -1
    made: list[str] = field(default_factory=list)

    def for_call(self, function: str, request: Request, now: float) -> Fault | None:
        if function not in self.functions:
            return None
        if request.call in self._stubborn_calls:
            return self.fault
        self.made.append(f"{function} {request}")
        if len(self.made) - 1 != self.broken:
            return None
        self.note(self.fault, now)
        self._stubborn_calls[request.call] = self.fault
        return self.fault


def _within(windows: list[tuple[float, float]], now: float) -> bool:
    return any(start <= now < end for start, end in windows)

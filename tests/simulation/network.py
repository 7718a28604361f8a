"""The place of botocore's HTTP: every request meets chance first, then a virtual service."""

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from tests.simulation.faults import Fault, FaultPlan
from tests.simulation.partial_batches import taken_in_part
from tests.simulation.scheduler import CrashError, Scheduler
from tests.simulation.virtual_aws.wire import (
    Reply,
    Request,
    ServiceError,
    read_request,
    write_reply,
)

Answer = Callable[[Request], Reply]
_CALL_SECONDS = 0.02
_CONVERSE_SECONDS = 0.8
_FOR_EVER = 1e9
_BEARING_ANSWERS = frozenset({"Converse", "BatchGetItem", "BatchWriteItem"})

_THROTTLES = {
    "s3": ("SlowDown", 503),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "sqs": ("RequestThrottled", 403),
    "events": ("ThrottlingException", 400),
    "bedrock": ("ThrottlingException", 429),
    "bedrock-runtime": ("ThrottlingException", 429),
}
_REFUSALS = {
    Fault.SERVER_ERROR: ("InternalServerError", 500),
    Fault.MODEL_TIMEOUT: ("ModelTimeoutException", 408),
    Fault.MODEL_ERROR: ("ModelErrorException", 424),
    Fault.OUTAGE: ("ServiceUnavailableException", 503),
    Fault.ACCESS_DENIED: ("AccessDeniedException", 403),
}


@dataclass(slots=True)
class Network:
    """Answers botocore; `trace` is told every call and what goes wrong with it."""

    scheduler: Scheduler
    faults: FaultPlan
    chance: random.Random
    services: Mapping[str, Answer]
    trace: Callable[[str], None]

    def send(self, prepared: AWSPreparedRequest, patience: float) -> AWSResponse:
        """Stand in for `URLLib3Session.send`; a lost reply costs the client's patience."""
        request = read_request(prepared)
        fiber = self.scheduler.current
        if fiber is None:  # the harness itself: no time passes and nothing goes wrong
            return write_reply(prepared, self._perform(request))
        if fiber.thread is not threading.current_thread():
            raise AssertionError("the product asks AWS in a thread of its own")
        usual = _CONVERSE_SECONDS if request.operation == "Converse" else _CALL_SECONDS
        self.scheduler.sleep(usual * self.chance.uniform(0.5, 2.0))
        fault = self.faults.for_call(fiber.name, request, self.scheduler.seconds)
        self.trace(f"{request} {_about(request)}{f' ! {fault}' if fault else ''}")
        if fault is not None and request.operation in _BEARING_ANSWERS:
            fiber.troubled = True
        return write_reply(prepared, self._meet(request, fault, patience))

    def _meet(self, request: Request, fault: Fault | None, patience: float) -> Reply:
        if (refusal := _refusal(request, fault)) is not None:
            return refusal.reply(request)
        self._break_before(request, fault)
        if fault is Fault.PARTIAL_BATCH:
            return taken_in_part(request, self.chance, self._perform)
        reply = self._perform(request)
        match fault:
            case Fault.CRASH_AFTER:
                raise self._crash()
            case Fault.LOST_REPLY:
                self.scheduler.sleep(patience)
                raise ReadTimeoutError(endpoint_url=request.host)
            case Fault.BROKEN_BODY if reply.status < 300:
                return _broken_off(reply)
        return reply

    def _break_before(self, request: Request, fault: Fault | None) -> None:
        match fault:
            case Fault.CRASH_BEFORE:
                raise self._crash()
            case Fault.CONNECTION_ERROR:
                raise EndpointConnectionError(endpoint_url=request.host)
            case Fault.STALL:
                self.scheduler.sleep(_FOR_EVER)

    def _perform(self, request: Request) -> Reply:
        try:
            return self.services[request.service](request)
        except ServiceError as error:
            return error.reply(request)

    def _crash(self) -> CrashError:
        fiber = self.scheduler.current
        if fiber is None:
            raise AssertionError("nobody is there to crash")
        return fiber.die(CrashError("planned by the simulation"))


def _refusal(request: Request, fault: Fault | None) -> ServiceError | None:
    match fault:
        case Fault.THROTTLED:
            return ServiceError(*_THROTTLES[request.service])
        case Fault.CONFLICT if request.service == "s3":
            return ServiceError("ConditionalRequestConflict", 409)
        case Fault.CONFLICT:
            reasons = [{"Code": "TransactionConflict"} for _ in request.json["TransactItems"]]
            return ServiceError("TransactionCanceledException", CancellationReasons=reasons)
    return ServiceError(*_REFUSALS[fault]) if fault in _REFUSALS else None


def _broken_off(reply: Reply) -> Reply:
    length = {"content-length": str(len(reply.body))}
    return Reply(reply.status, reply.body[: len(reply.body) // 2], {**reply.headers, **length})


def _about(request: Request) -> str:
    if request.service == "s3":
        return request.path or request.query.get("prefix", "")
    if request.service != "dynamodb":
        return ""
    document: Any = request.json
    key = document.get("Key") or document.get("Item")
    return f"{key['pk']['S']} {key.get('sk', {}).get('S', '')}" if key else ""

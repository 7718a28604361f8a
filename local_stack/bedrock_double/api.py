"""One request in, one reply out: route, check, perform, check again. Knows no operation by name."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from botocore.model import OperationModel

from local_stack.bedrock_double.contract import (
    ContractBrokenError,
    Params,
    error_status,
    read_request,
    write_reply,
)
from local_stack.bedrock_double.errors import BedrockError, NotPlayedError, RefusalError
from local_stack.bedrock_double.faults import Fault, FaultPlan, FaultRule, can_meet, meet
from local_stack.bedrock_double.routes import bedrock_router

logger = logging.getLogger(__name__)

Operation = Callable[[Params], Params]
# Returns the shares of calls that meet a fault now, and the seed of the draws.
Troubles = Callable[[], tuple[tuple[FaultRule, ...], int]]

_NOT_IMPLEMENTED = 501
_NO_SUCH_PATH = 404
_OUR_FAULT = 500


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What goes back over the wire; `error_type` is empty for an answer.

    A reply that `is_lost` never arrives: the caller sees its connection closed.
    """

    status: int
    body: bytes
    error_type: str = ""
    is_lost: bool = False


class BedrockApi:
    """Answers requests with the operations it was given, and counts them by outcome."""

    def __init__(
        self, operations: Mapping[str, Operation], troubles: Troubles = lambda: ((), 0)
    ) -> None:
        self._operations = operations
        self._troubles = troubles
        self._faults = FaultPlan()
        self._router = bedrock_router()
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()

    @property
    def played(self) -> frozenset[str]:
        """Names of the operations there is an answer for."""
        return frozenset(self._operations)

    @property
    def calls(self) -> dict[str, int]:
        """Number of requests by operation and HTTP status, e.g. `{"Converse 200": 3}`."""
        with self._counting:
            return dict(self._counts)

    def fail_next(self, operation: str, fault: Fault, times: int) -> None:
        """Let an operation's next calls meet a fault; `ValueError` if Bedrock has no such error."""
        if not can_meet(self._router.operation(operation), fault):
            raise ValueError(f"{operation} cannot meet {fault}")
        self._faults.fail_next(operation, fault, times)

    def answer(self, method: str, target: str, body: bytes) -> HttpReply:
        """Return Bedrock's reply to one HTTP request."""
        found = self._router.find(method, urlsplit(target).path)
        if found is None:
            return _refusal(
                _NO_SUCH_PATH, RefusalError("UnknownOperationException", "No such path.")
            )
        operation, labels = found
        try:
            reply = self._perform(operation, labels, target, body)
        except ContractBrokenError as fault:
            logger.exception("contract broken by the double")
            reply = _refusal(_OUR_FAULT, RefusalError("InternalServerException", str(fault)))
        with self._counting:
            self._counts[f"{operation.name} {reply.status}"] += 1
        return reply

    def _perform(
        self, operation: OperationModel, labels: Mapping[str, str], target: str, body: bytes
    ) -> HttpReply:
        rules, seed = self._troubles()
        fault = self._faults.fault_of(operation, target.encode() + body, rules, seed)
        try:
            meet(fault)
            perform = self._find(operation.name)
            params = read_request(operation, labels, target, body)
            answer = write_reply(operation, perform(params))
            lost = fault is Fault.LOST_REPLY
            return HttpReply(operation.http["responseCode"], answer, is_lost=lost)
        except NotPlayedError as refusal:
            return _refusal(_NOT_IMPLEMENTED, refusal)
        except BedrockError as refusal:
            return _refusal(error_status(operation, refusal.code), refusal)

    def _find(self, name: str) -> Operation:
        perform = self._operations.get(name)
        if perform is None:
            raise NotPlayedError(name)
        return perform


def _refusal(status: int, refusal: RefusalError) -> HttpReply:
    return HttpReply(status, json.dumps({"message": refusal.message}).encode(), refusal.code)

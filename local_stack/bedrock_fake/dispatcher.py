"""Routes HTTP requests to the operations of a fake, validates both ends, and injects faults."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from botocore.model import OperationModel

from local_stack.bedrock_fake.contract import (
    SERVICES,
    ApiError,
    InvalidReplyError,
    Operation,
    UnimplementedError,
    error_status,
    read_request,
    router_of,
    write_reply,
)
from local_stack.bedrock_fake.faults import Fault, FaultPlan, FaultRule, can_return, raise_error
from local_stack.bedrock_fake.server import HttpReply

logger = logging.getLogger(__name__)


class Dispatcher:
    """Routes, validates and answers requests, and counts them by operation and status.

    `faults` returns the current fault rules and the seed of their draws.
    """

    def __init__(
        self,
        operations: Mapping[str, Operation],
        faults: Callable[[], tuple[tuple[FaultRule, ...], int]] = lambda: ((), 0),
        services: Sequence[str] = SERVICES,
    ) -> None:
        self.operations = operations
        self._faults = faults
        self._plan = FaultPlan()
        self._router = router_of(services)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def calls(self) -> dict[str, int]:
        """Number of requests by operation and HTTP status, e.g. `{"Converse 200": 3}`."""
        with self._lock:
            return dict(self._counts)

    def fail_next(self, operation: str, fault: Fault, times: int) -> None:
        """Make the next calls of an operation fail; ValueError if its model lists no such error."""
        if not can_return(self._router.operation(operation), fault):
            raise ValueError(f"{operation} has no fault {fault}")
        self._plan.fail_next(operation, fault, times)

    def answer(self, method: str, target: str, body: bytes) -> HttpReply:
        """Return the reply to one HTTP request."""
        found = self._router.find(method, urlsplit(target).path)
        if found is None:
            return _error_reply(404, ApiError("UnknownOperationException", "No such path."))
        operation, labels = found
        try:
            reply = self._perform(operation, labels, target, body)
        except InvalidReplyError as error:
            logger.exception("invalid reply")
            reply = _error_reply(500, ApiError("InternalServerException", str(error)))
        with self._lock:
            self._counts[f"{operation.name} {reply.status}"] += 1
        return reply

    def _perform(
        self, operation: OperationModel, labels: Mapping[str, str], target: str, body: bytes
    ) -> HttpReply:
        rules, seed = self._faults()
        fault = self._plan.fault_of(operation, target.encode() + body, rules, seed)
        try:
            raise_error(operation, fault)
            perform = self._find(operation.name)
            params = read_request(operation, labels, target, body)
            content = write_reply(operation, perform(params))
            is_lost = fault is Fault.LOST_REPLY
            return HttpReply(operation.http["responseCode"], content, is_lost=is_lost)
        except UnimplementedError as error:
            return _error_reply(501, error)
        except ApiError as error:
            return _error_reply(error_status(operation, error.code), error)

    def _find(self, name: str) -> Operation:
        if name not in self.operations:
            raise UnimplementedError(name)
        return self.operations[name]


def _error_reply(status: int, error: ApiError) -> HttpReply:
    return HttpReply(status, json.dumps({"message": error.message}).encode(), error.code)

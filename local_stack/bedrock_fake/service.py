"""What the fakes share: their HTTP endpoint, their settings while they run, and their counts."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from local_stack.bedrock_fake.contract import Operation
from local_stack.bedrock_fake.dispatcher import Dispatcher
from local_stack.bedrock_fake.faults import Fault
from local_stack.bedrock_fake.server import CallRecorder, HttpReply, LoopbackServer
from local_stack.bedrock_fake.settings import FIXED, LiveSettings, Settings

S = TypeVar("S", bound=Settings)


class FakeService(Generic[S]):
    """The operations of some AWS services, served on loopback inside the `with` block.

    `settings` may change while the fake runs, except those that are `fixed`.
    """

    def __init__(
        self, settings: S, services: Sequence[str], *, port: int, fixed: frozenset[str] = FIXED
    ) -> None:
        self._live = LiveSettings(settings, fixed)
        self._services = services
        self._port = port
        self._record = (
            CallRecorder(Path(settings.calls_file), services).record
            if settings.calls_file
            else None
        )
        self._running = ExitStack()
        self._dispatcher: Dispatcher | None = None
        self._server: LoopbackServer | None = None

    @property
    def url(self) -> str:
        """The endpoint of boto3's clients of these services."""
        if self._server is None:
            raise self._not_serving()
        return self._server.url

    @property
    def calls(self) -> dict[str, int]:
        """Number of requests by operation and HTTP status, e.g. `{"Converse 200": 3}`."""
        return self._required_dispatcher().calls

    @property
    def operations(self) -> frozenset[str]:
        """Names of the implemented operations."""
        return frozenset(self._required_dispatcher().operations)

    def change(self, **changes: Any) -> None:
        """Change settings while running; raises ValueError for invalid or fixed ones."""
        self._live.change(changes)

    def fail_next(self, operation: str, fault: Fault, times: int = 1) -> None:
        """Make the next calls of an operation fail; ValueError if it has no such error."""
        self._required_dispatcher().fail_next(operation, fault, times)

    def answer(self, method: str, target: str, body: bytes) -> HttpReply:
        """Return the reply to one HTTP request, without a socket."""
        if (method, target) == ("GET", "/_fake/health"):
            return json_reply(200, {"status": "ok", "calls": self.calls})
        if (method, target) == ("POST", "/_fake/settings"):
            try:
                return json_reply(200, asdict(self._live.change(json.loads(body))))
            except (ValueError, AttributeError) as error:
                return json_reply(400, {"message": str(error)})
        return self._required_dispatcher().answer(method, target, body)

    def __enter__(self) -> Self:
        self._server = LoopbackServer(self.answer, self._port, self._record)
        self._server.start()
        self._running.callback(self._server.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _dispatch(self, operations: Mapping[str, Operation]) -> None:
        """Answer requests by these operations."""
        self._dispatcher = Dispatcher(
            operations,
            lambda: (self._live.current.fault_rules, self._live.current.seed),
            self._services,
        )

    def _required_dispatcher(self) -> Dispatcher:
        if self._dispatcher is None:
            raise self._not_serving()
        return self._dispatcher

    def _not_serving(self) -> RuntimeError:
        return RuntimeError(f"{type(self).__name__} is not serving. Enter its `with` block.")


def json_reply(status: int, fields: Mapping[str, Any], error_type: str = "") -> HttpReply:
    """Return a reply in JSON."""
    return HttpReply(status, json.dumps(fields).encode(), error_type)

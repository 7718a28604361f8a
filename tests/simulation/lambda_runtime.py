"""Lambda: containers that run the functions' own handlers, each until its time is over.

A container is a copy of the function's module with dependencies of its own, so that two workers
share no more than two processes would. One that crashed is thrown away.
"""

import contextlib
import importlib.util
import io
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from search_router.dependencies import Dependencies
from search_router.observability import logger
from tests.simulation.scheduler import CrashError, Scheduler
from tests.simulation.wiring import ROOT, wiring

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended: with a reply, or with an error that Lambda counts as one."""

    reply: Any = None
    error: BaseException | None = None


Finished = Callable[[Outcome], None]


@dataclass(slots=True)
class Container:
    """One function's process between invocations."""

    module: ModuleType
    dependencies: Dependencies


@dataclass(frozen=True, slots=True)
class _Context:
    scheduler: Scheduler
    deadline: float
    function_name: str
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:simulated"
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self.deadline - self.scheduler.seconds))


_modules: dict[str, list[ModuleType]] = defaultdict(list)  # free copies, for all histories


@dataclass(slots=True)
class LambdaRuntime:
    """Runs invocations at the same virtual time; `running` counts them by function."""

    scheduler: Scheduler
    wire: Callable[[], Dependencies]
    trace: Callable[[str], None]
    running: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    invocations: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    died: int = 0
    _free: dict[str, list[Container]] = field(default_factory=lambda: defaultdict(list))

    def invoke(self, function: str, event: Event, finished: Finished) -> None:
        """Begin an invocation now; `finished` hears how it ended."""
        timeout = wiring().functions[function].timeout
        self.running[function] += 1
        self.invocations[function] += 1
        number = self.invocations[function]

        def body() -> None:
            self.trace(f"{function} {number} begins")
            outcome = self._run(function, event, self.scheduler.seconds + timeout)
            self.trace(f"{function} {number} ends: {_said(outcome)}")
            self.running[function] -= 1
            finished(outcome)

        self.scheduler.spawn(function, body, timeout)

    def close(self) -> None:
        """Give the copies of the modules back for the next history."""
        for function, containers in self._free.items():
            _modules[function] += [container.module for container in containers]
        self._free.clear()

    def _run(self, function: str, event: Event, deadline: float) -> Outcome:
        container = self._free[function].pop() if self._free[function] else self._start(function)
        context = _Context(self.scheduler, deadline, function)
        try:
            reply = handle(container.module, event, context)
        except CrashError as death:
            self.died += 1
            return Outcome(error=death)
        except Exception as error:  # noqa: BLE001 - what Lambda does with a function's error
            self._free[function].append(container)
            return Outcome(error=error)
        self._free[function].append(container)
        return Outcome(reply)

    def _start(self, function: str) -> Container:
        module = _modules[function].pop() if _modules[function] else _load(function)
        dependencies = self.wire()
        vars(module)["dependencies"] = lambda: dependencies
        return Container(module, dependencies)


def handle(module: ModuleType, event: Event, context: Any) -> Any:
    """Call a function's handler, as Lambda does."""
    return module.lambda_handler(event, context)


@contextlib.contextmanager
def no_warm_modules() -> Iterator[None]:
    """Let every function be loaded anew in the block, and again after it."""
    warm = dict(_modules)
    _modules.clear()
    try:
        yield
    finally:
        _modules.clear()
        _modules.update(warm)


@contextlib.contextmanager
def captured_output() -> Iterator[io.StringIO]:
    """Collect what handlers log and measure."""
    stream, handler = io.StringIO(), logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(stream)
    with contextlib.redirect_stdout(stream):
        yield stream
    handler.setStream(before)


def _load(function: str) -> ModuleType:
    path = ROOT / "functions" / function / "app.py"
    spec = importlib.util.spec_from_file_location(f"simulated_{function}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _said(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"{type(outcome.error).__name__}: {outcome.error}"
    return repr(outcome.reply)

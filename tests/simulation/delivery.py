"""How events and messages reach the functions, with all that may happen to them on the way."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.faults import Fault, FaultPlan
from tests.simulation.lambda_runtime import Event, LambdaRuntime, Outcome
from tests.simulation.scheduler import Scheduler
from tests.simulation.virtual_aws.sqs import Message, VirtualQueue
from tests.simulation.virtual_aws.wire import NotPlayedError, Reply, Request
from tests.simulation.wiring import golden_event, wiring

_RETRIES_AFTER = (60.0, 120.0)  # Lambda's pauses between attempts at an asynchronous run
_LOST, _LATE, _TWICE = 0.05, 0.15, 0.2
_LATEST = 600.0
_POSTPONED_AT_MOST = 901.0


@dataclass(slots=True)
class EventBus:
    """EventBridge and Lambda's asynchronous runs: at least once, unordered, sometimes never."""

    scheduler: Scheduler
    runtime: LambdaRuntime
    faults: FaultPlan
    chance: random.Random
    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    dead_letters: list[tuple[str, Event]] = field(default_factory=list)
    in_flight: int = 0

    def answer(self, request: Request) -> Reply:
        """Take the functions' own events."""
        if request.operation != "PutEvents":
            raise NotPlayedError(str(request))
        for entry in request.json["Entries"]:
            detail = json.loads(entry["Detail"])
            self.published.append((entry["DetailType"], detail))
            self.put(entry["Source"], entry["DetailType"], detail)
        return Reply.of({"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]})

    def put(self, source: str, detail_type: str, detail: dict[str, Any]) -> None:
        """Send an event to every function with a rule that matches, as chance will have it."""
        event = golden_event("finish_query_log") | {
            "source": source,
            "detail-type": detail_type,
            "detail": detail,
        }
        now = self.scheduler.seconds
        for function in wiring().functions.values():
            if not function.wants(event):
                continue
            if not self.faults.happens(Fault.EVENT_LOST, _LOST, now):
                self.deliver(function.name, event)
            if self.faults.happens(Fault.EVENT_TWICE, _TWICE, now):
                self.deliver(function.name, event)

    def deliver(self, function: str, event: Event) -> None:
        """Start a function asynchronously, with the attempts that Lambda gives it."""
        late = self.faults.happens(Fault.EVENT_LATE, _LATE, self.scheduler.seconds)
        self._attempt(function, event, 0, self.chance.uniform(0.1, _LATEST if late else 2.0))

    def _attempt(self, function: str, event: Event, failed: int, delay: float) -> None:
        self.in_flight += 1

        def finished(outcome: Outcome) -> None:
            self.in_flight -= 1
            if outcome.error is None:
                return
            if failed + 1 >= wiring().functions[function].attempts:
                self.dead_letters.append((function, event))
            else:
                self._attempt(function, event, failed + 1, _RETRIES_AFTER[failed])

        self.scheduler.after(delay, lambda: self.runtime.invoke(function, event, finished))


@dataclass(slots=True)
class Schedule:
    """The rule that ticks, nearly three times as seldom as deployed, since two ticks may get lost.

    A little more often than every quarter of an hour: that long are the windows in which it helps,
    and each must see a tick, however long that is under way.
    """

    scheduler: Scheduler
    bus: EventBus
    faults: FaultPlan
    every: float = 840.0

    def start(self) -> None:
        """Tick from now on."""
        self.scheduler.after(self.every, self._tick)

    def change(self, every: float) -> None:
        """Tick at other times after the next one."""
        self.every = every

    def _tick(self) -> None:
        if not self.faults.happens(Fault.TICK_LOST, 0.1, self.scheduler.seconds):
            for function in wiring().functions.values():
                if function.scheduled:
                    self.bus.deliver(function.name, golden_event(function.name))
        self.start()


@dataclass(slots=True)
class SplitPoller:
    """The event source mapping: one message at a time for each of so many workers.

    What a worker does not report as failed is deleted; an error leaves the message to its
    visibility. A report that is no report (None, an unknown id) has the meaning AWS gives it.
    `oversleeping` counts splits that failed in good order and yet come back after 15 minutes only.
    """

    scheduler: Scheduler
    runtime: LambdaRuntime
    queue: VirtualQueue
    faults: FaultPlan
    workers: int
    trace: Callable[[str], None]
    oversleeping: int = 0
    _awake: float | None = None

    def wake(self) -> None:
        """Look for messages as soon as one may be visible."""
        visible = self.queue.next_visible()
        if visible is None:
            return
        at = max(self.scheduler.seconds, visible)
        if self._awake is None or at < self._awake:
            self._awake = at
            self.scheduler.after(at - self.scheduler.seconds, lambda: self._poll(at))

    def _poll(self, at: float) -> None:
        if self._awake == at:
            self._awake = None
        while self.runtime.running["route_queries"] < self.workers:
            message = self.queue.receive()
            if message is None:
                break
            self._handle(message)
        if self.runtime.running["route_queries"] < self.workers:
            self.wake()

    def _handle(self, message: Message) -> None:
        now, handle = self.scheduler.seconds, message.handle
        self.trace(f"received {handle}")
        if self.runtime.running["route_queries"]:
            self.faults.fired[Fault.NESTED] += 1
        if self.faults.happens(Fault.MESSAGE_TWICE, _TWICE, now):
            message.visible = now + self.faults.chance.uniform(0.0, 10.0)

        def finished(outcome: Outcome) -> None:
            lost = self.faults.happens(Fault.DELETE_LOST, 0.03, self.scheduler.seconds)
            if outcome.error is None and not lost and not _reported(outcome.reply, message):
                self.queue.delete(message)
            elif outcome.error is None and not lost and message.handle == handle:
                waits = message.visible - self.scheduler.seconds
                self.oversleeping += waits > _POSTPONED_AT_MOST
            self.wake()

        self.runtime.invoke("route_queries", _event(message), finished)


def _reported(reply: Any, message: Message) -> bool:
    """Tell whether a reply reports this message, the only one of its batch, as failed."""
    failures = (reply or {}).get("batchItemFailures") or []
    return bool(failures)  # an unknown or empty id fails the whole batch


def _event(message: Message) -> Event:
    event = golden_event("route_queries")
    record = event["Records"][0]
    record |= {
        "messageId": message.message_id,
        "receiptHandle": message.handle,
        "body": message.body,
    }
    record["attributes"]["ApproximateReceiveCount"] = str(message.receives)
    return event

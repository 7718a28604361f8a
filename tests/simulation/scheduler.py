"""Virtual time, and invocations that take turns in it: exactly one runs at any moment.

Every invocation has a thread of its own only because Python code must keep its stack while it
waits. A baton goes from the scheduler to one thread and back, so nothing runs beside anything else
and the order depends on virtual times alone: the same history runs the same way every time.
"""

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

Action = Callable[[], None]


class CrashError(BaseException):
    """The process dies here: no `except` clause of the product may catch it."""


class KilledError(CrashError):
    """Lambda ends an invocation whose time is over."""


@dataclass(slots=True, eq=False)
class Fiber:
    """One invocation that waits for its turn; `deadline` is when Lambda kills it.

    `troubled` tells that an answer or a cached answer may have been lost on its way.
    """

    name: str
    body: Action
    born: float
    deadline: float
    ended: float = float("inf")
    troubled: bool = False
    gate: threading.Lock = field(default_factory=threading.Lock)
    thread: threading.Thread | None = None
    death: CrashError | None = None
    error: BaseException | None = None

    def die(self, death: CrashError) -> CrashError:
        """Mark the process as dead, so that nothing it still does reaches the world."""
        self.death = death
        return death


class Scheduler:
    """What happens next, and when; `seconds` count from the start."""

    def __init__(self, start: datetime) -> None:
        self.seconds = 0.0
        self.current: Fiber | None = None
        self._start = start
        self._due: list[tuple[float, int, Action | Fiber]] = []
        self._numbers = itertools.count()
        self._alive: dict[Fiber, None] = {}
        self._gate = threading.Lock()
        self._gate.acquire()

    # --- the clock that the product is given ----------------------------------------------------

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass for the running invocation; others may run meanwhile."""
        fiber = self.current
        if fiber is None:
            return  # the harness itself takes no time
        if fiber.death is not None:
            raise fiber.death
        wake = self.seconds + max(0.0, seconds)
        killed = wake >= fiber.deadline
        wake = min(wake, fiber.deadline)
        if self._due and self._due[0][0] <= wake:
            self._push(wake, fiber)
            self._gate.release()
            fiber.gate.acquire()
            if fiber.death is not None:
                raise fiber.death
        else:
            self.seconds = wake
        if killed:
            raise fiber.die(KilledError("the function's time is over"))

    # --- what is to happen ----------------------------------------------------------------------

    def after(self, seconds: float, action: Action) -> None:
        """Let the harness do something later."""
        self._push(self.seconds + seconds, action)

    def spawn(self, name: str, body: Action, timeout: float) -> None:
        """Begin an invocation now."""
        fiber = Fiber(name, body, self.seconds, self.seconds + timeout)
        fiber.gate.acquire()
        self._alive[fiber] = None
        self._push(self.seconds, fiber)

    def run(self, until: float, done: Callable[[], bool]) -> None:
        """Let things happen until all is done, or time is over."""
        while self._due and self._due[0][0] <= until and not done():
            when, _, what = heapq.heappop(self._due)
            self.seconds = max(self.seconds, when)
            if isinstance(what, Fiber):
                self._resume(what)
            else:
                what()

    @property
    def busy(self) -> bool:
        """Tell whether any invocation has begun and not ended."""
        return bool(self._alive)

    def close(self) -> None:
        """End what still waits, so that no thread outlives its history."""
        for fiber in list(self._alive):
            fiber.die(CrashError("the history is over"))
            if fiber.thread is None:
                del self._alive[fiber]
            else:
                self._resume(fiber)

    def _push(self, when: float, what: Action | Fiber) -> None:
        heapq.heappush(self._due, (when, next(self._numbers), what))

    def _resume(self, fiber: Fiber) -> None:
        self.current = fiber
        if fiber.thread is None:
            fiber.thread = threading.Thread(target=self._live, args=(fiber,), daemon=True)
            fiber.thread.start()
        else:
            fiber.gate.release()
        self._gate.acquire()
        self.current = None
        if fiber.error is not None:
            raise fiber.error

    def _live(self, fiber: Fiber) -> None:
        try:
            fiber.body()
        except CrashError:
            pass
        except BaseException as error:  # noqa: BLE001 - the harness is broken: say so in its thread
            fiber.error = error
        fiber.ended = self.seconds
        del self._alive[fiber]
        self._gate.release()

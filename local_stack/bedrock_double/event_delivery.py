"""How events reach the bus: best effort, so that seeded ones are lost, late or sent twice."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from local_stack.bedrock_double.chance import draw
from local_stack.bedrock_double.clock import Clock
from local_stack.bedrock_double.settings import LiveSettings
from local_stack.bedrock_double.state_change_events import Publish, StateChangeEvent


class EventDelivery:
    """Hands events on to `publish`, each as often and as late as chance has it."""

    def __init__(self, publish: Publish, clock: Clock, settings: LiveSettings) -> None:
        self._publish = publish
        self._clock = clock
        self._settings = settings
        self._waiting: list[tuple[datetime, StateChangeEvent]] = []
        self._lock = threading.Lock()

    def send(self, events: Sequence[StateChangeEvent]) -> None:
        """Take new events in, and publish all that are due by the clock."""
        now = self._clock.now()
        with self._lock:
            for event in events:
                self._waiting += self._deliveries(event, now)
            due = [event for at, event in self._waiting if at <= now]
            self._waiting = [(at, event) for at, event in self._waiting if at > now]
        for event in due:
            self._publish(event)

    def _deliveries(
        self, event: StateChangeEvent, now: datetime
    ) -> list[tuple[datetime, StateChangeEvent]]:
        settings = self._settings.current

        def happens(what: str, rate: float) -> bool:
            return draw(settings.seed, what, event.job_arn) < rate

        if happens("event lost", settings.event_loss_rate):
            return []
        late = timedelta(seconds=settings.event_late_seconds)
        first = now + late if happens("event late", settings.event_late_rate) else now
        if happens("event twice", settings.event_duplicate_rate):
            return [(first, event), (first + late, event)]
        return [(first, event)]

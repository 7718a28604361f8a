"""Stores a run's next step and publishes the event of its state.

A step that is already done, because its event was delivered twice or the function died after the
write, publishes its event again: events are published at least once.
"""

from dataclasses import dataclass
from datetime import datetime

from search_router.domain.errors import NotFoundError
from search_router.domain.events import (
    ApprovalNeeded,
    ModelDeployed,
    ModelEvaluated,
    ModelPromoted,
    ModelRejected,
    PromptsSharded,
    RouterEvent,
    RunFailed,
)
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.ports import Clock, EventPublisher, RunRepository


@dataclass(frozen=True, slots=True)
class RunLifecycle:
    """Stores runs by conditional writes; one that loses raises ConflictError, publishes nothing."""

    runs: RunRepository
    events: EventPublisher
    clock: Clock

    @property
    def now(self) -> datetime:
        """The time of day, in UTC."""
        return self.clock.now()

    def find(self, run_id: str) -> Run:
        """Return a run; raises NotFoundError."""
        run = self.runs.get(run_id)
        if run is None:
            raise NotFoundError(f"run not found: {run_id}. List them with `search-router runs`.")
        return run

    def update(self, run: Run) -> Run:
        """Store a run's next revision."""
        self.runs.replace(run)
        return run

    def move(self, run: Run) -> Run:
        """Store a run's next revision and publish its event."""
        self.update(run)
        self.publish(run)
        return run

    def publish(self, run: Run) -> None:
        """Publish the event of the run's state, if it has one."""
        if (event := event_of(run)) is not None:
            self.events.publish(event)


def event_of(run: Run) -> RouterEvent | None:
    """Return the event of a run's state; TRAINING and DEPLOYING have none."""
    match run.state:
        case RunState.SHARDED:
            return PromptsSharded(run_id=run.run_id)
        case RunState.EVALUATING if run.evaluation is None:
            return ModelDeployed(run_id=run.run_id)
        case RunState.EVALUATING:
            return ModelEvaluated(run_id=run.run_id)
        case RunState.PROMOTED:
            version = run.champion_version or 0
            return ModelPromoted(run_id=run.run_id, champion_version=version)
        case RunState.REJECTED:
            return ModelRejected(run_id=run.run_id, reason=run.why)
        case RunState.AWAITING_APPROVAL:
            return ApprovalNeeded(
                run_id=run.run_id,
                reason=run.reason,
                approve_with=f"search-router promote {run.run_id} --reason WHY",
                reject_with=f"search-router reject {run.run_id} --reason WHY",
            )
        case RunState.FAILED | RunState.STOPPED:
            return RunFailed(run_id=run.run_id, reason=run.reason)
    return None

"""A distillation run: its states, and the one record that owns the truth about it.

    SHARDED → TRAINING → DEPLOYING → EVALUATING → PROMOTED | REJECTED | AWAITING_APPROVAL
        └──────────┴──────────┴───────────┴─────→ FAILED | STOPPED

Bedrock's own words are kept for Bedrock's own statuses (`job_status`, `deployment_status`).
"""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from search_router.domain.errors import ConflictError
from search_router.domain.evaluation import Evaluation
from search_router.domain.intake import IntakeCounts
from search_router.domain.weights import Modalities, Weights


class RunState(StrEnum):
    """Where a run stands."""

    SHARDED = "SHARDED"
    TRAINING = "TRAINING"
    DEPLOYING = "DEPLOYING"
    EVALUATING = "EVALUATING"
    PROMOTED = "PROMOTED"
    REJECTED = "REJECTED"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


class JobStatus(StrEnum):
    """Bedrock's statuses of a model customization job."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"


class DeploymentStatus(StrEnum):
    """Bedrock's statuses of a custom model deployment."""

    CREATING = "Creating"
    ACTIVE = "Active"
    FAILED = "Failed"


_END = {RunState.FAILED, RunState.STOPPED}
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.SHARDED: frozenset({RunState.TRAINING, *_END}),
    RunState.TRAINING: frozenset({RunState.DEPLOYING, *_END}),
    RunState.DEPLOYING: frozenset({RunState.EVALUATING, *_END}),
    RunState.EVALUATING: frozenset(
        {RunState.PROMOTED, RunState.REJECTED, RunState.AWAITING_APPROVAL, *_END}
    ),
    RunState.AWAITING_APPROVAL: frozenset({RunState.PROMOTED, RunState.REJECTED}),
    RunState.PROMOTED: frozenset(),
    RunState.REJECTED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.STOPPED: frozenset(),
}
OPEN_STATES = frozenset(
    {RunState.SHARDED, RunState.TRAINING, RunState.DEPLOYING, RunState.EVALUATING}
)


class Run(BaseModel):
    """Everything known about one run; replaced as a whole by conditional writes on `revision`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    state: RunState
    reason: str = ""
    revision: int = 0
    created_at: datetime
    updated_at: datetime

    source_bucket: str
    source_key: str
    source_version: str | None
    counts: IntakeCounts = IntakeCounts()

    modalities: Modalities = ()
    system_prompt: str = ""
    prior: Weights = ()
    training_sha256: str = ""

    job_name: str = ""
    job_arn: str = ""
    job_status: str = ""
    model_arn: str = ""
    deployment_name: str = ""
    deployment_arn: str = ""
    deployment_status: str = ""

    evaluation: Evaluation | None = None
    champion_version: int | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether something is still to happen without a person."""
        return self.state in OPEN_STATES

    @property
    def promoted(self) -> bool:
        """Tell whether this run's model became the champion."""
        return self.state is RunState.PROMOTED

    def moved(self, state: RunState, now: datetime, **changes: object) -> "Run":
        """Return the run in another state; raises ConflictError for an illegal step."""
        if state not in TRANSITIONS[self.state]:
            raise ConflictError(f"a run cannot go from {self.state} to {state}")
        return self.noted(now, state=state, **changes)

    def noted(self, now: datetime, **changes: object) -> "Run":
        """Return the run with more known about it, one revision on."""
        update = {**changes, "updated_at": now, "revision": self.revision + 1}
        return self.model_copy(update=update)

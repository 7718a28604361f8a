"""A distillation run: its states, and the one record that owns the truth about it.

    SHARDED → TRAINING → DEPLOYING → EVALUATING → PROMOTED | REJECTED | AWAITING_APPROVAL
        └──────────┴──────────┴───────────┴─────→ FAILED | STOPPED

FAILED and STOPPED lead back to SHARDED only when a person asks for it (`search-router distill`),
AWAITING_APPROVAL to EVALUATING when another champion came before the approval.
Bedrock's own words are kept for Bedrock's own statuses (`job_status`, `deployment_status`).
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import TypedDict, Unpack

from pydantic import BaseModel, ConfigDict

from search_router.domain.errors import ConflictError
from search_router.domain.intake.selection import IntakeCounts
from search_router.domain.lifecycle.evaluation import Evaluation
from search_router.domain.lifecycle.judging import JudgeJob
from search_router.domain.local_tier.scores import HeldOutPatterns
from search_router.domain.serving.champions import ServingModel
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
    RunState.AWAITING_APPROVAL: frozenset(
        {RunState.PROMOTED, RunState.REJECTED, RunState.EVALUATING}
    ),
    RunState.PROMOTED: frozenset(),
    RunState.REJECTED: frozenset(),
    RunState.FAILED: frozenset({RunState.SHARDED}),
    RunState.STOPPED: frozenset({RunState.SHARDED}),
}
OPEN_STATES = frozenset(
    {RunState.SHARDED, RunState.TRAINING, RunState.DEPLOYING, RunState.EVALUATING}
)


class RunChanges(TypedDict, total=False):
    """What a step may change of a run."""

    reason: str
    teacher: str
    student: str
    max_output_tokens: int
    attempt: int
    job_name: str
    job_arn: str
    job_status: str
    model_arn: str
    deployment_name: str
    deployment_arn: str
    deployment_status: str
    torn_down: bool
    evaluating_until: datetime | None
    evaluation: Evaluation | None
    judging: tuple[JudgeJob, ...]
    judging_since: datetime
    champion_version: int


class Run(BaseModel):
    """Everything known about one run; replaced as a whole by conditional writes on `revision`.

    `teacher`, `student` and `max_output_tokens` are fixed when the job starts: what is evaluated
    and promoted later is what was trained, whatever the settings say by then.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    run_id: str
    state: RunState
    reason: str = ""
    revision: int = 0
    created_at: datetime
    updated_at: datetime
    state_since: datetime | None = None

    source_bucket: str
    source_key: str
    source_version: str | None
    counts: IntakeCounts = IntakeCounts()

    modalities: Modalities = ()
    system_prompt: str = ""
    prior: Weights = ()
    training_histograms: dict[str, list[int]] = {}
    training_sha256: str = ""
    estimated_usd: float = 0.0
    local_model: str = ""
    local_answers: int = 0
    held_out_patterns: HeldOutPatterns | None = None

    teacher: str = ""
    student: str = ""
    max_output_tokens: int = 0
    attempt: int = 1
    job_name: str = ""
    job_arn: str = ""
    job_status: str = ""
    model_arn: str = ""
    deployment_name: str = ""
    deployment_arn: str = ""
    deployment_status: str = ""
    torn_down: bool = False

    evaluating_until: datetime | None = None
    evaluation: Evaluation | None = None
    judging: tuple[JudgeJob, ...] = ()
    judging_since: datetime = datetime.min.replace(tzinfo=UTC)
    champion_version: int | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether something is still to happen without a person."""
        return self.state in OPEN_STATES

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing is to happen any more, by itself or by a person's approval."""
        return not self.is_open and self.state is not RunState.AWAITING_APPROVAL

    @property
    def failed_at_intake(self) -> bool:
        """Tell whether the upload itself was refused: it was FAILED when it was recorded."""
        return self.state is RunState.FAILED and self.revision == 0

    @property
    def in_state_since(self) -> datetime:
        """When the run came into the state that it is in; deadlines count from here."""
        return self.state_since or self.created_at

    @property
    def promoted(self) -> bool:
        """Tell whether this run's model became the champion."""
        return self.state is RunState.PROMOTED

    @property
    def serving(self) -> ServingModel:
        """How this run's model is to be asked, once it is deployed."""
        return ServingModel(
            model_id=self.deployment_arn,
            priced_as=self.student,
            system_prompt=self.system_prompt,
            modalities=self.modalities,
            max_output_tokens=self.max_output_tokens,
            prior=self.prior,
            training_histograms=self.training_histograms,
            local_model=self.local_model,
        )

    def moved(self, state: RunState, now: datetime, **changes: Unpack[RunChanges]) -> "Run":
        """Return the run in another state; raises ConflictError for an illegal step."""
        if state not in TRANSITIONS[self.state]:
            raise ConflictError(f"a run cannot go from {self.state} to {state}")
        return self._next(now, {**changes, "state": state, "state_since": now})

    def updated(self, now: datetime, **changes: Unpack[RunChanges]) -> "Run":
        """Return the run with more known about it, one revision on."""
        return self._next(now, {**changes})

    def _next(self, now: datetime, changes: dict[str, object]) -> "Run":
        revision = self.revision + 1
        return Run.model_validate(
            {**dict(self), **changes, "updated_at": now, "revision": revision}
        )

"""A distillation run: its states and its record, the source of truth for both.

    SHARDED → TRAINING → DEPLOYING → EVALUATING → PROMOTED | REJECTED | AWAITING_APPROVAL
        └──────────┴──────────┴───────────┴─────→ FAILED | STOPPED

Only an operator returns a FAILED or STOPPED run to SHARDED (`search-router distill`), and a
REJECTED one to DEPLOYING (`search-router promote --override`). An AWAITING_APPROVAL run returns to
EVALUATING if the champion changed before the approval.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import PlainSerializer

from search_router.domain.errors import ConflictError, InvalidInputError
from search_router.domain.intake.selection import IntakeCounts
from search_router.domain.lifecycle.evaluation import Evaluation
from search_router.domain.lifecycle.judging import Judging
from search_router.domain.local_tier.scores import HeldOutPatterns
from search_router.domain.records import Record
from search_router.domain.serving.champions import ServingModel
from search_router.domain.uploads import ObjectRef
from search_router.domain.weights import Modalities, Weights


class RunState(StrEnum):
    """The state of a run."""

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


ENDED_WITHOUT_MODEL = frozenset({RunState.FAILED, RunState.STOPPED})
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.SHARDED: frozenset({RunState.TRAINING, *ENDED_WITHOUT_MODEL}),
    RunState.TRAINING: frozenset({RunState.DEPLOYING, *ENDED_WITHOUT_MODEL}),
    RunState.DEPLOYING: frozenset({RunState.EVALUATING, *ENDED_WITHOUT_MODEL}),
    RunState.EVALUATING: frozenset(
        {RunState.PROMOTED, RunState.REJECTED, RunState.AWAITING_APPROVAL, *ENDED_WITHOUT_MODEL}
    ),
    RunState.AWAITING_APPROVAL: frozenset(
        {RunState.PROMOTED, RunState.REJECTED, RunState.EVALUATING}
    ),
    RunState.PROMOTED: frozenset(),
    RunState.REJECTED: frozenset({RunState.DEPLOYING}),
    RunState.FAILED: frozenset({RunState.SHARDED}),
    RunState.STOPPED: frozenset({RunState.SHARDED}),
}
OPEN_STATES = frozenset(
    {RunState.SHARDED, RunState.TRAINING, RunState.DEPLOYING, RunState.EVALUATING}
)

Source = Annotated[ObjectRef, PlainSerializer(ObjectRef._asdict, return_type=dict[str, Any])]


class TrainedLocalTier(Record):
    """The local tier's artifact; `answers` counts a distilled model's answers among its labels."""

    version: str
    answers: int = 0
    held_out_patterns: HeldOutPatterns | None = None


class Dataset(Record):
    """A run's training set and holdout.

    `prior` is the mean training label, `training_histograms` counts labels per modality and bin.
    `estimated_usd` covers the job and the evaluation; the `at_most` figures are upper bounds, which
    the budget uses. `local_tier` is None without any label.
    """

    counts: IntakeCounts
    modalities: Modalities
    system_prompt: str
    prior: Weights
    training_histograms: Mapping[str, list[int]] = {}
    training_sha256: str
    estimated_usd: float
    job_at_most_usd: float = 0.0
    evaluation_at_most_usd: float = 0.0
    local_tier: TrainedLocalTier | None = None


class TrainingJob(Record):
    """A distillation job.

    Teacher, student and token limit are fixed when the job starts. Evaluation and serving take them
    from here, because settings may change meanwhile.
    """

    teacher: str
    student: str
    max_output_tokens: int
    job_name: str
    job_arn: str
    job_status: str
    model_arn: str | None = None


class Deployment(Record):
    """The on-demand deployment of a run's model."""

    name: str
    arn: str
    status: str
    deleted: bool = False


class OperatorDecision(Record):
    """What an operator decided about a run, and why; the scores stay in the run's `reason`."""

    verdict: str
    by: str
    why: str
    at: datetime

    @property
    def sentence(self) -> str:
        """The decision in one line."""
        return f"{self.verdict} by {self.by}: {self.why}"


class Run(Record):
    """One run; stored as a whole by writes that are conditional on `revision`.

    `source` is the uploaded file or marker, `reason` explains the state, `attempt` counts training
    jobs from 1. `evaluating_until` is the end of the current evaluation's exclusive claim. Parts
    that a run does not have yet are None; one that was rejected as unreadable has no dataset.
    """

    run_id: str
    state: RunState
    reason: str = ""
    revision: int = 0
    created_at: datetime
    updated_at: datetime
    state_since: datetime
    source: Source
    dataset: Dataset | None = None
    attempt: int = 1
    training: TrainingJob | None = None
    deployment: Deployment | None = None
    evaluating_until: datetime | None = None
    evaluation: Evaluation | None = None
    judging: Judging | None = None
    champion_version: int | None = None
    decision: OperatorDecision | None = None

    @classmethod
    def create(
        cls,
        run_id: str,
        source: ObjectRef,
        now: datetime,
        dataset: Dataset | None,
        rejection: str | None = None,
    ) -> "Run":
        """Return a new run: SHARDED, or FAILED if its upload was rejected."""
        return cls(
            run_id=run_id,
            state=RunState.SHARDED if rejection is None else RunState.FAILED,
            reason=rejection or "",
            created_at=now,
            updated_at=now,
            state_since=now,
            source=source,
            dataset=dataset,
        )

    @property
    def is_open(self) -> bool:
        """Whether the run continues without an operator."""
        return self.state in OPEN_STATES

    @property
    def is_closed(self) -> bool:
        """Whether the run has ended and awaits no approval."""
        return not self.is_open and self.state is not RunState.AWAITING_APPROVAL

    @property
    def failed_at_intake(self) -> bool:
        """Whether the upload itself was rejected."""
        return self.state is RunState.FAILED and self.revision == 0

    @property
    def promoted(self) -> bool:
        """Whether the run's model became the champion."""
        return self.state is RunState.PROMOTED

    @property
    def why(self) -> str:
        """The operator's decision if there is one, otherwise the reason of the state."""
        return self.decision.sentence if self.decision else self.reason

    @property
    def counts(self) -> IntakeCounts:
        """The counts of the intake; zero if the upload was unreadable."""
        return self.dataset.counts if self.dataset else IntakeCounts()

    @property
    def serving(self) -> ServingModel:
        """The serving settings of the run's model; raises InvalidInputError before deployment."""
        if self.dataset is None or self.training is None or self.deployment is None:
            raise InvalidInputError(f"run has no deployed model: {self.run_id} is {self.state}")
        local_tier = self.dataset.local_tier
        return ServingModel(
            model_id=self.deployment.arn,
            priced_as=self.training.student,
            system_prompt=self.dataset.system_prompt,
            modalities=self.dataset.modalities,
            max_output_tokens=self.training.max_output_tokens,
            prior=self.dataset.prior,
            training_histograms=self.dataset.training_histograms,
            local_model=local_tier.version if local_tier else "",
        )

    def moved(
        self,
        state: RunState,
        now: datetime,
        reason: str = "",
        *,
        training: TrainingJob | None = None,
        deployment: Deployment | None = None,
        champion_version: int | None = None,
    ) -> "Run":
        """Return the run in another state, with the parts that came with it.

        Raises ConflictError for an illegal transition.
        """
        return self._moved(
            state,
            now,
            reason=reason,
            training=training or self.training,
            deployment=deployment or self.deployment,
            champion_version=champion_version or self.champion_version,
        )

    def updated(
        self,
        now: datetime,
        *,
        reason: str | None = None,
        training: TrainingJob | None = None,
        deployment: Deployment | None = None,
    ) -> "Run":
        """Return the run in the same state, with the parts that changed."""
        return self._next(
            now,
            reason=self.reason if reason is None else reason,
            training=training or self.training,
            deployment=deployment or self.deployment,
        )

    def claimed(self, until: datetime | None, now: datetime) -> "Run":
        """Return the run claimed by an evaluation until a time; None releases the claim."""
        return self._next(now, evaluating_until=until)

    def evaluated(self, evaluation: Evaluation, judging: Judging | None, now: datetime) -> "Run":
        """Return the run with its evaluation, and with the judge's jobs while they run."""
        return self._next(now, evaluation=evaluation, judging=judging, evaluating_until=None)

    def evaluated_again(self, now: datetime) -> "Run":
        """Return the run back in EVALUATING, without scores or judge."""
        cleared: dict[str, Any] = {"evaluation": None, "judging": None, "reason": ""}
        if self.state is RunState.EVALUATING:
            return self._next(now, **cleared)
        return self._moved(RunState.EVALUATING, now, **cleared)

    def restarted(self, now: datetime, *, again: bool) -> "Run":
        """Return an ended run as SHARDED, with nothing but its dataset; `again` counts an attempt.

        The next job of the same attempt has the same name, so the first one is adopted.
        """
        return self._moved(
            RunState.SHARDED,
            now,
            reason="",
            attempt=self.attempt + again,
            training=None,
            deployment=None,
            evaluating_until=None,
            evaluation=None,
            judging=None,
        )

    def decided(self, decision: OperatorDecision) -> "Run":
        """Return the run with an operator's decision, which is stored with the next move."""
        return self.replace(decision=decision)

    def overridden(self, decision: OperatorDecision) -> "Run":
        """Return a rejected run as DEPLOYING, so that its model becomes the champion."""
        if self.deployment is None or self.evaluation is None:
            raise InvalidInputError(f"run has no evaluated model: {self.run_id} is {self.state}")
        deployment = self.deployment.replace(status=DeploymentStatus.CREATING.value, deleted=False)
        now = decision.at
        return self._moved(RunState.DEPLOYING, now, decision=decision, deployment=deployment)

    def _moved(self, state: RunState, now: datetime, **changes: Any) -> "Run":
        if state not in TRANSITIONS[self.state]:
            raise ConflictError(f"a run cannot go from {self.state} to {state}")
        return self._next(now, state=state, state_since=now, **changes)

    def _next(self, now: datetime, **changes: Any) -> "Run":
        return self.replace(**changes, updated_at=now, revision=self.revision + 1)

"""Moves of the champion pointer: by promotion, by an operator's approval or rollback."""

from dataclasses import dataclass

from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.lifecycle.runs import (
    DeploymentStatus,
    OperatorDecision,
    Run,
    RunState,
)
from search_router.domain.serving.champions import Champion, ChampionMove
from search_router.ports import ChampionRepository, Clock, Deployments
from search_router.use_cases.deploy_model import RunDeployments
from search_router.use_cases.run_lifecycle import RunLifecycle


def promote(
    run: Run,
    current: Champion | None,
    reason: str,
    champions: ChampionRepository,
    lifecycle: RunLifecycle,
) -> Run:
    """Make a run's model the champion in one write.

    A version number is never reused, also after a rollback. Raises ConflictError if the champion
    changed meanwhile.
    """
    now = lifecycle.now
    champion = Champion(
        version=champions.last_version() + 1,
        run_id=run.run_id,
        serving=run.serving,
        promoted_at=now,
        previous_version=current.version if current else None,
    )
    promoted = run.moved(RunState.PROMOTED, now, reason, champion_version=champion.version)
    champions.promote(champion, current, promoted)
    lifecycle.publish(promoted)
    return promoted


def is_stale(run: Run, current: Champion | None) -> bool:
    """Whether a run was compared with another champion than the current one.

    A model is compared neither with itself nor with a model of other modalities.
    """
    serving = run.serving
    if current is None or current.serving.modalities != serving.modalities:
        return False
    if current.serving.model_id == serving.model_id:
        return False
    compared_with = run.evaluation.champion_version if run.evaluation else None
    return compared_with != current.version


def unmeasured_changes(run: Run, current: Champion | None) -> list[str]:
    """Return what a run would change in serving that no exam measures; nothing without champion."""
    if current is None:
        return []
    local_tier = run.dataset.local_tier if run.dataset else None
    changes = {
        "system prompt": run.serving.system_prompt != current.serving.system_prompt,
        "modalities": run.serving.modalities != current.serving.modalities,
        "local tier trained on uploaded answers": bool(local_tier and local_tier.answers),
    }
    return [name for name, is_changed in changes.items() if is_changed]


@dataclass(frozen=True, slots=True)
class Approvals:
    """Records an operator's decision on a run that awaits approval or was rejected."""

    champions: ChampionRepository
    run_deployments: RunDeployments

    @property
    def lifecycle(self) -> RunLifecycle:
        """Stores runs and publishes their events."""
        return self.run_deployments.lifecycle

    def promote(self, run_id: str, by: str, why: str) -> Run:
        """Promote the run, or evaluate it again if the champion changed since its comparison.

        Raises NotFoundError for an unknown run, InvalidInputError for one that awaits no approval.
        """
        run = self._decided(run_id, RunState.AWAITING_APPROVAL, "approved", by, why)
        current = self.champions.current()
        if is_stale(run, current):
            again = run.evaluated_again(self.lifecycle.now)
            return self.lifecycle.move(again.replace(decision=None))
        return promote(run, current, run.reason, self.champions, self.lifecycle)

    def reject(self, run_id: str, by: str, why: str) -> Run:
        """Reject the run and delete its deployment; raises as `promote` does."""
        run = self._decided(run_id, RunState.AWAITING_APPROVAL, "rejected", by, why)
        moved = run.moved(RunState.REJECTED, self.lifecycle.now, run.reason)
        return self.run_deployments.delete_unused(self.lifecycle.move(moved))

    def override(self, run_id: str, by: str, why: str) -> Run:
        """Deploy the model of a rejected run again; it becomes the champion when it is Active.

        Raises NotFoundError for an unknown run or model, InvalidInputError for a run that was not
        rejected or has no model.
        """
        run = self.lifecycle.find(run_id)
        decision = self._decision(run, RunState.REJECTED, "promoted by override", by, why)
        reopened = run.overridden(decision)
        if run.deployment is None or run.training is None or not run.training.model_arn:
            raise InvalidInputError(f"run has no model: {run_id} is {run.state}")
        self.run_deployments.deployments.deploy(run.deployment.name, run.training.model_arn)
        self.lifecycle.runs.reopen(reopened)
        return reopened

    def _decided(self, run_id: str, state: RunState, verdict: str, by: str, why: str) -> Run:
        run = self.lifecycle.find(run_id)
        return run.decided(self._decision(run, state, verdict, by, why))

    def _decision(
        self, run: Run, state: RunState, verdict: str, by: str, why: str
    ) -> OperatorDecision:
        if run.state is not state:
            reason = f" ({run.reason})" if run.reason else ""
            wanted = (
                "await approval" if state is RunState.AWAITING_APPROVAL else "count as rejected"
            )
            raise InvalidInputError(f"run does not {wanted}: {run.run_id} is {run.state}{reason}")
        return OperatorDecision(verdict=verdict, by=by, why=why, at=self.lifecycle.now)


@dataclass(frozen=True, slots=True)
class Rollback:
    """Moves the pointer back to a former champion."""

    champions: ChampionRepository
    deployments: Deployments
    clock: Clock

    def __call__(self, version: int | None, reason: str) -> Champion:
        """Make a former champion serve from the next query on; None means the previous one.

        Raises InvalidInputError if there is no such version, or if its deployment is not Active.
        """
        current = self.champions.current()
        if current is None:
            raise InvalidInputError("no champion serves, so there is no version to roll back to")
        wanted = current.previous_version if version is None else version
        former = self.champions.version(wanted) if wanted is not None else None
        if former is None:
            missing = "no previous version" if wanted is None else f"version not found: {wanted}"
            raise InvalidInputError(f"{missing}. List them with `search-router champions`.")
        if former.version == current.version:
            raise InvalidInputError(f"version {current.version} is the current champion")
        self._require_deployment(former)
        move = ChampionMove(
            moved_at=self.clock.now(),
            from_version=current.version,
            to_version=former.version,
            reason=reason,
        )
        self.champions.roll_back(former, current, move)
        return former

    def _require_deployment(self, former: Champion) -> None:
        try:
            status = self.deployments.deployment(former.serving.model_id).status
        except NotFoundError:
            status = "deleted"
        if status != DeploymentStatus.ACTIVE:
            raise InvalidInputError(
                f"deployment of version {former.version} is {status}. Upload its prompt file again "
                "to deploy the model anew without a new job."
            )

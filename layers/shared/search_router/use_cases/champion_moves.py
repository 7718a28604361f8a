"""How the champion pointer moves: by a promotion, by a person's approval, by a rollback."""

from dataclasses import dataclass

from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.lifecycle.runs import DeploymentStatus, Run, RunState
from search_router.domain.serving.champions import Champion, ChampionMove
from search_router.ports import ChampionRepository, Clock, Deployments
from search_router.use_cases.run_lifecycle import RunLifecycle


def promote(
    run: Run,
    current: Champion | None,
    reason: str,
    *,
    champions: ChampionRepository,
    lifecycle: RunLifecycle,
) -> Run:
    """Make a run's model the champion in one write; raises ConflictError if another came first.

    Version numbers are never used again: after a rollback the next champion gets a new one.
    """
    now = lifecycle.clock.now()
    champion = Champion(
        version=champions.last_version() + 1,
        run_id=run.run_id,
        serving=run.serving,
        promoted_at=now,
        previous_version=current.version if current else None,
    )
    promoted = run.moved(RunState.PROMOTED, now, reason=reason, champion_version=champion.version)
    champions.promote(champion, current, promoted)
    lifecycle.publish(promoted)
    return promoted


def is_stale(run: Run, current: Champion | None) -> bool:
    """Tell whether a run was compared with another champion than the one it would replace.

    A model is not compared with itself, nor with one of other modalities.
    """
    if current is None or current.serving.modalities != run.modalities:
        return False
    if current.serving.model_id == run.deployment_arn:
        return False
    compared_with = run.evaluation.champion_version if run.evaluation else None
    return compared_with != current.version


def approve(
    run_id: str, reason: str, *, champions: ChampionRepository, lifecycle: RunLifecycle
) -> Run:
    """Promote a run that awaits a person's approval.

    A run that was compared with a former champion is compared again instead, and awaits approval
    once more. Raises NotFoundError for an unknown run, InvalidInputError for one that awaits none.
    """
    run = lifecycle.runs.get(run_id)
    if run is None:
        raise NotFoundError(f"there is no run {run_id}")
    if run.state is not RunState.AWAITING_APPROVAL:
        why = f": {run.reason}" if run.reason else ""
        raise InvalidInputError(f"{run_id} does not await approval, it is {run.state}{why}")
    current = champions.current()
    if is_stale(run, current):
        return lifecycle.move(run, RunState.EVALUATING, evaluation=None, reason="")
    return promote(run, current, reason, champions=champions, lifecycle=lifecycle)


@dataclass(frozen=True, slots=True)
class Rollback:
    """Takes the pointer back to a champion that served before."""

    champions: ChampionRepository
    deployments: Deployments
    clock: Clock

    def to(self, version: int | None, reason: str) -> Champion:
        """Let a former champion serve again, by default the one before the present one.

        One write; from the next query on it answers, with its own prompt. Raises InvalidInputError
        if there is none, or if its deployment is not there to answer.
        """
        current = self.champions.current()
        if current is None:
            raise InvalidInputError("nothing serves yet, so there is nothing to roll back")
        wanted = current.previous_version if version is None else version
        former = self.champions.version(wanted) if wanted is not None else None
        if former is None:
            raise InvalidInputError(f"version {current.version} has no such predecessor: {wanted}")
        if former.version == current.version:
            raise InvalidInputError(f"version {current.version} serves already")
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
        again = "upload its prompt file again: the model is deployed anew without a new job"
        try:
            deployment = self.deployments.deployment(former.serving.model_id)
        except NotFoundError:
            raise InvalidInputError(
                f"the deployment of version {former.version} was removed; {again}"
            ) from None
        if deployment.status != DeploymentStatus.ACTIVE:
            raise InvalidInputError(
                f"the deployment of version {former.version} is {deployment.status}; {again}"
            )

"""A model is evaluated: make it the champion, or reject it and tear its deployment down."""

from search_router.domain.champions import Champion
from search_router.domain.promotion import PromotionRules, Verdict, decide_promotion
from search_router.domain.runs import Run, RunState
from search_router.ports import (
    ChampionRepository,
    Clock,
    Deployments,
    EventPublisher,
    RunRepository,
)
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle


def promote_model(
    run_id: str,
    *,
    rules: PromotionRules,
    runs: RunRepository,
    champions: ChampionRepository,
    deployments: Deployments,
    events: EventPublisher,
    clock: Clock,
) -> Run | Ignored:
    """Decide on an evaluated run; exactly one of two that finish together can win.

    Raises ConflictError when another champion came between; the retry compares with that one.
    """
    run = runs.get(run_id)
    if run is None:
        return Ignored("unknown run")
    lifecycle = RunLifecycle(runs, events, clock)
    if run.state in (RunState.PROMOTED, RunState.REJECTED):
        lifecycle.announce(run)
        return lifecycle.tear_down_ended(run, deployments)
    if run.state is not RunState.EVALUATING or run.evaluation is None:
        return Ignored(f"the run is {run.state}, not evaluated")
    current = champions.current()
    if current is not None and current.serving.model_id == run.deployment_arn:
        return _already_champion(run, current, lifecycle)
    if current is not None and _is_stale(run, current):
        again = lifecycle.note(run, evaluation=None)
        lifecycle.announce(again)
        return again
    decision = decide_promotion(run.evaluation, rules)
    if decision.verdict is Verdict.ASK:
        return lifecycle.move(run, RunState.AWAITING_APPROVAL, reason=decision.reason)
    if decision.verdict is Verdict.REJECT:
        rejected = lifecycle.move(run, RunState.REJECTED, reason=decision.reason)
        return lifecycle.tear_down_ended(rejected, deployments)
    champion = Champion(
        version=champions.last_version() + 1,
        run_id=run.run_id,
        serving=run.serving,
        promoted_at=clock.now(),
        previous_version=current.version if current else None,
    )
    promoted = run.moved(
        RunState.PROMOTED, clock.now(), reason=decision.reason, champion_version=champion.version
    )
    champions.promote(champion, current, promoted)
    lifecycle.announce(promoted)
    return promoted


def _is_stale(run: Run, current: Champion) -> bool:
    """Tell whether the run was compared with another champion than the one it would replace."""
    compared_with = run.evaluation.champion_version if run.evaluation else None
    return current.serving.modalities == run.modalities and compared_with != current.version


def _already_champion(run: Run, current: Champion, lifecycle: RunLifecycle) -> Run:
    """Close a run whose training data was bought before: its model serves already."""
    reason = f"the same model serves already as version {current.version}"
    return lifecycle.move(run, RunState.PROMOTED, reason=reason, champion_version=current.version)

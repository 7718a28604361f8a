"""A model is evaluated: make it the champion, or reject it and tear its deployment down."""

from search_router.domain.lifecycle.promotion import (
    PromotionPolicy,
    PromotionRules,
    Verdict,
    decide_promotion,
)
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.serving.champions import Champion
from search_router.ports import (
    ChampionRepository,
    Clock,
    Deployments,
    EventPublisher,
    RunRepository,
)
from search_router.use_cases.champion_moves import is_stale, promote
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
        lifecycle.publish(run)
        return lifecycle.tear_down_ended(run, deployments)
    if run.state is not RunState.EVALUATING or run.evaluation is None:
        return Ignored(f"the run is {run.state}, not evaluated")
    current = champions.current()
    if current is not None and current.serving.model_id == run.deployment_arn:
        return _already_champion(run, current, rules, champions, lifecycle)
    if is_stale(run, current):
        again = lifecycle.update(run, evaluation=None)
        lifecycle.publish(again)
        return again
    decision = decide_promotion(run.evaluation, rules)
    if decision.verdict is Verdict.ASK:
        return lifecycle.move(run, RunState.AWAITING_APPROVAL, reason=decision.reason)
    if decision.verdict is Verdict.REJECT:
        rejected = lifecycle.move(run, RunState.REJECTED, reason=decision.reason)
        return lifecycle.tear_down_ended(rejected, deployments)
    return promote(run, current, decision.reason, champions=champions, lifecycle=lifecycle)


def _already_champion(
    run: Run,
    current: Champion,
    rules: PromotionRules,
    champions: ChampionRepository,
    lifecycle: RunLifecycle,
) -> Run:
    """Close a run whose training data was bought before: its model serves already.

    With another local tier beside it, it is another champion; figures of the model cannot tell
    which of the two is better.
    """
    if run.local_model == current.serving.local_model:
        reason = f"the same model serves already as version {current.version}"
        version = current.version
        return lifecycle.move(run, RunState.PROMOTED, reason=reason, champion_version=version)
    reason = f"the model of version {current.version} with another local tier"
    if rules.policy is PromotionPolicy.ASK_ALWAYS:
        return lifecycle.move(run, RunState.AWAITING_APPROVAL, reason=reason)
    return promote(run, current, reason, champions=champions, lifecycle=lifecycle)

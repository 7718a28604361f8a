"""A model is evaluated: make it the champion, or reject it and tear its deployment down."""

from search_router.domain.champions import Champion
from search_router.domain.events import Ignored, ModelDeployed, ModelPromoted
from search_router.domain.promotion import judge
from search_router.domain.runs import Run, RunState
from search_router.ports import (
    ChampionRepository,
    Clock,
    EventPublisher,
    ModelCustomizer,
    RunRepository,
)
from search_router.use_cases.run_lifecycle import RunLifecycle

_LIVE_STATES = frozenset({RunState.DEPLOYING, RunState.EVALUATING, RunState.PROMOTED})


def promote_model(
    run_id: str,
    *,
    student: str,
    max_output_tokens: int,
    runs: RunRepository,
    champions: ChampionRepository,
    customizer: ModelCustomizer,
    events: EventPublisher,
    clock: Clock,
) -> Run | Ignored:
    """Decide on an evaluated run; exactly one of two that finish together can win.

    Raises ConflictError when another champion came between; the retry compares with that one.
    """
    run = runs.get(run_id)
    if run is None:
        return Ignored("unknown run")
    if run.state is not RunState.EVALUATING or run.evaluation is None:
        return Ignored(f"the run is {run.state}, not evaluated")
    lifecycle = RunLifecycle(runs, events, clock)
    current = champions.current()
    if current is not None and current.deployment_arn == run.deployment_arn:
        return _already_champion(run, current, lifecycle)
    if current is not None and _is_stale(run, current):
        return _measure_again(run, lifecycle)
    verdict = judge(run.evaluation)
    if not verdict.promote:
        _tear_down(run, runs, customizer)
        return lifecycle.reject(run, verdict.reason)
    champion = Champion(
        version=current.version + 1 if current else 1,
        run_id=run.run_id,
        deployment_arn=run.deployment_arn,
        system_prompt=run.system_prompt,
        modalities=run.modalities,
        max_output_tokens=max_output_tokens,
        prior=run.prior,
        student_model_id=student,
        promoted_at=clock.now(),
    )
    promoted = run.moved(
        RunState.PROMOTED, clock.now(), reason=verdict.reason, champion_version=champion.version
    )
    champions.promote(champion, current, promoted)
    events.publish(ModelPromoted(run_id=run_id, champion_version=champion.version))
    return promoted


def _is_stale(run: Run, current: Champion) -> bool:
    """Tell whether the run was compared with another champion than the one it would replace."""
    compared_with = run.evaluation.champion_version if run.evaluation else None
    return current.modalities == run.modalities and compared_with != current.version


def _already_champion(run: Run, current: Champion, lifecycle: RunLifecycle) -> Run:
    """Close a run whose training data was bought before: its model serves already."""
    reason = f"the same model serves already as version {current.version}"
    version = current.version
    promoted = lifecycle.move(run, RunState.PROMOTED, reason=reason, champion_version=version)
    lifecycle.events.publish(ModelPromoted(run_id=run.run_id, champion_version=version))
    return promoted


def _measure_again(run: Run, lifecycle: RunLifecycle) -> Run:
    again = lifecycle.note(run, evaluation=None)
    lifecycle.events.publish(ModelDeployed(run_id=run.run_id))
    return again


def _tear_down(run: Run, runs: RunRepository, customizer: ModelCustomizer) -> None:
    """Delete the loser's deployment unless a run of the same bytes still needs it.

    It comes before the run is closed, so that a crash in between is mended by the retry.
    """
    twins = [runs.get(other) for other in runs.runs_of_job(run.job_name) if other != run.run_id]
    if not any(twin is not None and twin.state in _LIVE_STATES for twin in twins):
        customizer.tear_down(run.deployment_arn)

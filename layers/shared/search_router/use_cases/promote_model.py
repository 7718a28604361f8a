"""ModelEvaluated: make the model the champion, or reject it and delete its deployment."""

from dataclasses import dataclass

from search_router.domain.lifecycle.evaluation import Evaluation
from search_router.domain.lifecycle.promotion import (
    PromotionPolicy,
    PromotionRules,
    Verdict,
    decide_promotion,
)
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.serving.champions import Champion
from search_router.ports import ChampionRepository
from search_router.use_cases.champion_moves import is_stale, promote, unmeasured_changes
from search_router.use_cases.deploy_model import RunDeployments
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle


@dataclass(frozen=True, slots=True)
class PromoteModel:
    """Decides on evaluated runs; of two that finish together exactly one can win."""

    rules: PromotionRules
    lifecycle: RunLifecycle
    champions: ChampionRepository
    run_deployments: RunDeployments

    def __call__(self, run_id: str) -> Run | Ignored:
        """Promote or reject the run, await approval, or evaluate it against a new champion.

        Raises ConflictError if the champion changed meanwhile; the retry compares with that one.
        """
        run = self.lifecycle.runs.get(run_id)
        if run is None:
            return Ignored("unknown run")
        if run.state in (RunState.PROMOTED, RunState.REJECTED):
            self.lifecycle.publish(run)
            return self.run_deployments.delete_unused(run)
        if run.state is not RunState.EVALUATING or run.evaluation is None:
            return Ignored(f"the run is {run.state}, not evaluated")
        current = self.champions.current()
        if current is not None and current.serving.model_id == run.serving.model_id:
            return self._decide_on_champion(run, current)
        if run.decision is not None:  # an operator's override of a rejection
            reason = decide_promotion(run.evaluation, self.rules).reason
            return promote(run, current, reason, self.champions, self.lifecycle)
        return self._decide_by_scores(run, run.evaluation, current)

    def _decide_by_scores(self, run: Run, evaluation: Evaluation, current: Champion | None) -> Run:
        if is_stale(run, current):
            return self.lifecycle.move(run.evaluated_again(self.lifecycle.now))
        decision = decide_promotion(evaluation, self.rules, unmeasured_changes(run, current))
        if decision.verdict is Verdict.ASK:
            return self._move(run, RunState.AWAITING_APPROVAL, decision.reason)
        if decision.verdict is Verdict.REJECT:
            rejected = self._move(run, RunState.REJECTED, decision.reason)
            return self.run_deployments.delete_unused(rejected)
        return promote(run, current, decision.reason, self.champions, self.lifecycle)

    def _decide_on_champion(self, run: Run, current: Champion) -> Run:
        """Decide on a run of the same training data as the champion, hence of the same model.

        With another local tier it becomes a new version; the model's scores cannot decide which of
        the two tiers is better.
        """
        if run.serving.local_model == current.serving.local_model:
            reason = f"the same model serves as version {current.version}"
            now, version = self.lifecycle.now, current.version
            moved = run.moved(RunState.PROMOTED, now, reason, champion_version=version)
            return self.lifecycle.move(moved)
        reason = f"the model of version {current.version} with another local tier"
        if self.rules.policy is not PromotionPolicy.NEVER_ASK:
            return self._move(run, RunState.AWAITING_APPROVAL, reason)
        return promote(run, current, reason, self.champions, self.lifecycle)

    def _move(self, run: Run, state: RunState, reason: str) -> Run:
        return self.lifecycle.move(run.moved(state, self.lifecycle.now, reason))

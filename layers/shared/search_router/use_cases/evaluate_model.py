"""A model is deployed: measure it on the holdout, beside the base student and the champion."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from search_router.domain import naming
from search_router.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermanentError,
    TransientError,
)
from search_router.domain.lifecycle.evaluation import (
    BASE,
    BASELINE,
    CANDIDATE,
    CHAMPION,
    Evaluation,
)
from search_router.domain.lifecycle.judging import JudgeJob
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.local_tier.artifact import unpack
from search_router.domain.local_tier.scores import LocalTierScores, score_local_model
from search_router.domain.naming import foundation_model_id
from search_router.domain.serving.cascade import Model
from search_router.domain.serving.champions import Champion, ServingModel
from search_router.domain.serving.decisions import Decision, ModelReply
from search_router.ports import (
    ChampionRepository,
    Clock,
    EvaluationJobs,
    EventPublisher,
    ObjectStore,
    RunRepository,
)
from search_router.use_cases.answers import Answers, TimeIsUpError
from search_router.use_cases.judging import JudgePlan, start_judging
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.references import LabelledHoldout, detailed, labelled_holdout
from search_router.use_cases.run_lifecycle import RunLifecycle
from search_router.use_cases.scorecard import Scorecard

CLAIM = timedelta(minutes=5)
_RENEWAL = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """The settings of every evaluation; an empty `baseline` means that there is none."""

    baseline: str = ""
    judge: JudgePlan = field(default_factory=JudgePlan)


def evaluate_model(
    run_id: str,
    *,
    plan: EvaluationPlan,
    runs: RunRepository,
    champions: ChampionRepository,
    objects: ObjectStore,
    model: Model,
    judges: EvaluationJobs,
    events: EventPublisher,
    clock: Clock,
) -> Run | Ignored:
    """Score the run's candidate and its rivals and record the evaluation on the run.

    One attempt at a time works on a run; its claim runs out soon after it dies. An attempt whose
    time is up calls for the next one, which goes on where it stopped. Raises TransientError when a
    model could not answer, or when an attempt's time was too short to get anywhere.
    """
    run = runs.get(run_id)
    if run is None:
        return Ignored("unknown run")
    lifecycle = RunLifecycle(runs, events, clock)
    if refusal := _refusal(run, clock.now()):
        return Ignored(refusal)
    if run.evaluation is not None:
        lifecycle.publish(run)
        return run
    claim = _Claim(run, lifecycle)
    claim.renew()
    answers = Answers(run_id, objects, _Renewing(model, claim))
    try:
        return _attempt(claim, plan, champions.current(), objects, answers, judges)
    except ConflictError:
        raise  # the claim is another's by now
    except PermanentError as error:
        return lifecycle.move(claim.run, RunState.FAILED, reason=str(error))
    except TimeIsUpError:
        return _go_on_later(claim, answers)
    except Exception:
        claim.release()
        raise


def _attempt(
    claim: "_Claim",
    plan: EvaluationPlan,
    champion: Champion | None,
    objects: ObjectStore,
    answers: Answers,
    judges: EvaluationJobs,
) -> Run:
    """Measure all models, have them judged, and record it; without any label, reject the run."""
    run = claim.run
    holdout = labelled_holdout(run, objects, answers)
    if not holdout.labels:
        reason = "no row of the holdout has a label, nor could the teacher give one"
        return claim.lifecycle.move(claim.run, RunState.REJECTED, reason=reason)
    evaluation = _evaluate(run, plan, champion, holdout, objects, answers, claim.lifecycle.clock)
    judging = start_judging(
        run,
        holdout.labels,
        evaluation,
        plan.judge,
        jobs=judges,
        objects=objects,
        answers=answers,
    )
    return _conclude(claim, evaluation, judging)


def _refusal(run: Run, now: datetime) -> str | None:
    """Say why there is nothing to evaluate now."""
    if run.state is not RunState.EVALUATING:
        return f"the run is {run.state}, not EVALUATING"
    is_claimed = run.evaluating_until is not None and now < run.evaluating_until
    return "the run is being evaluated" if is_claimed and run.evaluation is None else None


def _conclude(claim: "_Claim", evaluation: Evaluation, judging: tuple[JudgeJob, ...]) -> Run:
    """Record the evaluation, and which jobs judge it."""
    evaluated = claim.lifecycle.update(
        claim.run,
        evaluation=evaluation,
        judging=judging,
        judging_since=claim.lifecycle.clock.now(),
        evaluating_until=None,
    )
    claim.lifecycle.publish(evaluated)
    return evaluated


def _go_on_later(claim: "_Claim", answers: Answers) -> Run:
    """Call for the next attempt if this one came any further; raises TimeIsUpError otherwise."""
    run = claim.release()
    if not answers.kept:
        raise TimeIsUpError("the time was too short for a hundred answers")
    claim.lifecycle.publish(run)
    return run


def _evaluate(
    run: Run,
    plan: EvaluationPlan,
    champion: Champion | None,
    holdout: LabelledHoldout,
    objects: ObjectStore,
    answers: Answers,
    clock: Clock,
) -> Evaluation:
    base = run.serving.model_copy(update={"model_id": foundation_model_id(run.student)})
    rival = _rival(run, champion)
    card = Scorecard(run, holdout, objects)
    card.add(CANDIDATE, run.serving, answers.of(CANDIDATE, run.serving, holdout.labels))
    card.add(BASE, base, answers.of(BASE, base, holdout.labels))
    if rival is not None and (found := _champions_answers(rival, holdout, answers)) is not None:
        card.add(CHAMPION, rival.serving, found)
    if plan.baseline:
        large = detailed(plan.baseline, run)
        card.add(BASELINE, large, answers.of(BASELINE, large, holdout.labels))
    evaluation = card.evaluation(rival.version if rival else None)
    return evaluation.model_copy(update={"local_tier": _local_tier(run, holdout, objects, clock)})


def _local_tier(
    run: Run, holdout: LabelledHoldout, objects: ObjectStore, clock: Clock
) -> LocalTierScores | None:
    """Score the run's local model, if it has one that can be read."""
    if not run.local_model:
        return None
    with suppress(PermanentError):
        artifact = objects.get(naming.local_model_key(run.local_model))
        model = unpack(artifact, run.modalities)
        start = clock.monotonic()
        for query in holdout.labels:
            model.answer(query)
        microseconds = 1_000_000 * (clock.monotonic() - start) / len(holdout.labels)
        scores = score_local_model(
            run.local_model, model, holdout.labels, run.prior, round(microseconds, 1)
        )
        trained = {"held_out_patterns": run.held_out_patterns, "answers": run.local_answers}
        return scores.model_copy(update=trained)
    return None


def _champions_answers(
    rival: Champion, holdout: LabelledHoldout, answers: Answers
) -> dict[str, Decision] | None:
    """Ask the champion; one whose deployment is gone can neither serve nor win."""
    with suppress(NotFoundError):
        return answers.of(f"{CHAMPION}-{rival.version}", rival.serving, holdout.labels)
    return None


def _rival(run: Run, champion: Champion | None) -> Champion | None:
    """Return the champion if it can be compared: other modalities cannot, itself need not be."""
    if champion is None or champion.serving.model_id == run.deployment_arn:
        return None
    return champion if champion.serving.modalities == run.modalities else None


class _Claim:
    """The right to evaluate a run, for some minutes from the last sign of life."""

    def __init__(self, run: Run, lifecycle: RunLifecycle) -> None:
        self.run = run
        self.lifecycle = lifecycle

    def renew(self) -> None:
        """Begin or prolong the claim; raises ConflictError when somebody else moved the run."""
        until = self.lifecycle.clock.now() + CLAIM
        self.run = self.lifecycle.update(self.run, evaluating_until=until)

    def renew_if_due(self) -> None:
        """Prolong the claim at most once a minute."""
        until = self.run.evaluating_until
        if until is None or until - self.lifecycle.clock.now() < CLAIM - _RENEWAL:
            self.renew()

    def release(self) -> Run:
        """Let the next attempt begin at once."""
        self.run = self.lifecycle.update(self.run, evaluating_until=None)
        return self.run


@dataclass(frozen=True, slots=True)
class _Renewing:
    """A model whose every reply is a sign of life."""

    model: Model
    claim: _Claim

    def ask(
        self, serving: ServingModel, queries: Iterable[str]
    ) -> Iterator[tuple[str, ModelReply | InvalidInputError | TransientError]]:
        """Ask the model."""
        for answer in self.model.ask(serving, queries):
            self.claim.renew_if_due()
            yield answer

"""ModelDeployed: score the model, the base student and the champion on the holdout."""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from search_router.domain import naming
from search_router.domain.errors import (
    ConflictError,
    NotFoundError,
    OperatorError,
    PermanentError,
    TransientError,
)
from search_router.domain.intervals import Resampling
from search_router.domain.lifecycle.evaluation import (
    BASE,
    BASELINE,
    CANDIDATE,
    CHAMPION,
    Evaluation,
    Exam,
    NoiseCeiling,
)
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.lifecycle.scoring import compare, score, side_by_side
from search_router.domain.local_tier.artifact import unpack
from search_router.domain.local_tier.scores import LocalTierScores, score_local_model
from search_router.domain.naming import foundation_model_id
from search_router.domain.serving.cascade import Model
from search_router.domain.serving.champions import Champion, ServingModel
from search_router.domain.serving.decisions import Decision, ModelAnswer
from search_router.domain.weights import Weights
from search_router.ports import ChampionRepository, ObjectStore
from search_router.use_cases.answers import (
    Answers,
    LabelledHoldout,
    TimeIsUpError,
    labelled_holdout,
    with_detailed_prompt,
)
from search_router.use_cases.golden_set import GoldenSet
from search_router.use_cases.judging import Judge
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle
from search_router.use_cases.spending import Budget

CLAIM = timedelta(minutes=5)
_RENEWAL = timedelta(minutes=1)
BASELINE_PATIENCE = timedelta(hours=6)  # a quarter of the time that an evaluation may take


@dataclass(frozen=True, slots=True)
class EvaluateModel:
    """Evaluates runs; without a `baseline` model only student and champion are compared."""

    baseline: str
    lifecycle: RunLifecycle
    champions: ChampionRepository
    objects: ObjectStore
    judge: Judge
    golden_set: GoldenSet
    budget: Budget

    def __call__(self, run_id: str, model: Model) -> Run | Ignored:
        """Score the run's model and its rivals, and record the evaluation on the run.

        One attempt at a time works on a run; its claim expires soon after it dies. An attempt whose
        time is up publishes ModelDeployed for the next one, which continues with the stored
        answers. Raises TransientError when a model could not answer, or when the time was too
        short for any progress.
        """
        run = self.lifecycle.runs.get(run_id)
        if run is None:
            return Ignored("unknown run")
        if run.state is not RunState.EVALUATING or run.training is None:
            return Ignored(f"the run is {run.state}, not EVALUATING")
        if run.evaluation is not None:
            self.lifecycle.publish(run)
            return run
        if run.evaluating_until is not None and self.lifecycle.now < run.evaluating_until:
            return Ignored("the run is being evaluated")
        return self._attempt(_Claim(run, self.lifecycle, model), run.training.teacher)

    def _attempt(self, claim: "_Claim", teacher: str) -> Run:
        claim.renew()
        answers = Answers(claim.run.run_id, self.objects, claim, self.budget)
        try:
            return self._evaluate(claim, answers, teacher)
        except ConflictError:
            raise  # another attempt has the claim
        except PermanentError as error:
            failed = claim.run.moved(RunState.FAILED, self.lifecycle.now, str(error))
            return self.lifecycle.move(failed)
        except TimeIsUpError:
            return self._continue_later(claim, answers)
        except Exception:
            claim.release()
            raise

    def _evaluate(self, claim: "_Claim", answers: Answers, teacher: str) -> Run:
        """Score all models and start the judge; reject a run without a labelled holdout."""
        run, lifecycle = claim.run, self.lifecycle
        serving, champion = run.serving, self.champions.current()
        holdout = labelled_holdout(answers, serving, teacher)
        if not holdout.labels:
            reason = "no row of the holdout has a label, and the teacher gave none"
            return lifecycle.move(claim.run.moved(RunState.REJECTED, lifecycle.now, reason))
        rival = _rival(serving, champion)
        evaluation = self._score(run, holdout, answers, rival)
        evaluation = evaluation.replace(exams=tuple(self._examine(run, answers, rival)))
        judging = self.judge.start(
            answers, holdout.labels, evaluation, serving.modalities, lifecycle.now
        )
        return lifecycle.move(claim.run.evaluated(evaluation, judging, lifecycle.now))

    def _continue_later(self, claim: "_Claim", answers: Answers) -> Run:
        run = claim.release()
        if not answers.written:
            raise TimeIsUpError("time ran out before a hundred queries were answered")
        self.lifecycle.publish(run)
        return run

    def _score(
        self, run: Run, holdout: LabelledHoldout, answers: Answers, rival: Champion | None
    ) -> Evaluation:
        labels, modalities = list(holdout.labels.values()), run.serving.modalities
        measured = dict(self._ask_models(run.serving, holdout, answers, rival))
        baseline_problem = self._ask_baseline(run, holdout, answers, measured)
        resampling = Resampling(len(labels))
        scores = {
            name: score(model_id, decisions, labels, modalities, resampling)
            for name, (model_id, decisions) in measured.items()
        }
        opponent = CHAMPION if CHAMPION in scores else BASE
        candidate = measured[CANDIDATE][1]
        shown = side_by_side(holdout.labels, (candidate, measured[BASE][1]), modalities)
        shown_key = naming.run_key(run.run_id, "evaluation", "side-by-side.json")
        self.objects.put(shown_key, shown.model_dump_json(indent=2).encode("utf-8"))
        return Evaluation(
            candidate=scores[CANDIDATE],
            base=scores[BASE],
            champion=scores.get(CHAMPION),
            champion_version=rival.version if rival else None,
            baseline=scores.get(BASELINE),
            baseline_problem=baseline_problem,
            noise=self._noise(run),
            references=holdout.source,
            comparison=compare(opponent, (candidate, measured[opponent][1]), labels, resampling),
            local_tier=self._local_tier(run, holdout),
            side_by_side_key=shown_key,
            cost_usd=_sum([holdout.source.cost_usd, *(it.cost_usd for it in scores.values())]),
        )

    def _examine(self, run: Run, answers: Answers, rival: Champion | None) -> Iterator[Exam]:
        """Yield the results on the champion's kept holdout and on the golden set.

        The candidate's upload chose neither, so it cannot choose its own exam.
        """
        serving = run.serving
        if rival is not None:
            name = f"the holdout of version {rival.version}"
            try:
                kept = self._kept_labels(answers, rival)
                yield self._exam(name, f"kept-{rival.version}", serving, answers, kept, rival)
            except NotFoundError:
                rival = None  # its holdout or its deployment was deleted
        golden = self.golden_set.labels(run.source.bucket, serving.modalities)
        if golden:
            digest = naming.digest(*golden, *map(str, golden.values()))[:8]
            yield self._exam("the golden set", f"golden-{digest}", serving, answers, golden, rival)

    def _kept_labels(self, answers: Answers, champion: Champion) -> dict[str, Weights]:
        run = self.lifecycle.runs.get(champion.run_id)
        if run is None or run.training is None:
            raise NotFoundError(f"run of the champion not found: {champion.run_id}.")
        teacher = run.training.teacher
        return labelled_holdout(answers, champion.serving, teacher, champion.run_id).labels

    def _exam(
        self,
        name: str,
        folder: str,
        serving: ServingModel,
        answers: Answers,
        labels: dict[str, Weights],
        rival: Champion | None,
    ) -> Exam:
        base = serving.replace(model_id=foundation_model_id(serving.priced_as))
        other, role = (rival.serving, CHAMPION) if rival else (base, BASE)
        version = f"-{rival.version}" if rival else ""
        rival_found = answers.of(f"{folder}-{role}{version}", other, labels)
        found = answers.of(f"{folder}-{CANDIDATE}", serving, labels)
        decisions = (list(found.values()), list(rival_found.values()))
        references, resampling = list(labels.values()), Resampling(len(labels))
        scores = [
            score(it.model_id, rows, references, serving.modalities, resampling)
            for it, rows in zip((serving, other), decisions, strict=True)
        ]
        return Exam(
            name=name,
            n=len(labels),
            candidate_mae=scores[0].mae,
            rival_mae=scores[1].mae,
            comparison=compare(role, decisions, references, resampling),
        )

    def _ask_models(
        self,
        serving: ServingModel,
        holdout: LabelledHoldout,
        answers: Answers,
        rival: Champion | None,
    ) -> Iterator[tuple[str, tuple[str, list[Decision]]]]:
        """Yield role, model id and answers of each model, in the holdout's order."""
        base = serving.replace(model_id=foundation_model_id(serving.priced_as))
        models = [(CANDIDATE, CANDIDATE, serving), (BASE, BASE, base)]
        if rival is not None:
            models.append((CHAMPION, f"{CHAMPION}-{rival.version}", rival.serving))
        for role, folder, model in models:
            try:
                found = answers.of(folder, model, holdout.labels)
            except NotFoundError:
                if role != CHAMPION:
                    raise
                continue  # a champion whose deployment was deleted cannot serve
            yield role, (model.model_id, list(found.values()))

    def _ask_baseline(
        self,
        run: Run,
        holdout: LabelledHoldout,
        answers: Answers,
        measured: dict[str, tuple[str, list[Decision]]],
    ) -> str:
        """Add the baseline's answers, or return why it has none: it must not fail the run."""
        if not self.baseline:
            return ""
        baseline = with_detailed_prompt(self.baseline, run.serving)
        try:
            found = answers.of(BASELINE, baseline, holdout.labels)
        except ConflictError:
            raise  # another attempt has the claim
        except (PermanentError, OperatorError) as error:
            return str(error)
        except TransientError as error:
            if self.lifecycle.now - run.state_since < BASELINE_PATIENCE:
                raise
            return str(error)
        measured[BASELINE] = (baseline.model_id, list(found.values()))
        return ""

    def _local_tier(self, run: Run, holdout: LabelledHoldout) -> LocalTierScores | None:
        """Score the run's local tier, if it has one with a readable artifact."""
        serving, trained = run.serving, run.dataset.local_tier if run.dataset else None
        if trained is None:
            return None
        with suppress(PermanentError):
            artifact = self.objects.get(naming.local_model_key(trained.version))
            model = unpack(artifact, serving.modalities)
            start = self.lifecycle.clock.monotonic()
            for query in holdout.labels:
                model.answer(query)
            seconds = self.lifecycle.clock.monotonic() - start
            microseconds = round(1_000_000 * seconds / len(holdout.labels), 1)
            scores = score_local_model(
                trained.version, model, holdout.labels, serving.prior, microseconds
            )
            facts = {"held_out_patterns": trained.held_out_patterns, "answers": trained.answers}
            return LocalTierScores.model_validate({**dict(scores), **facts})
        return None

    def _noise(self, run: Run) -> NoiseCeiling | None:
        """Return the noise ceiling that intake measured; None with too few repeated queries."""
        try:
            manifest = json.loads(self.objects.get(naming.run_key(run.run_id, "manifest.json")))
        except NotFoundError:
            return None
        noise = manifest.get("label_noise", {})
        ceiling = noise.get("ceiling")
        return NoiseCeiling.model_validate({**noise, **ceiling}) if ceiling else None


def _sum(costs: Iterable[float | None]) -> float | None:
    """Add up costs; None if one of them is unknown."""
    known = list(costs)
    return None if None in known else math.fsum(cost for cost in known if cost is not None)


def _rival(serving: ServingModel, champion: Champion | None) -> Champion | None:
    """Return the champion unless it is the model itself or has other modalities."""
    if champion is None or champion.serving.model_id == serving.model_id:
        return None
    return champion if champion.serving.modalities == serving.modalities else None


@dataclass(slots=True)
class _Claim:
    """The exclusive claim on a run; a model whose answers renew it."""

    run: Run
    lifecycle: RunLifecycle
    model: Model

    def renew(self) -> None:
        """Extend the claim; raises ConflictError if another function moved the run."""
        now = self.lifecycle.now
        self.run = self.lifecycle.update(self.run.claimed(now + CLAIM, now))

    def release(self) -> Run:
        """Release the claim, so that the next attempt can begin."""
        self.run = self.lifecycle.update(self.run.claimed(None, self.lifecycle.now))
        return self.run

    def ask(
        self, serving: ServingModel, queries: Iterable[str]
    ) -> Iterator[tuple[str, ModelAnswer]]:
        """Ask the model and renew the claim, at most once a minute."""
        for answer in self.model.ask(serving, queries):
            until = self.run.evaluating_until
            if until is None or until - self.lifecycle.now < CLAIM - _RENEWAL:
                self.renew()
            yield answer

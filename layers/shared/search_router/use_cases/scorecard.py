"""Takes in the answers of one model after the other and makes the evaluation of them."""

import json
from dataclasses import dataclass, field

from search_router.domain import naming
from search_router.domain.errors import NotFoundError
from search_router.domain.intervals import Resampling
from search_router.domain.lifecycle.evaluation import (
    BASE,
    CANDIDATE,
    CHAMPION,
    Evaluation,
    NoiseCeiling,
    Scores,
)
from search_router.domain.lifecycle.runs import Run
from search_router.domain.lifecycle.scoring import compare, score, side_by_side
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import Decision
from search_router.ports import ObjectStore
from search_router.use_cases.references import LabelledHoldout


@dataclass(slots=True)
class Scorecard:
    """The models' answers to one holdout, in its order."""

    run: Run
    holdout: LabelledHoldout
    objects: ObjectStore
    _answers: dict[str, list[Decision]] = field(default_factory=dict)
    _scores: dict[str, Scores] = field(default_factory=dict)
    _resampling: Resampling = field(init=False)

    def __post_init__(self) -> None:
        self._resampling = Resampling(len(self.holdout.labels))

    def add(self, name: str, serving: ServingModel, answers: dict[str, Decision]) -> None:
        """Score one model."""
        self._answers[name] = list(answers.values())
        self._scores[name] = score(
            serving.model_id,
            self._answers[name],
            list(self.holdout.labels.values()),
            self.run.modalities,
            self._resampling,
        )

    def evaluation(self, champion_version: int | None) -> Evaluation:
        """Compare the candidate with its rival and return everything that was measured."""
        rival = CHAMPION if CHAMPION in self._scores else BASE
        answers = (self._answers[CANDIDATE], self._answers[rival])
        labels = list(self.holdout.labels.values())
        spent = sum(scores.cost_usd for scores in self._scores.values())
        return Evaluation.model_validate(
            {
                **self._scores,
                "champion_version": champion_version,
                "noise": self._noise(),
                "references": self.holdout.source,
                "comparison": compare(rival, answers, labels, self._resampling),
                "side_by_side_key": self._write_side_by_side(),
                "cost_usd": spent + self.holdout.source.cost_usd,
            }
        )

    def _write_side_by_side(self) -> str:
        key = naming.run_key(self.run.run_id, "evaluation", "side-by-side.json")
        shown = side_by_side(
            self.holdout.labels,
            (self._answers[CANDIDATE], self._answers[BASE]),
            self.run.modalities,
        )
        self.objects.put(key, shown.model_dump_json(indent=2).encode("utf-8"))
        return key

    def _noise(self) -> NoiseCeiling | None:
        """Read what the intake learnt of the labels' noise; None without repeated queries."""
        try:
            manifest = json.loads(
                self.objects.get(naming.run_key(self.run.run_id, "manifest.json"))
            )
        except NotFoundError:
            return None
        noise = manifest.get("label_noise", {})
        known = noise.get("repeated_queries") and "rubric" in noise
        return NoiseCeiling.model_validate(noise) if known else None

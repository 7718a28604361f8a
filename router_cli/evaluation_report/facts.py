"""The facts of a report, read from the run, its evaluation and the kept answers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NoReturn

from pydantic import BaseModel, ConfigDict, TypeAdapter

from search_router.domain import naming
from search_router.domain.errors import NotFoundError
from search_router.domain.lifecycle.evaluation import CHAMPION, Evaluation, SideBySide
from search_router.domain.lifecycle.runs import Run
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import Decision, Status
from search_router.domain.weights import Modalities, Weights
from search_router.ports import ObjectStore
from search_router.use_cases.answers import Answers, labelled_holdout

BINS = 10  # steps of a weight: 0, 0.1, … 1, with a bin centred on each
LABELS = "labels"
_PERCENTS = tuple(range(101))
_DECISIONS = TypeAdapter(dict[str, Decision])
_COUNTS = (
    "rows_in",
    "accepted",
    "rejected",
    "duplicates",
    "conflicts",
    "sampled_out",
    "training",
    "holdout",
)


class ReportFacts(BaseModel):
    """The content of `report.json`.

    `weight_shares` holds the share of holdout queries in each of eleven bins, by modality and model
    (or labels). `latency_percentiles` holds the 0th to 100th percentile by model, in milliseconds.
    """

    model_config = ConfigDict(frozen=True)

    made_at: datetime
    is_local: bool
    run_id: str
    state: str
    reason: str
    source: str
    created_at: datetime
    updated_at: datetime
    teacher: str
    student: str
    system_prompt: str
    modalities: Modalities
    counts: Mapping[str, int]
    evaluation: Evaluation
    weight_shares: Mapping[str, Mapping[str, Sequence[float]]]
    latency_percentiles: Mapping[str, Sequence[float]]
    side_by_side: SideBySide | None


def gather(run: Run, objects: ObjectStore, *, is_local: bool, now: datetime) -> ReportFacts:
    """Read the facts of a run; raises NotFoundError for a run without an evaluation."""
    evaluation, dataset, training = run.evaluation, run.dataset, run.training
    if evaluation is None or dataset is None or training is None:
        raise NotFoundError(
            f"{run.run_id} is {run.state} and has no evaluation: "
            f"{run.reason or 'wait until `search-router runs` shows that it has ended'}."
        )
    answers = {
        name: list(_kept(run, _folder(name, evaluation), objects)) for name in evaluation.models
    }
    weights: dict[str, Sequence[Weights]] = {LABELS: _labels(run, training.teacher, objects)}
    weights |= {name: [answer.weights for answer in kept] for name, kept in answers.items()}
    return ReportFacts(
        made_at=now,
        is_local=is_local,
        run_id=run.run_id,
        state=run.state.value,
        reason=run.reason,
        source=f"s3://{run.source.bucket}/{run.source.key}",
        created_at=run.created_at,
        updated_at=run.updated_at,
        teacher=training.teacher,
        student=training.student,
        system_prompt=dataset.system_prompt,
        modalities=dataset.modalities,
        counts={name: getattr(dataset.counts, name) for name in _COUNTS},
        evaluation=evaluation,
        weight_shares=_weight_shares(dataset.modalities, weights),
        latency_percentiles=_latencies(answers),
        side_by_side=_side_by_side(evaluation, objects),
    )


class _NoModel:
    """A model that is never called, because every answer is kept."""

    def ask(self, serving: ServingModel, queries: Iterable[str]) -> Iterator[NoReturn]:
        """Raise NotFoundError: a report makes no calls."""
        missing = sum(1 for _ in queries)
        raise NotFoundError(
            f"{missing} answers of {serving.model_id} are missing in the data bucket."
        )


def _labels(run: Run, teacher: str, objects: ObjectStore) -> list[Weights]:
    answers = Answers(run.run_id, objects, _NoModel())
    holdout = labelled_holdout(answers, run.serving, teacher)
    return list(holdout.labels.values())


def _folder(name: str, evaluation: Evaluation) -> str:
    return f"{CHAMPION}-{evaluation.champion_version}" if name == CHAMPION else name


def _kept(run: Run, folder: str, objects: ObjectStore) -> Iterator[Decision]:
    for key, _ in objects.list(naming.run_key(run.run_id, "evaluation", folder, "")):
        yield from _DECISIONS.validate_json(objects.get(key)).values()


def _weight_shares(
    modalities: Modalities, weights: Mapping[str, Sequence[Weights]]
) -> dict[str, dict[str, list[float]]]:
    return {
        modality: {
            source: _shares([row[number] for row in rows])
            for source, rows in weights.items()
            if rows
        }
        for number, modality in enumerate(modalities)
    }


def _shares(values: Sequence[float]) -> list[float]:
    counts = [0] * (BINS + 1)
    for value in values:
        counts[round(value * BINS)] += 1
    return [round(count / len(values), 6) for count in counts]


def _latencies(answers: Mapping[str, Sequence[Decision]]) -> dict[str, list[float]]:
    return {
        name: _percentiles(sorted(answer.latency_ms for answer in kept))
        for name, kept in answers.items()
        if kept
    }


def _percentiles(ordered: Sequence[int]) -> list[float]:
    last = len(ordered) - 1
    return [float(ordered[round(percent / 100 * last)]) for percent in _PERCENTS]


def _side_by_side(evaluation: Evaluation, objects: ObjectStore) -> SideBySide | None:
    if not evaluation.side_by_side_key:
        return None
    return SideBySide.model_validate_json(objects.get(evaluation.side_by_side_key))


def is_invalid(status: str) -> bool:
    """Return whether an answer was unusable, so that the prior is served instead."""
    return status == Status.FALLBACK.value

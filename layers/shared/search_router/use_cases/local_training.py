"""Trains a run's local tier on what the run holds, and keeps it as an object."""

from collections.abc import Sequence
from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.intake.prompt_files import PromptFile, read_prompts
from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.intake.training_sets import TrainingSet
from search_router.domain.local_tier.artifact import pack, version_of
from search_router.domain.local_tier.held_out_patterns import hold_out_patterns
from search_router.domain.local_tier.indexing import LabelledQuery
from search_router.domain.local_tier.neighbours import known_key
from search_router.domain.local_tier.scores import HeldOutPatterns
from search_router.domain.local_tier.training import train, with_answers
from search_router.domain.weights import Modalities
from search_router.ports import ObjectStore


@dataclass(frozen=True, slots=True)
class LocalTraining:
    """The local model's version, empty if no row has a label, and how many answers are in it."""

    version: str = ""
    answers: int = 0
    held_out_patterns: HeldOutPatterns | None = None


def train_local_model(
    rows: TrainingSet,
    answers: Sequence[LabelledQuery],
    *,
    modalities: Modalities,
    max_error: float,
    objects: ObjectStore,
) -> LocalTraining:
    """Train on the labelled training rows, then on a distilled model's answers beside them.

    Answers to queries of the holdout are left out: it has to measure what was not asked before.
    """
    holdout = {known_key(record.query) for record in _records(rows.holdout, modalities)}
    records = _records(rows.training, modalities)
    labelled = [(it.query, it.weights) for it in records if it.weights is not None]
    if not labelled:
        return LocalTraining()
    by_labels = train(labelled, modalities, max_error)
    others = ((query, given) for query, given in answers if known_key(query) not in holdout)
    model, used = with_answers(by_labels, labelled, others)
    artifact = pack(model)
    version = version_of(artifact)
    objects.put(naming.local_model_key(version), artifact)
    hidden = hold_out_patterns(labelled, modalities, by_labels.gate)
    return LocalTraining(version, used, hidden)


def _records(lines: Sequence[bytes], modalities: Modalities) -> Sequence[PromptRecord]:
    file = PromptFile("rows", is_packed=False, read=lambda: lines)
    return list(read_prompts(file, modalities))

"""A dataset of prompts was uploaded: validate it, split it, shard it, and record the run."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.intake.answer_files import read_answers
from search_router.domain.intake.datasets import DatasetFile, DatasetFiles, check_files, files_of
from search_router.domain.intake.manifests import manifest
from search_router.domain.intake.prompt_files import PromptFile, select, survey
from search_router.domain.intake.prompts import rejected_line
from search_router.domain.intake.selection import IntakeBuilder, IntakeRules, Selection
from search_router.domain.intake.training_sets import TrainingSet
from search_router.domain.lifecycle.estimates import CostEstimate, estimate_costs
from search_router.domain.lifecycle.runs import Dataset, Run, TrainedLocalTier
from search_router.domain.local_tier.indexing import LabelledQuery
from search_router.domain.uploads import ObjectRef, dataset_folder, ignored_prompts
from search_router.ports import Clock, EventPublisher, ObjectStore, RunRepository, UploadStore
from search_router.use_cases.local_training import LocalTraining, train_local_model
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle


@dataclass(frozen=True, slots=True)
class PricedModels:
    """The models that the manifest's estimate is about."""

    teacher: str
    student: str


def shard_prompts(
    source: ObjectRef,
    *,
    rules: IntakeRules,
    models: PricedModels,
    local_tier_max_error: float,
    uploads: UploadStore,
    objects: ObjectStore,
    runs: RunRepository,
    events: EventPublisher,
    clock: Clock,
) -> Run | Ignored:
    """Turn one uploaded file, or the folder that a marker completes, into a run.

    The run is SHARDED, or FAILED with the reason. Everything written is a function of the files'
    bytes, so a retry writes the same again; the run is recorded last. Raises TransientError only.
    """
    if reason := ignored_prompts(source.key):
        return Ignored(reason)
    run_id = naming.run_id(source.bucket, source.key, source.version_id)
    run = runs.get(run_id)
    if run is None:
        intake = _Intake(run_id, source, rules, models, local_tier_max_error, uploads, objects)
        run = runs.create(intake.run(clock.now()))
    RunLifecycle(runs, events, clock).publish(run)
    return run


@dataclass(frozen=True, slots=True)
class _Intake:
    """One dataset on its way into the data bucket."""

    run_id: str
    source: ObjectRef
    rules: IntakeRules
    models: PricedModels
    local_tier_max_error: float
    uploads: UploadStore
    objects: ObjectStore

    def run(self, now: datetime) -> Run:
        """Write everything but the run, and return the run."""
        try:
            files = self._files()
            check_files(files)
            answers = read_answers(
                self._readable(file for file in files if file.holds_answers), self.rules.modalities
            )
            selection, rows = self._take_in(files)
        except (InvalidInputError, NotFoundError) as error:
            return Run.create(self.run_id, self.source, now, None, str(error))
        training_sha256 = self._write(rows)
        estimate = estimate_costs(selection, self.models.teacher, self.models.student)
        self._describe(selection, files, training_sha256, estimate)
        local = LocalTraining() if selection.refusal else self._train_local_model(rows, answers)
        dataset = Dataset(
            counts=selection.counts,
            modalities=self.rules.modalities,
            system_prompt=selection.system_prompt,
            prior=selection.prior(),
            training_histograms=selection.histograms(),
            training_sha256=training_sha256,
            estimated_usd=estimate.total_usd,
            local_tier=TrainedLocalTier(
                version=local.version,
                answers=local.answers,
                held_out_patterns=local.held_out_patterns,
            )
            if local.version
            else None,
        )
        return Run.create(self.run_id, self.source, now, dataset, selection.refusal)

    def _files(self) -> Sequence[DatasetFile]:
        """Return the files to read; those of a folder stay what they were at the first attempt."""
        key, version = self.source.key, self.source.version_id
        folder = dataset_folder(key)
        if folder is None:
            size = self.uploads.info(self.source).size
            return [DatasetFile(key=key, version_id=version, size=size)]
        found = files_of(folder, self.uploads.latest(self.source.bucket, folder))
        fixed = naming.run_key(self.run_id, "files.json")
        body = found.model_dump_json(indent=2).encode("utf-8") + b"\n"
        if self.objects.put_once(fixed, body, metadata={}):
            return found.files
        return DatasetFiles.model_validate_json(self.objects.get(fixed)).files

    def _take_in(self, files: Sequence[DatasetFile]) -> tuple[Selection, TrainingSet]:
        """Read the files twice; writing what is rejected draws their lines through the builder."""
        prompts = self._readable(file for file in files if not file.holds_answers)
        builder = IntakeBuilder(self.rules)
        lines = (rejected_line(file.name, rejected) for file, rejected in survey(prompts, builder))
        self.objects.put_lines(naming.run_key(self.run_id, "rejected.jsonl"), lines)
        return select(prompts, builder)

    def _readable(self, files: Iterable[DatasetFile]) -> Sequence[PromptFile]:
        read, bucket = self.uploads.read, self.source.bucket
        return [
            PromptFile(file.key, file.is_packed, partial(read, file.source(bucket)))
            for file in files
        ]

    def _write(self, rows: TrainingSet) -> str:
        """Write shards, holdout and training set; return the SHA-256 of the training set."""
        for index, shard in enumerate(rows.shards()):
            self.objects.put(naming.shard_key(self.run_id, index), shard)
        self.objects.put_lines(naming.run_key(self.run_id, "holdout.jsonl"), rows.holdout)
        return self.objects.put_lines(naming.run_key(self.run_id, "training.jsonl"), rows.training)

    def _train_local_model(
        self, rows: TrainingSet, answers: Sequence[LabelledQuery]
    ) -> LocalTraining:
        return train_local_model(
            rows,
            answers,
            modalities=self.rules.modalities,
            max_error=self.local_tier_max_error,
            objects=self.objects,
        )

    def _describe(
        self,
        selection: Selection,
        files: Sequence[DatasetFile],
        training_sha256: str,
        estimate: CostEstimate,
    ) -> None:
        described = {
            **manifest(selection, self.source, files, training_sha256),
            "estimate": estimate.model_dump(),
        }
        text = json.dumps(described, indent=2, ensure_ascii=False)
        self.objects.put(naming.run_key(self.run_id, "manifest.json"), text.encode("utf-8") + b"\n")

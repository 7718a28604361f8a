"""A dataset of prompts was uploaded: validate it, split it, shard it, and record the run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.intake.datasets import DatasetFile, DatasetFiles, check_files, files_of
from search_router.domain.intake.estimates import CostEstimate, estimate_costs
from search_router.domain.intake.manifests import manifest
from search_router.domain.intake.prompt_files import PromptFile, read_prompts, select, survey
from search_router.domain.intake.prompts import rejected_line
from search_router.domain.intake.selection import IntakeBuilder, IntakeRules, Selection
from search_router.domain.intake.training_sets import TrainingSet
from search_router.domain.lifecycle.evaluation import HeldOutPatterns
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.local_tier.artefact import pack, version_of
from search_router.domain.local_tier.held_out_patterns import hold_out_patterns
from search_router.domain.local_tier.training import train
from search_router.domain.uploads import ObjectRef, dataset_folder, ignored_prompts
from search_router.ports import Clock, EventPublisher, ObjectStore, RunRepository, UploadStore
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
    RunLifecycle(runs, events, clock).announce(run)
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
        run = Run(
            run_id=self.run_id,
            state=RunState.SHARDED,
            created_at=now,
            updated_at=now,
            source_bucket=self.source.bucket,
            source_key=self.source.key,
            source_version=self.source.version_id,
            modalities=self.rules.modalities,
        )
        try:
            files = self._files()
            check_files(files)
            selection, rows = self._take_in(files)
        except (InvalidInputError, NotFoundError) as error:
            return run.model_copy(update={"state": RunState.FAILED, "reason": str(error)})
        training_sha256 = self._write(rows)
        estimate = estimate_costs(selection, self.models.teacher, self.models.student)
        self._describe(selection, files, training_sha256, estimate)
        local_model, held_out = "", None
        if not selection.refusal:
            local_model, held_out = self._train_local_model(rows)
        return run.model_copy(
            update={
                "state": RunState.FAILED if selection.refusal else RunState.SHARDED,
                "reason": selection.refusal or "",
                "counts": selection.counts,
                "system_prompt": selection.system_prompt,
                "prior": selection.prior(),
                "training_histograms": selection.histograms(),
                "training_sha256": training_sha256,
                "estimated_usd": estimate.total_usd,
                "local_model": local_model,
                "held_out_patterns": held_out,
            }
        )

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
        read, bucket = self.uploads.read, self.source.bucket
        prompts = [
            PromptFile(file.key, file.is_packed, partial(read, file.source(bucket)))
            for file in files
        ]
        builder = IntakeBuilder(self.rules)
        lines = (rejected_line(file.name, rejected) for file, rejected in survey(prompts, builder))
        self.objects.put_lines(naming.run_key(self.run_id, "rejected.jsonl"), lines)
        return select(prompts, builder)

    def _write(self, rows: TrainingSet) -> str:
        """Write shards, holdout and training set; return the SHA-256 of the training set."""
        for index, shard in enumerate(rows.shards()):
            self.objects.put(naming.shard_key(self.run_id, index), shard)
        self.objects.put_lines(naming.run_key(self.run_id, "holdout.jsonl"), rows.holdout)
        return self.objects.put_lines(naming.run_key(self.run_id, "training.jsonl"), rows.training)

    def _train_local_model(self, rows: TrainingSet) -> tuple[str, HeldOutPatterns | None]:
        """Train the local tier on the same rows; return its version, empty if none has a label."""
        file = PromptFile("training.jsonl", is_packed=False, read=lambda: rows.training)
        records = read_prompts(file, self.rules.modalities)
        labelled = [(it.query, it.weights) for it in records if it.weights is not None]
        if not labelled:
            return "", None
        model = train(labelled, self.rules.modalities, self.local_tier_max_error)
        artefact = pack(model)
        version = version_of(artefact)
        self.objects.put(naming.local_model_key(version), artefact)
        return version, hold_out_patterns(labelled, self.rules.modalities, model.gate)

    def _describe(
        self,
        selection: Selection,
        files: Sequence[DatasetFile],
        training_sha256: str,
        estimate: CostEstimate,
    ) -> None:
        described = manifest(selection, self.source, files, training_sha256, estimate)
        text = json.dumps(described, indent=2, ensure_ascii=False)
        self.objects.put(naming.run_key(self.run_id, "manifest.json"), text.encode("utf-8") + b"\n")

"""Turns an uploaded dataset of prompts into a training set, a holdout, a local model and a run."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from search_router.domain import naming
from search_router.domain.errors import ConflictError, InvalidInputError, NotFoundError
from search_router.domain.intake.datasets import (
    DatasetFile,
    DatasetFiles,
    check_files,
    files_of,
    read_answers,
)
from search_router.domain.intake.prompt_files import PromptFile, select_rows
from search_router.domain.intake.prompts import rejected_line
from search_router.domain.intake.selection import IntakeRules, Selection
from search_router.domain.intake.training_records import TrainingRow, shards
from search_router.domain.lifecycle.estimates import CostEstimate, estimate_costs
from search_router.domain.lifecycle.runs import Dataset, Run, TrainedLocalTier
from search_router.domain.local_tier.artifact import pack, version_of
from search_router.domain.local_tier.held_out_patterns import hold_out_patterns
from search_router.domain.local_tier.indexing import LabelledQuery
from search_router.domain.local_tier.neighbours import query_key
from search_router.domain.local_tier.training import train, with_answers
from search_router.domain.queries import fingerprint
from search_router.domain.uploads import ObjectRef, dataset_folder, ignored_prompts
from search_router.ports import Clock, EventPublisher, ObjectStore, RunRepository, UploadStore
from search_router.use_cases.golden_set import GoldenSet
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle


@dataclass(frozen=True, slots=True)
class ShardPrompts:
    """Turn an uploaded file, or the folder that a marker completes, into a run.

    The run is SHARDED, or FAILED with the reason. All objects are a pure function of the files'
    bytes and the run is recorded last, so a retry writes the same objects again. Raises only
    TransientError and OperatorError.
    """

    rules: IntakeRules
    teacher: str  # both models for the cost estimate
    student: str
    local_tier_max_error: float
    uploads: UploadStore
    objects: ObjectStore
    runs: RunRepository
    events: EventPublisher
    clock: Clock

    def __call__(self, source: ObjectRef) -> Run | Ignored:
        """Return the run of an uploaded object, new or recorded before."""
        if reason := ignored_prompts(source.key):
            return Ignored(reason)
        run_id = naming.run_id(source.bucket, source.key, source.version_id)
        run = self.runs.get(run_id) or self.runs.create(self._new_run(run_id, source))
        if run.source != source:
            raise ConflictError(f"id of another upload: {run_id}. Upload the file again.")
        RunLifecycle(self.runs, self.events, self.clock).publish(run)
        return run

    def _new_run(self, run_id: str, source: ObjectRef) -> Run:
        """Read the files and write everything that the run is made of."""
        now = self.clock.now()
        try:
            files = self._files(run_id, source)
            check_files(files)
            answers = self._read_answers(files, source.bucket)
            golden = GoldenSet(self.uploads).labels(source.bucket, self.rules.modalities)
            selection = self._select(run_id, files, source.bucket, golden)
        except (InvalidInputError, NotFoundError) as error:
            return Run.create(run_id, source, now, None, str(error))
        estimate = estimate_costs(selection, self.teacher, self.student)
        self._write_rows(run_id, selection)
        self._write_manifest(run_id, source, files, selection, estimate)
        dataset = Dataset(
            counts=selection.counts,
            modalities=self.rules.modalities,
            system_prompt=selection.system_prompt,
            prior=selection.prior(),
            training_histograms=selection.histograms(),
            training_sha256=selection.training_sha256,
            estimated_usd=estimate.total_usd,
            job_at_most_usd=estimate.job_at_most_usd,
            evaluation_at_most_usd=estimate.evaluation_at_most_usd,
            local_tier=None if selection.rejection else self._train(selection, answers),
        )
        return Run.create(run_id, source, now, dataset, selection.rejection or None)

    def _files(self, run_id: str, source: ObjectRef) -> Sequence[DatasetFile]:
        """Return the files to read; a retry reads the folder as the first attempt listed it."""
        folder = dataset_folder(source.key)
        if folder is None:
            size = self.uploads.info(source).size
            return [DatasetFile(key=source.key, version_id=source.version_id, size=size)]
        found = files_of(folder, self.uploads.latest(source.bucket, folder))
        key = naming.run_key(run_id, "files.json")
        body = found.model_dump_json(indent=2).encode("utf-8") + b"\n"
        if self.objects.put_once(key, body, metadata={}):
            return found.files
        return DatasetFiles.model_validate_json(self.objects.get(key)).files

    def _read_answers(self, files: Iterable[DatasetFile], bucket: str) -> Sequence[LabelledQuery]:
        answers = [self._readable(file, bucket) for file in files if file.holds_answers]
        return read_answers(answers, self.rules.modalities)

    def _select(
        self, run_id: str, files: Iterable[DatasetFile], bucket: str, golden: Iterable[str]
    ) -> Selection:
        """Select the rows, and write each rejected line as it is read."""
        rules = replace(self.rules, golden=frozenset(map(fingerprint, golden)))
        prompts = [self._readable(file, bucket) for file in files if not file.holds_answers]
        with self.objects.writer(naming.run_key(run_id, "rejected.jsonl")) as write:
            return select_rows(
                prompts, rules, lambda file, line: write(rejected_line(file.name, line))
            )

    def _readable(self, file: DatasetFile, bucket: str) -> PromptFile:
        return PromptFile(file.key, partial(self.uploads.read, file.source(bucket)))

    def _write_rows(self, run_id: str, selection: Selection) -> None:
        for index, shard in enumerate(shards(selection.training)):
            self.objects.put(naming.shard_key(run_id, index), shard)
        self._write_lines(naming.run_key(run_id, "holdout.jsonl"), selection.holdout)
        self._write_lines(naming.run_key(run_id, "training.jsonl"), selection.training)

    def _write_lines(self, key: str, rows: Iterable[TrainingRow]) -> None:
        with self.objects.writer(key) as write:
            for row in rows:
                write(row.line)

    def _write_manifest(
        self,
        run_id: str,
        source: ObjectRef,
        files: Iterable[DatasetFile],
        selection: Selection,
        estimate: CostEstimate,
    ) -> None:
        """Write the accounting of all rows, with every file by its version."""
        prompts = [file for file in files if not file.holds_answers]
        manifest = {
            "source": source._asdict(),
            "answers": [file.model_dump() for file in files if file.holds_answers],
            "files": [
                {**file.model_dump(), "rows_in": rows.rows_in, "rejected": rows.rejected}
                for file, rows in zip(prompts, selection.files, strict=True)
            ],
            "counts": selection.counts.model_dump(),
            "prior": selection.prior(),
            **selection.report(),
            "estimate": estimate.model_dump(),
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        self.objects.put(naming.run_key(run_id, "manifest.json"), text.encode("utf-8") + b"\n")

    def _train(
        self, selection: Selection, answers: Iterable[LabelledQuery]
    ) -> TrainedLocalTier | None:
        """Train the local model on the labelled training rows, and on a model's answers.

        Answers to holdout queries are left out, so that the holdout measures new queries.
        """
        labelled = [(row.query, row.label) for row in selection.training if row.label is not None]
        if not labelled:
            return None
        held_out = {query_key(row.query) for row in selection.holdout}
        golden = selection.rules.golden
        by_labels = train(labelled, self.rules.modalities, self.local_tier_max_error)
        others = (
            (query, label)
            for query, label in answers
            if query_key(query) not in held_out and fingerprint(query) not in golden
        )
        model, used = with_answers(by_labels, labelled, others)
        artifact = pack(model)
        version = version_of(artifact)
        self.objects.put(naming.local_model_key(version), artifact)
        return TrainedLocalTier(
            version=version,
            answers=used,
            held_out_patterns=hold_out_patterns(labelled, self.rules.modalities, by_labels.gate),
        )

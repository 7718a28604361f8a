"""A prompt file was uploaded: validate it, split it, shard it, and record the run."""

import json
from dataclasses import dataclass
from datetime import datetime

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.intake import Dataset, IntakeBuilder, Selection
from search_router.domain.prompt_files import (
    MAX_FILE_BYTES,
    chosen_prompts,
    manifest,
    survey_prompts,
)
from search_router.domain.prompts import rejected_line
from search_router.domain.runs import Run, RunState
from search_router.domain.uploads import PROMPT_SUFFIXES, ObjectRef, ignored_prompts
from search_router.domain.weights import Modalities, default_system_prompt
from search_router.ports import Clock, EventPublisher, ObjectStore, RunRepository, UploadStore
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.run_lifecycle import RunLifecycle


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """The settings that decide what a prompt file becomes."""

    modalities: Modalities
    holdout_fraction: float


def shard_prompts(
    source: ObjectRef,
    *,
    rules: IntakeRules,
    uploads: UploadStore,
    objects: ObjectStore,
    runs: RunRepository,
    events: EventPublisher,
    clock: Clock,
) -> Run | Ignored:
    """Turn one uploaded object version into a run, SHARDED or FAILED with the reason.

    Everything written is a function of the object's bytes, so a retry writes the same again; the
    run is recorded last. Raises TransientError only.
    """
    if reason := ignored_prompts(source.key):
        return Ignored(reason)
    run_id = naming.run_id(source.bucket, source.key, source.version_id)
    run = runs.get(run_id)
    if run is None:
        run = runs.create(_new_run(run_id, source, rules, uploads, objects, clock.now()))
    RunLifecycle(runs, events, clock).announce(run)
    return run


def _new_run(
    run_id: str,
    source: ObjectRef,
    rules: IntakeRules,
    uploads: UploadStore,
    objects: ObjectStore,
    now: datetime,
) -> Run:
    run = Run(
        run_id=run_id,
        state=RunState.SHARDED,
        created_at=now,
        updated_at=now,
        source_bucket=source.bucket,
        source_key=source.key,
        source_version=source.version_id,
        modalities=rules.modalities,
    )
    try:
        selection = _survey(run_id, source, rules, uploads, objects)
        chosen = chosen_prompts(uploads.read(source), _is_packed(source), selection)
        dataset = selection.dataset(chosen)
    except (InvalidInputError, NotFoundError) as error:
        return run.model_copy(update={"state": RunState.FAILED, "reason": str(error)})
    training_sha256 = _write(run_id, dataset, objects)
    _describe(run_id, selection, source, training_sha256, objects)
    return run.model_copy(
        update={
            "state": RunState.FAILED if selection.refusal else RunState.SHARDED,
            "reason": selection.refusal or "",
            "counts": selection.counts,
            "system_prompt": selection.system_prompt,
            "prior": selection.prior(),
            "training_histograms": selection.histograms(),
            "training_sha256": training_sha256,
        }
    )


def _survey(
    run_id: str, source: ObjectRef, rules: IntakeRules, uploads: UploadStore, objects: ObjectStore
) -> Selection:
    if not source.key.endswith(PROMPT_SUFFIXES):
        raise InvalidInputError(f"not a prompt file: expected {' or '.join(PROMPT_SUFFIXES)}")
    size = uploads.info(source).size
    if size > MAX_FILE_BYTES:
        raise InvalidInputError(f"{size} bytes, the limit is {MAX_FILE_BYTES}")
    builder = IntakeBuilder(
        rules.modalities, default_system_prompt(rules.modalities), rules.holdout_fraction
    )
    # Writing what is rejected draws the lines through the builder: one pass, bounded memory.
    rejections = survey_prompts(uploads.read(source), _is_packed(source), builder, rules.modalities)
    objects.put_lines(naming.run_key(run_id, "rejected.jsonl"), map(rejected_line, rejections))
    return builder.select()


def _write(run_id: str, dataset: Dataset, objects: ObjectStore) -> str:
    """Write shards, training set and holdout; return the SHA-256 of the training set."""
    for index, shard in enumerate(dataset.shards()):
        objects.put(naming.shard_key(run_id, index), shard)
    objects.put_lines(naming.run_key(run_id, "holdout.jsonl"), dataset.holdout_lines())
    training_key = naming.run_key(run_id, "training.jsonl")
    return objects.put_lines(training_key, dataset.training_lines())


def _describe(
    run_id: str, selection: Selection, source: ObjectRef, training_sha256: str, objects: ObjectStore
) -> None:
    text = json.dumps(manifest(selection, source, training_sha256), indent=2, ensure_ascii=False)
    objects.put(naming.run_key(run_id, "manifest.json"), text.encode("utf-8") + b"\n")


def _is_packed(source: ObjectRef) -> bool:
    return source.key.endswith(".gz")

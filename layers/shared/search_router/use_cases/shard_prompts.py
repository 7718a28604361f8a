"""A prompt file was uploaded: validate it, split it, shard it, and record the run."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from search_router.domain import naming
from search_router.domain.compression import gunzip
from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.events import Ignored, PromptsSharded, RunFailed
from search_router.domain.intake import Intake, IntakeBuilder
from search_router.domain.lines import Line, split_lines
from search_router.domain.prompts import (
    MAX_RECORD_BYTES,
    RejectedLine,
    read_record,
    rejected_line,
)
from search_router.domain.runs import Run, RunState
from search_router.domain.uploads import (
    PROMPT_SUFFIXES,
    PROMPTS_PREFIX,
    ObjectRef,
    is_folder,
)
from search_router.domain.weights import Modalities, default_system_prompt
from search_router.ports import Clock, EventPublisher, ObjectStore, RunRepository, UploadStore

MAX_FILE_BYTES = 1024**3  # AWS's own dataset validator: 1 GiB in all
_BOM = b"\xef\xbb\xbf"


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
    if reason := _ignored(source.key):
        return Ignored(reason)
    run_id = naming.run_id(source.bucket, source.key, source.version_id)
    run = runs.get(run_id)
    if run is None:
        run = runs.create(_new_run(run_id, source, rules, uploads, objects, clock.now()))
    announce(run, events)
    return run


def announce(run: Run, events: EventPublisher) -> None:
    """Publish what a freshly recorded run means to others; repeating it is harmless."""
    if run.state is RunState.SHARDED:
        events.publish(PromptsSharded(run_id=run.run_id))
    elif run.state is RunState.FAILED:
        events.publish(RunFailed(run_id=run.run_id, reason=run.reason))


def read_prompts(
    chunks: Iterable[bytes], packed: bool, builder: IntakeBuilder, modalities: Modalities
) -> Iterator[RejectedLine]:
    """Read a whole prompt file into the builder and yield what is refused, in one pass.

    Raises InvalidInputError when the file as a whole cannot be read: damaged gzip or over 1 GiB.
    """
    data = gunzip(chunks, MAX_FILE_BYTES) if packed else chunks
    for line in split_lines(data, MAX_RECORD_BYTES):
        record = read_record(_without_bom(line), modalities)
        if record is not None:
            builder.add(record)
        if isinstance(record, RejectedLine):
            yield record


def manifest(intake: Intake, source: ObjectRef, training_sha256: str) -> dict[str, object]:
    """Describe an intake: the accounting, and what a person should know before paying."""
    return {
        "source": source._asdict(),
        "counts": intake.counts.model_dump(),
        "refusal": intake.refusal,
        "modalities": intake.modalities,
        "system_prompt": intake.system_prompt,
        "balance": intake.balance(),
        "prior": intake.prior(),
        "weight_histograms": intake.histograms(),
        "training_sha256": training_sha256,
    }


def _ignored(key: str) -> str | None:
    if is_folder(key):
        return "a folder, not a file"
    if "/" in key.removeprefix(PROMPTS_PREFIX):
        return "a file inside a folder; only files directly under prompts/ are datasets"
    return None


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
        intake = _read(run_id, source, rules, uploads, objects)
    except (InvalidInputError, NotFoundError) as error:
        return run.model_copy(update={"state": RunState.FAILED, "reason": str(error)})
    training_sha256 = _write(run_id, intake, source, objects)
    return run.model_copy(
        update={
            "state": RunState.FAILED if intake.refusal else RunState.SHARDED,
            "reason": intake.refusal or "",
            "counts": intake.counts,
            "system_prompt": intake.system_prompt,
            "prior": intake.prior(),
            "training_sha256": training_sha256,
        }
    )


def _read(
    run_id: str, source: ObjectRef, rules: IntakeRules, uploads: UploadStore, objects: ObjectStore
) -> Intake:
    if not source.key.endswith(PROMPT_SUFFIXES):
        raise InvalidInputError(f"not a prompt file: expected {' or '.join(PROMPT_SUFFIXES)}")
    size = uploads.info(source).size
    if size > MAX_FILE_BYTES:
        raise InvalidInputError(f"{size} bytes, the limit is {MAX_FILE_BYTES}")
    builder = IntakeBuilder(
        rules.modalities, default_system_prompt(rules.modalities), rules.holdout_fraction
    )
    packed = source.key.endswith(".gz")
    rejections = read_prompts(uploads.read(source), packed, builder, rules.modalities)
    objects.put_lines(naming.run_key(run_id, "rejected.jsonl"), map(rejected_line, rejections))
    return builder.build()


def _write(run_id: str, intake: Intake, source: ObjectRef, objects: ObjectStore) -> str:
    for index, shard in enumerate(intake.shards()):
        objects.put(naming.shard_key(run_id, index), shard)
    training_key = naming.run_key(run_id, "training.jsonl")
    training_sha256 = objects.put_lines(training_key, intake.training_lines())
    objects.put_lines(naming.run_key(run_id, "holdout.jsonl"), intake.holdout_lines())
    text = json.dumps(manifest(intake, source, training_sha256), indent=2, ensure_ascii=False)
    objects.put(naming.run_key(run_id, "manifest.json"), text.encode("utf-8") + b"\n")
    return training_sha256


def _without_bom(line: Line) -> Line:
    """Drop a byte order mark from the very first line; its offset stays that of the file."""
    if line.offset or line.data is None:
        return line
    return line._replace(data=line.data.removeprefix(_BOM))

"""What is said of an intake: the accounting, and what a person should know before paying."""

from collections.abc import Sequence

from search_router.domain.intake.datasets import DatasetFile
from search_router.domain.intake.selection import Selection
from search_router.domain.uploads import ObjectRef


def manifest(
    selection: Selection,
    source: ObjectRef,
    files: Sequence[DatasetFile],
    training_sha256: str,
) -> dict[str, object]:
    """Describe a run's dataset: every file by its version, and what became of all rows."""
    prompts = [file for file in files if not file.holds_answers]
    return {
        "source": source._asdict(),
        "answers": [file.model_dump() for file in files if file.holds_answers],
        "files": [
            {**file.model_dump(), "rows_in": rows.rows_in, "rejected": rows.rejected}
            for file, rows in zip(prompts, selection.files, strict=True)
        ],
        "counts": selection.counts.model_dump(),
        "prior": selection.prior(),
        **described(selection, training_sha256),
    }


def described(selection: Selection, training_sha256: str) -> dict[str, object]:
    """Say what the manifest and validate's report both say, in the same words."""
    return {
        "refusal": selection.refusal,
        "modalities": list(selection.modalities),
        "keep_reasoning": selection.rules.keep_reasoning,
        "system_prompt": selection.system_prompt,
        "balance": selection.balance(),
        "weight_histograms": selection.histograms(),
        "label_noise": dict(selection.noise),
        "training_sha256": training_sha256,
    }

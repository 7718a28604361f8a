"""The files of a dataset: one prompt file, or those of a folder that a marker completes.

Files named `*.answers.jsonl` hold a distilled model's answers. They train the local tier only and
are never part of the training set, the holdout or the figures about labels.
"""

from collections.abc import Iterable, Sequence

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.prompt_files import MAX_DATASET_BYTES, PromptFile, read_lines
from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.records import Record
from search_router.domain.uploads import (
    ANSWERS_SUFFIXES,
    DATASET_MARKER,
    PROMPT_NAMES,
    PROMPT_SUFFIXES,
    ObjectRef,
    Upload,
    is_hidden,
)
from search_router.domain.weights import Modalities, Weights

MAX_DATASET_FILES = 1_000  # two requests each: some minutes of a function's fifteen
MAX_ANSWERS = 15_000  # as many as a job has labels; the artifact stays below 3 MB


class DatasetFile(Record):
    """One version of an uploaded file, with its size in bytes."""

    key: str
    version_id: str | None
    size: int

    @property
    def holds_answers(self) -> bool:
        """Whether the file holds a distilled model's answers."""
        return holds_answers(self.key)

    def source(self, bucket: str) -> ObjectRef:
        """Return the object version to read."""
        return ObjectRef(bucket, self.key, self.version_id)


class DatasetFiles(Record):
    """The files of a dataset, fixed by the first attempt to read them."""

    files: tuple[DatasetFile, ...]


def holds_answers(name: str) -> bool:
    """Return whether a file of this name holds a distilled model's answers."""
    return name.lower().endswith(ANSWERS_SUFFIXES)


def files_of(folder: str, uploads: Iterable[Upload]) -> DatasetFiles:
    """Return the files of a folder by key, without the marker and other hidden files."""
    files = [
        DatasetFile(key=source.key, version_id=source.version_id, size=size)
        for source, _, size in uploads
        if not is_hidden(source.key.removeprefix(folder))
    ]
    return DatasetFiles(files=tuple(sorted(files, key=lambda file: file.key)))


def check_files(files: Sequence[DatasetFile]) -> None:
    """Check number, names and sizes; raises InvalidInputError."""
    if not files:
        raise InvalidInputError(f"the dataset has no files. Upload {DATASET_MARKER} after them.")
    if len(files) > MAX_DATASET_FILES:
        raise InvalidInputError(
            f"too many files: {len(files)}, the limit is {MAX_DATASET_FILES}. Join some of them."
        )
    for file in files:
        if not file.key.lower().endswith(PROMPT_SUFFIXES):
            raise InvalidInputError(f"not a prompt file: {file.key}. Upload {PROMPT_NAMES}.")
    if all(file.holds_answers for file in files):
        raise InvalidInputError(
            "the dataset has only a model's answers. Upload them with labelled queries."
        )
    size = sum(file.size for file in files)
    if size > MAX_DATASET_BYTES:
        raise InvalidInputError(
            f"dataset too large: {size} bytes, the limit is {MAX_DATASET_BYTES}. Remove rows."
        )


def read_answers(files: Sequence[PromptFile], modalities: Modalities) -> list[tuple[str, Weights]]:
    """Read queries with a distilled model's answers.

    `search-router results` writes these files, so any invalid line raises InvalidInputError.
    """
    answers: list[tuple[str, Weights]] = []
    for file in files:
        for line in read_lines(file, modalities):
            where = f"{file.name}, line {line.line_number}"
            if not isinstance(line, PromptRecord):
                raise InvalidInputError(f"{where}: {line.reason.value}. Fix or remove the line.")
            if line.weights is None:
                raise InvalidInputError(f"{where}: no answer. Add a reference or remove the line.")
            if len(answers) == MAX_ANSWERS:
                raise InvalidInputError(f"{where}: more than {MAX_ANSWERS} answers. Remove some.")
            answers.append((line.query, line.weights))
    return answers

"""A dataset is one prompt file, or the files of a folder that a marker completes."""

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.answer_files import holds_answers
from search_router.domain.intake.prompt_files import MAX_DATASET_BYTES
from search_router.domain.uploads import (
    DATASET_MARKER,
    PROMPT_SUFFIXES,
    ObjectRef,
    Upload,
    is_hidden,
)

MAX_DATASET_FILES = 1_000  # two requests a file: some minutes of a function's fifteen


class DatasetFile(BaseModel):
    """One file by its version, with its size in bytes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    version_id: str | None
    size: int

    @property
    def holds_answers(self) -> bool:
        """Tell whether the file is for the local tier alone."""
        return holds_answers(self.key)

    @property
    def is_packed(self) -> bool:
        """Tell whether the file is gzipped."""
        return self.key.endswith(".gz")

    def source(self, bucket: str) -> ObjectRef:
        """Return the object version to read."""
        return ObjectRef(bucket, self.key, self.version_id)


class DatasetFiles(BaseModel):
    """The files that a marker completed, fixed when it was first seen."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    files: tuple[DatasetFile, ...]


def files_of(folder: str, uploads: Iterable[Upload]) -> DatasetFiles:
    """Choose the files of a folder by key; hidden ones, the marker too, are not of the dataset."""
    files = [
        DatasetFile(key=source.key, version_id=source.version_id, size=size)
        for source, _, size in uploads
        if not is_hidden(source.key.removeprefix(folder))
    ]
    return DatasetFiles(files=tuple(sorted(files, key=lambda file: file.key)))


def check_files(files: Sequence[DatasetFile]) -> None:
    """Refuse what is not worth reading; raises InvalidInputError with the reason."""
    if not files:
        raise InvalidInputError(f"the dataset has no files: upload {DATASET_MARKER} after them")
    if len(files) > MAX_DATASET_FILES:
        raise InvalidInputError(f"{len(files)} files, the limit is {MAX_DATASET_FILES}")
    for file in files:
        if not file.key.endswith(PROMPT_SUFFIXES):
            where = f"{file.key} is " if len(files) > 1 else ""
            raise InvalidInputError(
                f"{where}not a prompt file: expected {' or '.join(PROMPT_SUFFIXES)}"
            )
    if all(file.holds_answers for file in files):
        raise InvalidInputError("nothing but a model's answers: put them beside labelled queries")
    size = sum(file.size for file in files)
    if size > MAX_DATASET_BYTES:
        raise InvalidInputError(f"{size} bytes, the limit is {MAX_DATASET_BYTES}")

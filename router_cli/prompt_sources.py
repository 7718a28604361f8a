"""Prompt files on this machine, read as the function reads those in the bucket."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from search_router.domain.intake.prompt_files import PromptFile

_CHUNK_BYTES = 256 * 1024


def prompt_file(path: Path) -> PromptFile:
    """Describe a file; whether it is packed is told by its name, as for an upload."""
    return PromptFile(path.name, path.name.endswith(".gz"), partial(_chunks, path))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk

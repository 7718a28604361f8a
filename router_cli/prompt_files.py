"""Prompt files on this machine, read the way intake reads those in the bucket."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from router_cli.console import CommandError
from search_router.domain.intake.prompt_files import PromptFile, read_prompts
from search_router.domain.weights import Modalities

_CHUNK_BYTES = 256 * 1024


def prompt_file(path: Path) -> PromptFile:
    """Return a file for intake; a name that ends in .gz means that it is gzipped."""
    return PromptFile(path.name, path.name.endswith(".gz"), partial(_chunks, path))


def read_queries(path: Path, modalities: Modalities) -> Iterator[str]:
    """Yield the queries of a prompt file; lines that intake would reject are skipped."""
    try:
        for record in read_prompts(prompt_file(path), modalities):
            yield record.query
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}.") from None


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(partial(file.read, _CHUNK_BYTES), b"")

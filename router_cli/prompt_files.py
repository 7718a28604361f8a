"""Files on this machine, read as the functions read those in the bucket."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from router_cli import parquet
from router_cli.console import CommandError
from search_router.domain.intake.prompt_files import PromptFile, read_prompts
from search_router.domain.logs.log_files import LogFile, open_log
from search_router.domain.streams import BOM, read_text
from search_router.domain.weights import Modalities

_CHUNK_BYTES = 256 * 1024
_MAX_DOCUMENT_BYTES = 64 * 1024 * 1024


def prompt_file(path: Path) -> PromptFile:
    """Return a file for intake, which reads it by its content."""
    return PromptFile(path.name, partial(_chunks, path))


def read_queries(path: Path, modalities: Modalities) -> Iterator[str]:
    """Yield the queries of a prompt file; lines that intake would reject are skipped."""
    try:
        for record in read_prompts(prompt_file(path), modalities):
            yield record.query
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}.") from None


def document(path: Path) -> bytes:
    """Return the text of a small file as UTF-8, in whatever encoding it is."""
    return b"".join(read_text(_chunks(path), _MAX_DOCUMENT_BYTES)).removeprefix(BOM)


def local_log(path: Path, query_field: str = "") -> LogFile:
    """Open a query log; raises InvalidInputError if it is none.

    Parquet is read as JSON Lines.
    """
    if parquet.is_parquet(path):
        name = parquet_name(path)
        return open_log(name, sys.maxsize, lambda _: parquet.json_lines(path), query_field)
    return open_log(path.name, path.stat().st_size, partial(_chunks, path), query_field)


def parquet_name(path: Path) -> str:
    """Return the name of a Parquet file as JSON Lines."""
    return f"{path.stem}.jsonl"


def _chunks(path: Path, end: int | None = None) -> Iterator[bytes]:
    """Yield the first `end` bytes of a file, or all of them."""
    with path.open("rb") as file:
        if end is not None:
            yield file.read(end)
            return
        yield from iter(partial(file.read, _CHUNK_BYTES), b"")

"""A whole prompt file: surveyed in one pass, read again for what was chosen, described."""

from collections.abc import Iterable, Iterator

from search_router.domain.compression import gunzip
from search_router.domain.intake import IntakeBuilder, Selection
from search_router.domain.lines import Line, split_lines
from search_router.domain.prompts import (
    MAX_RECORD_BYTES,
    PromptRecord,
    RejectedLine,
    read_record,
)
from search_router.domain.uploads import ObjectRef
from search_router.domain.weights import Modalities

MAX_FILE_BYTES = 1024**3  # AWS's own dataset validator: 1 GiB in all
_BOM = b"\xef\xbb\xbf"


def survey_prompts(
    chunks: Iterable[bytes],
    packed: bool,
    builder: IntakeBuilder,
    modalities: Modalities,
    base: int = 0,
) -> Iterator[RejectedLine]:
    """Read a prompt file into the builder and yield what is refused, in one pass.

    A row's place is `base` plus its byte offset; files of one dataset have bases that keep them
    apart. Raises InvalidInputError when the file as a whole cannot be read: damaged gzip or over 1
    GiB.
    """
    for line in _lines(chunks, packed):
        record = read_record(_without_bom(line), modalities)
        if record is not None:
            builder.add(record, base + line.offset)
        if isinstance(record, RejectedLine):
            yield record


def chosen_prompts(
    chunks: Iterable[bytes],
    packed: bool,
    selection: Selection,
    base: int = 0,
) -> Iterator[tuple[int, PromptRecord]]:
    """Read a prompt file again and yield the rows that were chosen, with their places."""
    places = selection.places
    for line in _lines(chunks, packed):
        if base + line.offset in places:
            record = read_record(_without_bom(line), selection.modalities)
            if isinstance(record, PromptRecord):
                yield base + line.offset, record


def manifest(selection: Selection, source: ObjectRef, training_sha256: str) -> dict[str, object]:
    """Describe an intake: the accounting, and what a person should know before paying."""
    return {
        "source": source._asdict(),
        "counts": selection.counts.model_dump(),
        "refusal": selection.refusal,
        "modalities": selection.modalities,
        "system_prompt": selection.system_prompt,
        "balance": selection.balance(),
        "prior": selection.prior(),
        "weight_histograms": selection.histograms(),
        "label_noise": dict(selection.noise),
        "training_sha256": training_sha256,
    }


def _lines(chunks: Iterable[bytes], packed: bool) -> Iterator[Line]:
    data = gunzip(chunks, MAX_FILE_BYTES) if packed else chunks
    return split_lines(data, MAX_RECORD_BYTES)


def _without_bom(line: Line) -> Line:
    """Drop a byte order mark from the very first line; its offset stays that of the file."""
    if line.offset or line.data is None:
        return line
    return line._replace(data=line.data.removeprefix(_BOM))

"""A whole prompt file: read in one pass, described in a manifest."""

from collections.abc import Iterable, Iterator

from search_router.domain.compression import gunzip
from search_router.domain.intake import Intake, IntakeBuilder
from search_router.domain.lines import Line, split_lines
from search_router.domain.prompts import MAX_RECORD_BYTES, RejectedLine, read_record
from search_router.domain.uploads import ObjectRef
from search_router.domain.weights import Modalities

MAX_FILE_BYTES = 1024**3  # AWS's own dataset validator: 1 GiB in all
_BOM = b"\xef\xbb\xbf"


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


def _without_bom(line: Line) -> Line:
    """Drop a byte order mark from the very first line; its offset stays that of the file."""
    if line.offset or line.data is None:
        return line
    return line._replace(data=line.data.removeprefix(_BOM))

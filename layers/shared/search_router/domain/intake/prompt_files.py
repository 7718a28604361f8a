"""The files of one dataset: surveyed in one pass, read again for what was chosen, described.

One file is a dataset of one. The order of several files decides nothing but the order in which
their lines are counted.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.prompt_reader import PromptReader
from search_router.domain.intake.prompts import PromptRecord, RejectedLine
from search_router.domain.intake.selection import FILE_SPACE, IntakeBuilder, Selection
from search_router.domain.intake.training_records import MAX_RECORD_BYTES
from search_router.domain.intake.training_sets import TrainingSet
from search_router.domain.streams import Line, gunzip, lines_at, split_lines
from search_router.domain.weights import Modalities

MAX_DATASET_BYTES = 1024**3  # AWS's own dataset validator: 1 GiB in all
MAX_DATASET_LINES = 3_000_000  # 200 times what a job takes; it bounds time and memory
_BOM = b"\xef\xbb\xbf"

Bytes = Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class PromptFile:
    """One file: what it is called where a place in it is told, and how to read it, twice."""

    name: str
    is_packed: bool
    read: Bytes


def survey(
    files: Sequence[PromptFile], builder: IntakeBuilder
) -> Iterator[tuple[PromptFile, RejectedLine]]:
    """First pass: take all files into the builder and yield what is refused.

    Raises InvalidInputError when a file cannot be read as a whole, or all are too much; the message
    names the file if there are several.
    """
    budget = _Budget(MAX_DATASET_BYTES, MAX_DATASET_LINES)
    for number, file in enumerate(files):
        builder.begin(file.name if len(files) > 1 else "")
        try:
            for rejected in _survey_file(number, file, builder, budget):
                yield file, rejected
        except InvalidInputError as error:
            where = f"{file.name}: " if len(files) > 1 else ""
            raise InvalidInputError(f"{where}{error}") from None


def select(files: Sequence[PromptFile], builder: IntakeBuilder) -> tuple[Selection, TrainingSet]:
    """Second pass: read again what is chosen of the rows that the builder has surveyed."""
    selection = builder.select()
    return selection.filled(_chosen(files, selection))


def read_lines(file: PromptFile, modalities: Modalities) -> Iterator[PromptRecord | RejectedLine]:
    """Yield what is accepted and what is refused of one file, in its order."""
    read = PromptReader(modalities).read
    for line in split_lines(_unpacked(file), MAX_RECORD_BYTES):
        record = read(line if line.offset else _without_bom(line))
        if record is not None:
            yield record


def read_prompts(file: PromptFile, modalities: Modalities) -> Iterator[PromptRecord]:
    """Yield what is accepted of one file, in its order."""
    return (line for line in read_lines(file, modalities) if isinstance(line, PromptRecord))


def _survey_file(
    number: int, file: PromptFile, builder: IntakeBuilder, budget: "_Budget"
) -> Iterator[RejectedLine]:
    read, add = PromptReader(builder.rules.modalities).read, builder.add
    base = number * FILE_SPACE
    for line in split_lines(budget.limited(_unpacked(file)), MAX_RECORD_BYTES):
        record = read(line if line.offset else _without_bom(line))
        if record is not None:
            add(record, base + line.offset)
            if isinstance(record, RejectedLine):
                yield record


def _chosen(
    files: Sequence[PromptFile], selection: Selection
) -> Iterator[tuple[int, PromptRecord]]:
    """Read only the chosen rows again."""
    places = selection.places
    reader = PromptReader(selection.modalities)
    for number, file in enumerate(files):
        base = number * FILE_SPACE
        first, last = bisect_left(places, base), bisect_left(places, base + FILE_SPACE)
        if first == last:
            continue
        offsets = [place - base for place in places[first:last]]
        for line in lines_at(_unpacked(file), offsets, MAX_RECORD_BYTES):
            record = reader.read(line if line.offset else _without_bom(line))
            if isinstance(record, PromptRecord):
                yield base + line.offset, record


@dataclass(slots=True)
class _Budget:
    """What all files together may hold."""

    bytes_left: int
    lines_left: int

    def limited(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass chunks on; raises InvalidInputError when it becomes too much."""
        for chunk in chunks:
            self.bytes_left -= len(chunk)
            self.lines_left -= chunk.count(b"\n")
            if self.bytes_left < 0:
                raise InvalidInputError(f"more than {MAX_DATASET_BYTES} bytes in all")
            if self.lines_left < 0:
                raise InvalidInputError(f"more than {MAX_DATASET_LINES} lines in all")
            yield chunk


def _unpacked(file: PromptFile) -> Iterable[bytes]:
    return gunzip(file.read(), MAX_DATASET_BYTES) if file.is_packed else file.read()


def _without_bom(line: Line) -> Line:
    """Drop a byte order mark from the very first line; its offset stays that of the file."""
    return line if line.data is None else line._replace(data=line.data.removeprefix(_BOM))

"""Reads the files of one dataset: one pass over all rows, another for the chosen ones."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.prompt_reader import PromptReader
from search_router.domain.intake.prompts import PromptRecord, RejectedLine, golden_line
from search_router.domain.intake.selection import (
    FILE_SPACE,
    IntakeBuilder,
    IntakeRules,
    Selection,
)
from search_router.domain.intake.training_records import MAX_RECORD_BYTES
from search_router.domain.queries import fingerprint
from search_router.domain.streams import BOM, Line, lines_at, read_text, split_lines
from search_router.domain.weights import Modalities

MAX_DATASET_BYTES = 1024**3  # AWS's own dataset validator: 1 GiB in all
MAX_DATASET_LINES = 3_000_000  # 200 times the rows of a job; bounds time and memory

ReadBytes = Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A file's name for error messages, and its bytes, which can be read twice."""

    name: str
    read: ReadBytes


OnRejected = Callable[[PromptFile, RejectedLine], object]


def select_rows(
    files: Sequence[PromptFile], rules: IntakeRules, on_rejected: OnRejected
) -> Selection:
    """Select a training set and a holdout; report every rejected line as it is read.

    Raises InvalidInputError if a file cannot be read or the files exceed a limit; the message
    names the file if there are several.
    """
    builder = IntakeBuilder(rules)
    limits = _Limits(MAX_DATASET_BYTES, MAX_DATASET_LINES)
    for index, file in enumerate(files):
        builder.begin(file.name if len(files) > 1 else "")
        try:
            _survey(index, file, builder, limits, on_rejected)
        except InvalidInputError as error:
            location = f"{file.name}: " if len(files) > 1 else ""
            raise InvalidInputError(f"{location}{error}") from None
    return builder.select(lambda positions: _rows_at(positions, files, rules.modalities))


def read_lines(file: PromptFile, modalities: Modalities) -> Iterator[PromptRecord | RejectedLine]:
    """Yield the accepted and the rejected lines of one file in order."""
    read = PromptReader(modalities).read
    for line in split_lines(_text(file), MAX_RECORD_BYTES):
        record = read(line if line.offset else _without_bom(line))
        if record is not None:
            yield record


def read_prompts(file: PromptFile, modalities: Modalities) -> Iterator[PromptRecord]:
    """Yield the accepted lines of one file in order."""
    return (line for line in read_lines(file, modalities) if isinstance(line, PromptRecord))


def _survey(
    index: int,
    file: PromptFile,
    builder: IntakeBuilder,
    limits: "_Limits",
    on_rejected: OnRejected,
) -> None:
    read, add = PromptReader(builder.rules.modalities).read, builder.add
    golden = builder.rules.golden
    base = index * FILE_SPACE
    for line in split_lines(limits.checked(_text(file)), MAX_RECORD_BYTES):
        record = read(line if line.offset else _without_bom(line))
        if record is not None:
            if golden and isinstance(record, PromptRecord) and fingerprint(record.query) in golden:
                record = golden_line(line)
            add(record, base + line.offset)
            if isinstance(record, RejectedLine):
                on_rejected(file, record)


def _rows_at(
    positions: Sequence[int], files: Sequence[PromptFile], modalities: Modalities
) -> Iterator[tuple[int, PromptRecord]]:
    """Read the rows at ascending positions, and only the files that hold one."""
    reader = PromptReader(modalities)
    for index, file in enumerate(files):
        base = index * FILE_SPACE
        first, last = bisect_left(positions, base), bisect_left(positions, base + FILE_SPACE)
        if first == last:
            continue
        offsets = [position - base for position in positions[first:last]]
        for line in lines_at(_text(file), offsets, MAX_RECORD_BYTES):
            record = reader.read(line if line.offset else _without_bom(line))
            if isinstance(record, PromptRecord):
                yield base + line.offset, record


@dataclass(slots=True)
class _Limits:
    """The bytes and lines that the files may still hold in all."""

    bytes_left: int
    lines_left: int

    def checked(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass chunks on; raises InvalidInputError when a limit is exceeded."""
        for chunk in chunks:
            self.bytes_left -= len(chunk)
            self.lines_left -= chunk.count(b"\n")
            if self.bytes_left < 0:
                raise InvalidInputError(
                    f"more than {MAX_DATASET_BYTES} bytes in all. Split the dataset."
                )
            if self.lines_left < 0:
                raise InvalidInputError(
                    f"more than {MAX_DATASET_LINES} lines in all. Split the dataset."
                )
            yield chunk


def _text(file: PromptFile) -> Iterator[bytes]:
    return read_text(file.read(), MAX_DATASET_BYTES)


def _without_bom(line: Line) -> Line:
    """Drop a byte order mark from a file's first line; its offset stays that of the file."""
    return line if line.data is None else line._replace(data=line.data.removeprefix(BOM))

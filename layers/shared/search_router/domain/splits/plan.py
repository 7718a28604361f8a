"""The plan that cuts an upload into splits, and the splits' messages.

Splits are Hadoop-style input splits. A file of plain lines is cut at any byte, so its plan needs
one HEAD and one small read. A quoted file, and one that is not plain UTF-8 with LF or CRLF, is read
once and cut between rows.
"""

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from search_router.domain.errors import MalformedMessageError
from search_router.domain.splits.formats import MAX_ROW_BYTES, RowLayout
from search_router.domain.streams import TextForm
from search_router.domain.uploads import ObjectRef

SAMPLE_BYTES = 64 * 1024
MAX_READ_BYTES = 4 * 1024**3  # of text: as much as one planner reads within 15 minutes
MAX_SPLIT_BYTES = 2 * 1024 * 1024
MIN_SPLIT_BYTES = 64 * 1024
_USUAL_ROW_BYTES = 100.0  # if the sample holds no row

ModelT = TypeVar("ModelT", bound=BaseModel)


class Layout(StrEnum):
    """Where a split's bytes are stored, and whether they are cut between rows."""

    RANGE = "range"  # in the upload, cut at any byte
    ROWS = "rows"  # in the upload, cut between rows
    COPY = "copy"  # converted to plain text in the data bucket, cut between rows


class SplitPlan(BaseModel):
    """How one upload is cut into splits; stored once as `plan.json`.

    `size` is the upload's in bytes, `form` says how it stores its text; offsets are in that text. A
    file cut between rows has the end offsets of its splits in `cuts` and the numbers of their first
    lines in `first_lines`, and its rows are counted; otherwise `rows` is estimated from the sample.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    bucket: str
    key: str
    version_id: str | None
    size: int
    form: TextForm = TextForm()
    split_bytes: int
    splits: int
    layout: Layout = Layout.RANGE
    cuts: tuple[int, ...] = ()
    first_lines: tuple[int, ...] = ()
    rows: int = 0
    rows_are_counted: bool = False

    @property
    def source(self) -> ObjectRef:
        """The uploaded object."""
        return ObjectRef(self.bucket, self.key, self.version_id)

    def first_line(self, split: int) -> int:
        """Return the number of a split's first line from 1, or 0 if it is not known."""
        if self.first_lines:
            return self.first_lines[split]
        return 0 if split else 1

    @property
    def ranges(self) -> Iterator[tuple[int, int]]:
        """The [start, end) of every split, in order."""
        start = 0
        for end in self.cuts or self._even_cuts():
            yield start, end
            start = end

    def holds(self, message: "UploadSplit") -> bool:
        """Whether a message is one of this plan's."""
        split = message.split
        if not 0 <= split < self.splits:
            return False
        if self.cuts:
            start, end = self.cuts[split - 1] if split else 0, self.cuts[split]
        else:
            start, end = split * self.split_bytes, min(self.size, (split + 1) * self.split_bytes)
        planned = (start, end, self.source, self.layout)
        return planned == (message.start, message.end, message.source, message.layout)

    def _even_cuts(self) -> Iterator[int]:
        for split in range(1, self.splits + 1):
            yield min(self.size, split * self.split_bytes)


class UploadSplit(BaseModel):
    """Where to read one split of an upload: the base of the SQS messages.

    `first_line` is the number of its first line from 1, or 0 if it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    split: int
    start: int
    end: int
    bucket: str
    key: str
    version_id: str | None
    layout: Layout = Layout.RANGE
    first_line: int = 0

    @property
    def source(self) -> ObjectRef:
        """The uploaded object."""
        return ObjectRef(self.bucket, self.key, self.version_id)

    @property
    def upload(self) -> str:
        """The id of the upload in the ledger."""
        raise NotImplementedError

    @property
    def row_layout(self) -> RowLayout:
        """How to find the split's rows."""
        raise NotImplementedError


class Attempts(NamedTuple):
    """Retries of one split that ended without reporting an error.

    `answered` is the number of its rows that were done at the last check for progress.
    """

    made: int
    answered: int


def mean_row_bytes(sample: bytes) -> float:
    """Estimate the bytes of a row, line end included, from the whole lines of a sample."""
    *lines, last = sample.split(b"\n")
    sizes = [len(line) + 1 for line in lines or [last] if line.strip()]
    usable = [size for size in sizes if size <= MAX_ROW_BYTES]
    return sum(usable) / len(usable) if usable else _USUAL_ROW_BYTES


def plan_splits(size: int, row_bytes: float, rows: int, workers: int) -> tuple[int, int]:
    """Return (bytes per split, number of splits) for `size` bytes of text.

    A split holds at most `rows` rows of `row_bytes` and at most 2 MiB. A small file has a split for
    each worker.
    """
    limit = min(MAX_SPLIT_BYTES, max(MIN_SPLIT_BYTES, int(rows * row_bytes)))
    splits = max(math.ceil(size / limit), min(workers, math.ceil(size / MIN_SPLIT_BYTES)), 1)
    return math.ceil(size / splits), splits


def read_split(kind: type[ModelT], body: str) -> ModelT:
    """Parse a message's body; raises MalformedMessageError, which does not quote it."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors()[:3])
        raise MalformedMessageError(f"not a split message. Invalid fields: {fields}") from None

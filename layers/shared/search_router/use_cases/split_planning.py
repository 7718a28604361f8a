"""Plan an upload: find where to cut it into splits.

A file of plain lines costs one HEAD and one read of 64 KiB. A gzipped file is unpacked once into
copies in the data bucket, and a quoted CSV is read once to find its rows, in bounded memory.
"""

from collections.abc import Iterator
from typing import NamedTuple

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError
from search_router.domain.splits.cuts import cut_rows
from search_router.domain.splits.formats import RowLayout
from search_router.domain.splits.plan import (
    SAMPLE_BYTES,
    Layout,
    SplitPlan,
    mean_row_bytes,
    plan_splits,
)
from search_router.domain.streams import gunzip, is_gzip
from search_router.domain.uploads import ObjectRef
from search_router.ports import ObjectStore, UploadStore

MAX_SPLITS = 20_000  # the finisher holds a marker of 6 KiB for each
MAX_READ_BYTES = 4 * 1024**3  # of text: as much as one planner reads within 15 minutes
_USUAL_PACKING = 4  # typical gzip ratio, to spread small files over the workers


class UploadedFile(NamedTuple):
    """An uploaded file and its first 64 KiB as stored."""

    source: ObjectRef
    size: int
    start: bytes

    @property
    def packed(self) -> bool:
        """Whether the file is gzipped."""
        return is_gzip(self.start)

    def text(self, uploads: UploadStore, end: int | None = None) -> Iterator[bytes]:
        """Stream the unpacked text; of a plain file at most `end` bytes."""
        if not self.packed:
            return uploads.read(self.source, 0, end)
        return gunzip(uploads.read(self.source), MAX_READ_BYTES)

    def sample(self, size: int, uploads: UploadStore) -> bytes:
        """Return at most the first `size` bytes of the text."""
        if not self.packed and min(size, self.size) <= len(self.start):
            return self.start
        return _first(self.text(uploads, min(size, self.size)), size)


class _Cuts(NamedTuple):
    """Where the splits of a file end, and the number of rows in it."""

    ends: tuple[int, ...]
    rows: int


def opened(source: ObjectRef, size: int, uploads: UploadStore) -> UploadedFile:
    """Read the beginning of a file; raises InvalidInputError for one that is too large to read."""
    start = b"".join(uploads.read(source, 0, min(size, SAMPLE_BYTES)))
    file = UploadedFile(source, size, start)
    if file.packed and size > MAX_READ_BYTES:
        raise _too_large()
    return file


def planned(
    upload: str,
    file: UploadedFile,
    sample: bytes,
    layout: RowLayout,
    limits: tuple[int, int],
    uploads: UploadStore,
    objects: ObjectStore,
) -> SplitPlan:
    """Plan one upload, and write the unpacked copies of a gzipped one.

    `limits` are the rows of a split and the number of workers. Raises InvalidInputError for a file
    that cannot be read.
    """
    rows, workers = limits
    row_bytes = mean_row_bytes(sample)
    likely_size = file.size * (_USUAL_PACKING if file.packed else 1)
    split_bytes, splits = plan_splits(likely_size, row_bytes, rows, workers)
    if splits > MAX_SPLITS:
        limit = MAX_SPLITS * split_bytes // 1024**2
        raise InvalidInputError(
            f"{splits:,} splits, the limit is {MAX_SPLITS:,}. Cut it into files of {limit:,} MiB."
        )
    cuts = None
    if file.packed or layout.quoted:
        cuts = _cut_between_rows(upload, file, layout, (split_bytes, rows), uploads, objects)
    return SplitPlan(
        bucket=file.source.bucket,
        key=file.source.key,
        version_id=file.source.version_id,
        size=file.size,
        split_bytes=split_bytes,
        splits=len(cuts.ends) if cuts else splits,
        layout=Layout.RANGE if not cuts else Layout.COPY if file.packed else Layout.ROWS,
        cuts=cuts.ends if cuts else (),
        rows=cuts.rows if cuts else round(file.size / row_bytes),
        rows_are_counted=cuts is not None,
    )


def _too_large() -> InvalidInputError:
    return InvalidInputError(f"more than {MAX_READ_BYTES} bytes. Cut it into several files.")


def _first(chunks: Iterator[bytes], size: int) -> bytes:
    """Return at most the first `size` bytes."""
    taken = bytearray()
    for chunk in chunks:
        taken += chunk
        if len(taken) >= size:
            break
    return bytes(taken[:size])


def _cut_between_rows(
    upload: str,
    file: UploadedFile,
    layout: RowLayout,
    limits: tuple[int, int],
    uploads: UploadStore,
    objects: ObjectStore,
) -> _Cuts:
    """Read the whole file, cut it between rows and count them; copy the splits of a gzipped file.

    `limits` are a split's largest numbers of bytes and rows.
    """
    if file.size > MAX_READ_BYTES:
        raise _too_large()
    ends: list[int] = []
    rows = 0
    for cut in cut_rows(file.text(uploads), layout, *limits):
        if file.packed:
            objects.put(naming.split_copy_key(upload, cut.start, cut.end), cut.data)
        ends.append(cut.end)
        if len(ends) > MAX_SPLITS:
            raise InvalidInputError(f"more than {MAX_SPLITS:,} splits. Cut it into several files.")
        rows += cut.rows
    return _Cuts(tuple(ends), rows)

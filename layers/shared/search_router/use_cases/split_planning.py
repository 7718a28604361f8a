"""Plan an upload: find where to cut it into splits.

A file of plain lines costs one HEAD and one read of 64 KiB. A file that is gzipped, not UTF-8 or
has CR line ends is converted once into copies in the data bucket, and a quoted CSV is read once to
find its rows, in bounded memory.
"""

from collections.abc import Iterable
from typing import NamedTuple

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError
from search_router.domain.splits.cuts import cut_rows
from search_router.domain.splits.formats import RowLayout
from search_router.domain.splits.plan import (
    MAX_READ_BYTES,
    SAMPLE_BYTES,
    Layout,
    SplitPlan,
    mean_row_bytes,
    plan_splits,
)
from search_router.domain.streams import TextForm, find_form, first_bytes, text_of
from search_router.domain.uploads import ObjectRef
from search_router.ports import ObjectStore, UploadStore

MAX_SPLITS = 20_000  # the finisher holds a marker of 6 KiB for each
_USUAL_PACKING = 4  # typical gzip ratio, to spread small files over the workers


class UploadedFile(NamedTuple):
    """An uploaded file, how it stores its text, and its first 64 KiB as stored."""

    source: ObjectRef
    size: int
    form: TextForm
    start: bytes = b""

    def text(self, uploads: UploadStore, end: int | None = None) -> Iterable[bytes]:
        """Stream the text as UTF-8; of a plain file at most `end` bytes."""
        if self.form.is_plain:
            return uploads.read(self.source, 0, end)
        return text_of(uploads.read(self.source), self.form, MAX_READ_BYTES)

    def sample(self, size: int, uploads: UploadStore) -> bytes:
        """Return at most the first `size` bytes of the text."""
        if self.form.is_plain and min(size, self.size) <= len(self.start):
            return self.start
        return first_bytes(self.text(uploads, min(size, self.size)), size)


class _Cuts(NamedTuple):
    """Where the splits of a file end, the numbers of their first lines, and the rows in it."""

    ends: tuple[int, ...]
    first_lines: tuple[int, ...]
    rows: int


def opened(source: ObjectRef, size: int, uploads: UploadStore) -> UploadedFile:
    """Read the beginning of a file; raises InvalidInputError for one that is too large to read."""
    start = b"".join(uploads.read(source, 0, min(size, SAMPLE_BYTES)))
    file = UploadedFile(source, size, find_form(start), start)
    if file.form.packed and size > MAX_READ_BYTES:
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
    """Plan one upload, and write the converted copies of one that is not plain.

    `limits` are the rows of a split and the number of workers. Raises InvalidInputError for a file
    that cannot be read.
    """
    rows, workers = limits
    row_bytes = mean_row_bytes(sample)
    likely_size = file.size * (_USUAL_PACKING if file.form.packed else 1)
    split_bytes, splits = plan_splits(likely_size, row_bytes, rows, workers)
    if splits > MAX_SPLITS:
        limit = MAX_SPLITS * split_bytes // 1024**2
        raise InvalidInputError(
            f"{splits:,} splits, the limit is {MAX_SPLITS:,}. Cut it into files of {limit:,} MiB."
        )
    cuts = None
    if layout.quoted or not file.form.is_plain:
        cuts = _cut_between_rows(upload, file, layout, (split_bytes, rows), uploads, objects)
    return SplitPlan(
        bucket=file.source.bucket,
        key=file.source.key,
        version_id=file.source.version_id,
        size=file.size,
        form=file.form,
        split_bytes=split_bytes,
        splits=len(cuts.ends) if cuts else splits,
        layout=Layout.RANGE if not cuts else Layout.ROWS if file.form.is_plain else Layout.COPY,
        cuts=cuts.ends if cuts else (),
        first_lines=cuts.first_lines if cuts else (),
        rows=cuts.rows if cuts else round(file.size / row_bytes),
        rows_are_counted=cuts is not None,
    )


def _too_large() -> InvalidInputError:
    return InvalidInputError(f"more than {MAX_READ_BYTES} bytes. Cut it into several files.")


def _cut_between_rows(
    upload: str,
    file: UploadedFile,
    layout: RowLayout,
    limits: tuple[int, int],
    uploads: UploadStore,
    objects: ObjectStore,
) -> _Cuts:
    """Read the whole file, cut it between rows and count them; copy splits that are not plain.

    `limits` are a split's largest numbers of bytes and rows.
    """
    if file.size > MAX_READ_BYTES:
        raise _too_large()
    ends: list[int] = []
    lines: list[int] = []
    rows = 0
    for cut in cut_rows(file.text(uploads), layout, *limits):
        if not file.form.is_plain:
            objects.put(naming.split_copy_key(upload, cut.start, cut.end), cut.data)
        ends.append(cut.end)
        if len(ends) > MAX_SPLITS:
            raise InvalidInputError(f"more than {MAX_SPLITS:,} splits. Cut it into several files.")
        lines.append(cut.first_line)
        rows += cut.rows
    return _Cuts(tuple(ends), tuple(lines), rows)

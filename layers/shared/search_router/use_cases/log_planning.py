"""Plan a query log: find its dialect and where to cut it into splits.

A log of plain lines costs one HEAD and one read of 64 KiB. A gzipped log is unpacked once into
copies in the data bucket, and a quoted CSV is read once to find its rows, in bounded memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.cuts import cut_rows
from search_router.domain.logs.dialects import Dialect, find_dialect, no_query_field
from search_router.domain.logs.query_logs import (
    MAX_SAMPLE_BYTES,
    SAMPLE_BYTES,
    Layout,
    LogPlan,
    mean_row_bytes,
    plan_splits,
    split_rows,
)
from search_router.domain.streams import gunzip, is_gzip
from search_router.domain.uploads import QUERY_FIELD_METADATA, ObjectRef
from search_router.ports import ObjectStore, UploadStore

MAX_READ_BYTES = 4 * 1024**3  # of text: as much as one planner reads within 15 minutes
_SAMPLE_GROWTH = 16
_USUAL_PACKING = 4  # typical gzip ratio, to spread small logs over the workers


@dataclass(frozen=True, slots=True)
class SplitRules:
    """The settings that limit a split's rows and name the query field."""

    requests_per_minute: float
    workers: int
    query_field: str = ""


class _Log(NamedTuple):
    """An uploaded log and its first 64 KiB as stored."""

    source: ObjectRef
    size: int
    start: bytes

    @property
    def packed(self) -> bool:
        return is_gzip(self.start)

    def text(self, uploads: UploadStore, end: int | None = None) -> Iterator[bytes]:
        """Stream the unpacked text; of a plain log at most `end` bytes."""
        if not self.packed:
            return uploads.read(self.source, 0, end)
        return gunzip(uploads.read(self.source), MAX_READ_BYTES)

    def sample(self, size: int, uploads: UploadStore) -> bytes:
        """Return at most the first `size` bytes of the text."""
        if not self.packed and min(size, self.size) <= len(self.start):
            return self.start
        return _first(self.text(uploads, min(size, self.size)), size)


class _Cuts(NamedTuple):
    """Where the splits of a log end, and the number of rows in it."""

    ends: tuple[int, ...]
    rows: int


def plan_log(
    log_id: str,
    source: ObjectRef,
    rules: SplitRules,
    champion_version: int,
    uploads: UploadStore,
    objects: ObjectStore,
) -> LogPlan:
    """Plan one log, and write the unpacked copies of a gzipped one.

    Raises InvalidInputError for a log that cannot be read, NotFoundError for a deleted one.
    """
    info = uploads.info(source)
    wanted = info.metadata.get(QUERY_FIELD_METADATA, rules.query_field)
    start = b"".join(uploads.read(source, 0, min(info.size, SAMPLE_BYTES)))
    log = _Log(source, info.size, start)
    sample, dialect = _explore(log, wanted, uploads)
    rows = split_rows(rules.requests_per_minute, rules.workers)
    row_bytes = mean_row_bytes(sample)
    likely_size = info.size * (_USUAL_PACKING if log.packed else 1)
    split_bytes, splits = plan_splits(likely_size, row_bytes, rows, rules.workers)
    cuts = None
    if log.packed or dialect.quoted:
        cuts = _cut_between_rows(log_id, log, dialect, (split_bytes, rows), uploads, objects)
    return LogPlan(
        log_id=log_id,
        bucket=source.bucket,
        key=source.key,
        version_id=source.version_id,
        size=info.size,
        dialect=dialect,
        champion_version=champion_version,
        split_bytes=split_bytes,
        splits=len(cuts.ends) if cuts else splits,
        layout=Layout.RANGE if not cuts else Layout.COPY if log.packed else Layout.ROWS,
        cuts=cuts.ends if cuts else (),
        rows=cuts.rows if cuts else round(info.size / row_bytes),
        rows_are_counted=cuts is not None,
        requests_per_minute=rules.requests_per_minute,
    )


def _explore(log: _Log, wanted: str, uploads: UploadStore) -> tuple[bytes, Dialect]:
    """Read as much of a log's beginning as it takes to find its dialect."""
    size = SAMPLE_BYTES
    while True:
        sample = log.sample(size, uploads)
        whole = len(sample) < size
        dialect = find_dialect(log.source.key, sample, whole=whole, wanted=wanted)
        if dialect is not None:
            return sample, dialect
        if whole and not sample.strip():
            raise InvalidInputError("the file is empty")
        if whole or size >= MAX_SAMPLE_BYTES:
            raise no_query_field(wanted)
        size *= _SAMPLE_GROWTH


def _first(chunks: Iterator[bytes], size: int) -> bytes:
    """Return at most the first `size` bytes."""
    taken = bytearray()
    for chunk in chunks:
        taken += chunk
        if len(taken) >= size:
            break
    return bytes(taken[:size])


def _cut_between_rows(
    log_id: str,
    log: _Log,
    dialect: Dialect,
    limits: tuple[int, int],
    uploads: UploadStore,
    objects: ObjectStore,
) -> _Cuts:
    """Read the whole log, cut it between rows and count them; copy the splits of a gzipped log.

    `limits` are a split's largest numbers of bytes and rows.
    """
    if log.size > MAX_READ_BYTES:
        raise InvalidInputError(f"more than {MAX_READ_BYTES} bytes. Cut it into several logs.")
    ends: list[int] = []
    rows = 0
    for cut in cut_rows(log.text(uploads), dialect, *limits):
        if log.packed:
            objects.put(naming.split_copy_key(log_id, cut.start, cut.end), cut.data)
        ends.append(cut.end)
        rows += cut.rows
    return _Cuts(tuple(ends), rows)

"""How one query log becomes a plan: what its rows look like, and where it is cut.

A log of plain lines costs one HEAD and one read of 64 KiB. A packed log is unpacked once into
copies in the data bucket, a quoted CSV is read once to find its rows; both in bounded memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.cuts import Cut, cut_rows
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

MAX_READ_BYTES = 4 * 1024**3  # unpacked text that one planner reads within its 15 minutes
_SAMPLE_GROWTH = 16
_USUAL_PACKING = 4  # how much larger a packed log is unpacked; spreads small ones over workers


@dataclass(frozen=True, slots=True)
class SplitRules:
    """The settings that decide how large a split may be, and where the query is."""

    requests_per_minute: float
    workers: int
    query_field: str = ""


class _Log(NamedTuple):
    """An uploaded log and its first 64 KiB as they are stored."""

    source: ObjectRef
    size: int
    start: bytes

    @property
    def packed(self) -> bool:
        return is_gzip(self.start)

    def text(self, uploads: UploadStore, end: int | None = None) -> Iterator[bytes]:
        """Stream the unpacked text; of a plain log no more than `end` bytes."""
        if not self.packed:
            return uploads.read(self.source, 0, end)
        return gunzip(uploads.read(self.source), MAX_READ_BYTES)

    def sample(self, size: int, uploads: UploadStore) -> bytes:
        """Return the first `size` bytes of the text, or all if there are fewer."""
        if not self.packed and min(size, self.size) <= len(self.start):
            return self.start
        return _first(self.text(uploads, min(size, self.size)), size)


def plan_log(
    log_id: str,
    source: ObjectRef,
    rules: SplitRules,
    champion_version: int,
    uploads: UploadStore,
    objects: ObjectStore,
) -> LogPlan:
    """Plan one log; unpacked copies are written on the way, at keys that say what is in them.

    Raises InvalidInputError for a log that cannot be read, NotFoundError for one that is gone.
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
    plan = LogPlan(
        log_id=log_id,
        bucket=source.bucket,
        key=source.key,
        version_id=source.version_id,
        size=info.size,
        dialect=dialect,
        champion_version=champion_version,
        split_bytes=split_bytes,
        splits=splits,
        rows=round(info.size / row_bytes),
        requests_per_minute=rules.requests_per_minute,
    )
    if log.packed or dialect.quoted:
        return _read_through(plan, log, rows, uploads, objects)
    return plan


def _explore(log: _Log, wanted: str, uploads: UploadStore) -> tuple[bytes, Dialect]:
    """Read as much of a log's beginning as it takes to know its dialect."""
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
    """Take the first `size` bytes, or all if there are fewer."""
    taken = bytearray()
    for chunk in chunks:
        taken += chunk
        if len(taken) >= size:
            break
    return bytes(taken[:size])


def _read_through(
    plan: LogPlan, log: _Log, rows: int, uploads: UploadStore, objects: ObjectStore
) -> LogPlan:
    """Cut a log between rows and count them."""
    if log.size > MAX_READ_BYTES:
        raise InvalidInputError(f"more than {MAX_READ_BYTES} bytes; cut it into several logs")
    ends: list[int] = []
    counted = 0
    for cut in cut_rows(log.text(uploads), plan.dialect, plan.split_bytes, rows):
        if log.packed:
            _copy(plan.log_id, cut, objects)
        ends.append(cut.end)
        counted += cut.rows
    return plan.model_copy(
        update={
            "layout": Layout.COPY if log.packed else Layout.ROWS,
            "cuts": tuple(ends),
            "splits": len(ends),
            "rows": counted,
            "rows_are_counted": True,
        }
    )


def _copy(log_id: str, cut: Cut, objects: ObjectStore) -> None:
    objects.put(naming.split_copy_key(log_id, cut.start, cut.end), cut.data)

"""Plan a query log: find its dialect and where to cut it into splits.

A log of plain lines costs one HEAD and one read of 64 KiB. A log that is gzipped, not UTF-8 or has
CR line ends is converted once into copies in the data bucket, and a quoted CSV is read once to find
its rows, in bounded memory.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.cuts import cut_rows
from search_router.domain.logs.log_files import MAX_READ_BYTES, LogFile, open_log
from search_router.domain.logs.query_logs import (
    Layout,
    LogPlan,
    mean_row_bytes,
    plan_splits,
    split_rows,
)
from search_router.domain.uploads import QUERY_FIELD_METADATA, ObjectRef, decoded_metadata
from search_router.ports import ObjectStore, UploadStore

_USUAL_PACKING = 4  # typical gzip ratio, to spread small logs over the workers


@dataclass(frozen=True, slots=True)
class SplitRules:
    """The settings that limit a split's rows and name the query field."""

    requests_per_minute: float
    workers: int
    query_field: str = ""


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
    wanted = decoded_metadata(info.metadata.get(QUERY_FIELD_METADATA, rules.query_field))
    log = open_log(source.key, info.size, partial(uploads.read, source, 0), wanted)
    rows = split_rows(rules.requests_per_minute, rules.workers)
    row_bytes = mean_row_bytes(log.sample)
    likely_size = info.size * (_USUAL_PACKING if log.form.packed else 1)
    split_bytes, splits = plan_splits(likely_size, row_bytes, rows, rules.workers)
    cuts = None
    if log.dialect.quoted or not log.form.is_plain:
        cuts = _cut_between_rows(log_id, log, info.size, (split_bytes, rows), objects)
    return LogPlan(
        log_id=log_id,
        bucket=source.bucket,
        key=source.key,
        version_id=source.version_id,
        size=info.size,
        form=log.form,
        dialect=log.dialect,
        warnings=log.warnings,
        champion_version=champion_version,
        split_bytes=split_bytes,
        splits=len(cuts.ends) if cuts else splits,
        layout=Layout.RANGE if not cuts else Layout.ROWS if log.form.is_plain else Layout.COPY,
        cuts=cuts.ends if cuts else (),
        rows=cuts.rows if cuts else round(info.size / row_bytes),
        rows_are_counted=cuts is not None,
        requests_per_minute=rules.requests_per_minute,
    )


def _cut_between_rows(
    log_id: str,
    log: LogFile,
    size: int,
    limits: tuple[int, int],
    objects: ObjectStore,
) -> _Cuts:
    """Read the whole log, cut it between rows and count them; copy splits that are not plain text.

    `limits` are a split's largest numbers of bytes and rows.
    """
    if size > MAX_READ_BYTES:
        raise InvalidInputError(f"more than {MAX_READ_BYTES} bytes. Cut it into several logs.")
    ends: list[int] = []
    rows = 0
    for cut in cut_rows(log.text(), log.dialect, *limits):
        if not log.form.is_plain:
            objects.put(naming.split_copy_key(log_id, cut.start, cut.end), cut.data)
        ends.append(cut.end)
        rows += cut.rows
    return _Cuts(tuple(ends), rows)

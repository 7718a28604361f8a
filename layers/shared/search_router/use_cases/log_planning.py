"""Plan a query log: find its dialect, then where to cut it into splits."""

from dataclasses import dataclass

from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.dialects import Dialect, find_dialect, no_query_field
from search_router.domain.logs.query_logs import MAX_SAMPLE_BYTES, LogPlan, split_rows
from search_router.domain.splits.plan import SAMPLE_BYTES
from search_router.domain.uploads import QUERY_FIELD_METADATA, ObjectRef
from search_router.ports import ObjectStore, UploadStore
from search_router.use_cases.split_planning import UploadedFile, opened, planned

_SAMPLE_GROWTH = 16


@dataclass(frozen=True, slots=True)
class SplitRules:
    """The settings that limit a split's rows and name the query field."""

    requests_per_minute: float
    workers: int
    query_field: str = ""


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
    log = opened(source, info.size, uploads)
    sample, dialect = _explore(log, wanted, uploads)
    limits = split_rows(rules.requests_per_minute, rules.workers), rules.workers
    plan = planned(log_id, log, sample, dialect, limits, uploads, objects)
    return LogPlan(
        **dict(plan),
        log_id=log_id,
        dialect=dialect,
        champion_version=champion_version,
        requests_per_minute=rules.requests_per_minute,
    )


def _explore(log: UploadedFile, wanted: str, uploads: UploadStore) -> tuple[bytes, Dialect]:
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

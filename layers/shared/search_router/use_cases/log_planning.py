"""Plan a query log: find its dialect, then where to cut it into splits."""

from dataclasses import dataclass

from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.dialects import Dialect, find_dialect, no_query_field
from search_router.domain.logs.query_logs import MAX_SAMPLE_BYTES, LogPlan, split_rows
from search_router.domain.splits.plan import SAMPLE_BYTES
from search_router.domain.uploads import QUERY_FIELD_METADATA, ObjectRef
from search_router.ports import ObjectStore, UploadStore
from search_router.use_cases.split_planning import UploadedFile, opened, planned

MAX_DIALECT_BYTES = 64 * 1024  # every message holds it; a batch is ten messages
_SAMPLE_GROWTH = 16


@dataclass(frozen=True, slots=True)
class SplitRules:
    """The settings that limit a split's rows and a log's hours, and name the query field."""

    requests_per_minute: float
    workers: int
    query_field: str = ""
    max_hours: float = 72.0


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
    _check_message_size(dialect)
    plan = planned(log_id, log, sample, dialect, limits, uploads, objects)
    log_plan = LogPlan(
        **dict(plan),
        log_id=log_id,
        dialect=dialect,
        champion_version=champion_version,
        requests_per_minute=rules.requests_per_minute,
    )
    if log_plan.hours_if_distinct > rules.max_hours:
        raise InvalidInputError(
            f"{log_plan.rows:,} rows take {log_plan.hours_if_distinct:,.0f} hours at the batch "
            f"share of the quota, the limit is {rules.max_hours:g} (LogMaxHours). Cut it into "
            "several files."
        )
    return log_plan


def _check_message_size(dialect: Dialect) -> None:
    """Raise InvalidInputError if ten messages with this dialect may exceed SQS's 1 MiB."""
    size = len(dialect.model_dump_json().encode("utf-8", "surrogatepass"))
    if size > MAX_DIALECT_BYTES:
        raise InvalidInputError(
            f"the column names take {size} bytes as JSON, the limit is {MAX_DIALECT_BYTES}. "
            "Shorten the header or the name of the query field."
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

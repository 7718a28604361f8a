"""Plan a query log: find its dialect, then where to cut it into splits."""

from dataclasses import dataclass
from functools import partial

from search_router.domain.errors import InvalidInputError
from search_router.domain.logs.dialects import Dialect
from search_router.domain.logs.log_files import open_log
from search_router.domain.logs.query_logs import LogPlan, split_rows
from search_router.domain.uploads import QUERY_FIELD_METADATA, ObjectRef, decoded_metadata
from search_router.ports import ObjectStore, UploadStore
from search_router.use_cases.split_planning import UploadedFile, planned

MAX_DIALECT_BYTES = 64 * 1024  # every message holds it; a batch is ten messages


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
    """Plan one log, and write the converted copies of one that is not plain.

    Raises InvalidInputError for a log that cannot be read, NotFoundError for a deleted one.
    """
    info = uploads.info(source)
    wanted = decoded_metadata(info.metadata.get(QUERY_FIELD_METADATA, rules.query_field))
    log = open_log(source.key, info.size, partial(uploads.read, source, 0), wanted)
    file = UploadedFile(source, info.size, log.form)
    limits = split_rows(rules.requests_per_minute, rules.workers), rules.workers
    _check_message_size(log.dialect)
    plan = planned(log_id, file, log.sample, log.dialect, limits, uploads, objects)
    log_plan = LogPlan(
        **dict(plan),
        log_id=log_id,
        dialect=log.dialect,
        warnings=log.warnings,
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

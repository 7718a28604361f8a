"""Plan a query log: find its dialect, then where to cut it into splits."""

from dataclasses import dataclass
from functools import partial

from search_router.domain.logs.log_files import open_log
from search_router.domain.logs.query_logs import LogPlan, split_rows
from search_router.domain.uploads import QUERY_FIELD_METADATA, ObjectRef, decoded_metadata
from search_router.ports import ObjectStore, UploadStore
from search_router.use_cases.split_planning import UploadedFile, planned


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
    """Plan one log, and write the converted copies of one that is not plain.

    Raises InvalidInputError for a log that cannot be read, NotFoundError for a deleted one.
    """
    info = uploads.info(source)
    wanted = decoded_metadata(info.metadata.get(QUERY_FIELD_METADATA, rules.query_field))
    log = open_log(source.key, info.size, partial(uploads.read, source, 0), wanted)
    file = UploadedFile(source, info.size, log.form)
    limits = split_rows(rules.requests_per_minute, rules.workers), rules.workers
    plan = planned(log_id, file, log.sample, log.dialect, limits, uploads, objects)
    return LogPlan(
        **dict(plan),
        log_id=log_id,
        dialect=log.dialect,
        warnings=log.warnings,
        champion_version=champion_version,
        requests_per_minute=rules.requests_per_minute,
    )

"""A query log was uploaded: plan its splits and put one message per split on the queue."""

from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.query_logs import (
    SAMPLE_BYTES,
    LogPlan,
    LogState,
    QueryLog,
    detect_dialect,
    plan_splits,
    split_messages,
)
from search_router.domain.uploads import (
    QUERY_LOG_SUFFIXES,
    QUERY_LOGS_PREFIX,
    ObjectRef,
    is_folder,
)
from search_router.ports import (
    ChampionRepository,
    Clock,
    ObjectStore,
    QueryLogLedger,
    SplitQueue,
    UploadStore,
)
from search_router.use_cases.outcomes import Ignored


@dataclass(frozen=True, slots=True)
class SplitRules:
    """The settings that decide how large a split may be."""

    requests_per_minute: float
    workers: int


def split_query_log(
    source: ObjectRef,
    *,
    rules: SplitRules,
    uploads: UploadStore,
    objects: ObjectStore,
    champions: ChampionRepository,
    ledger: QueryLogLedger,
    queue: SplitQueue,
    clock: Clock,
) -> QueryLog | Ignored:
    """Record a log and queue its splits, or record it as FAILED with the reason.

    The first plan written is the plan: a retry, at whatever point, sends the same messages.
    """
    if is_folder(source.key):
        return Ignored("a folder, not a file")
    log_id = naming.log_id(source.bucket, source.key, source.version_id)
    log = ledger.get(log_id)
    if log is not None and log.state is not LogState.PLANNED:
        return Ignored(f"the log is {log.state} already")
    plan = _written_plan(log_id, objects)
    if plan is None:
        try:
            plan = _new_plan(log_id, source, rules, uploads, champions)
        except (InvalidInputError, NotFoundError) as error:
            reason = str(error)
            return ledger.create(_head(log_id, source, clock, LogState.FAILED, reason=reason))
        plan = _write_plan(plan, objects)
    ledger.create(
        _head(
            log_id,
            source,
            clock,
            LogState.PLANNED,
            splits=plan.splits,
            champion_version=plan.champion_version,
        )
    )
    queue.send(split_messages(plan))
    ledger.move(log_id, LogState.ROUTING, clock.now())
    return ledger.get(log_id) or Ignored("the log is gone")


def _head(
    log_id: str,
    source: ObjectRef,
    clock: Clock,
    state: LogState,
    *,
    reason: str = "",
    splits: int = 0,
    champion_version: int = 0,
) -> QueryLog:
    return QueryLog(
        log_id=log_id,
        state=state,
        reason=reason,
        source_bucket=source.bucket,
        source_key=source.key,
        source_version=source.version_id,
        splits=splits,
        champion_version=champion_version,
        created_at=clock.now(),
        updated_at=clock.now(),
    )


def _written_plan(log_id: str, objects: ObjectStore) -> LogPlan | None:
    try:
        return LogPlan.model_validate_json(objects.get(_plan_key(log_id)))
    except NotFoundError:
        return None


def _write_plan(plan: LogPlan, objects: ObjectStore) -> LogPlan:
    """Write the plan, or take the one that another attempt wrote meanwhile."""
    body = plan.model_dump_json(indent=2).encode("utf-8") + b"\n"
    if objects.put_once(_plan_key(plan.log_id), body, metadata={}):
        return plan
    return _written_plan(plan.log_id, objects) or plan


def _plan_key(log_id: str) -> str:
    return naming.log_key(log_id, "plan.json")


def _new_plan(
    log_id: str,
    source: ObjectRef,
    rules: SplitRules,
    uploads: UploadStore,
    champions: ChampionRepository,
) -> LogPlan:
    if not source.key.endswith(QUERY_LOG_SUFFIXES):
        raise InvalidInputError(f"not a query log: expected {' or '.join(QUERY_LOG_SUFFIXES)}")
    if "/" in source.key.removeprefix(QUERY_LOGS_PREFIX):
        raise InvalidInputError("a file inside a folder; put logs directly under query-logs/")
    champion = champions.current()
    if champion is None:
        raise InvalidInputError("no model serves yet: promote one, then upload the log again")
    size = uploads.info(source).size
    sample = b"".join(uploads.read(source, 0, min(size, SAMPLE_BYTES)))
    if not sample.strip():
        raise InvalidInputError("the file is empty")
    split_bytes, splits = plan_splits(size, sample, rules.requests_per_minute, rules.workers)
    return LogPlan(
        log_id=log_id,
        bucket=source.bucket,
        key=source.key,
        version_id=source.version_id,
        size=size,
        dialect=detect_dialect(source.key, sample),
        champion_version=champion.version,
        split_bytes=split_bytes,
        splits=splits,
    )

"""A query log was uploaded: plan its splits and put one message per split on the queue."""

from typing import Any

from search_router.domain import naming
from search_router.domain.errors import InvalidInputError, NotFoundError
from search_router.domain.logs.dialects import log_format
from search_router.domain.logs.query_logs import LogPlan, LogState, QueryLog, split_messages
from search_router.domain.uploads import QUERY_LOGS_PREFIX, ObjectRef, is_folder
from search_router.ports import (
    ChampionRepository,
    Clock,
    ObjectStore,
    QueryLogLedger,
    SplitQueue,
    UploadStore,
)
from search_router.use_cases.log_planning import SplitRules, plan_log
from search_router.use_cases.outcomes import Ignored

__all__ = ["SplitRules", "split_query_log"]


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
            plan = _new_plan(log_id, source, rules, uploads, objects, champions)
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
            rows=plan.rows,
            hours_if_distinct=plan.hours_if_distinct,
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
    **facts: Any,
) -> QueryLog:
    return QueryLog(
        log_id=log_id,
        state=state,
        source_bucket=source.bucket,
        source_key=source.key,
        source_version=source.version_id,
        created_at=clock.now(),
        updated_at=clock.now(),
        **{"splits": 0, **facts},
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
    objects: ObjectStore,
    champions: ChampionRepository,
) -> LogPlan:
    if "/" in source.key.removeprefix(QUERY_LOGS_PREFIX):
        raise InvalidInputError("a file inside a folder; put logs directly under query-logs/")
    log_format(source.key)  # raises for what is no log, before anything is read
    champion = champions.current()
    if champion is None:
        raise InvalidInputError("no model serves yet: promote one, then upload the log again")
    return plan_log(log_id, source, rules, champion.version, uploads, objects)

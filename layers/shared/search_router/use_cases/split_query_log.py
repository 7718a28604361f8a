"""Split an uploaded query log: plan its splits and queue one message per split."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class SplitQueryLog:
    """Splits uploaded query logs, one per call."""

    uploads: UploadStore
    objects: ObjectStore
    champions: ChampionRepository
    ledger: QueryLogLedger
    queue: SplitQueue
    clock: Clock
    rules: SplitRules

    def __call__(self, source: ObjectRef) -> QueryLog | Ignored:
        """Record a log and queue its splits, or record it as FAILED with the reason.

        The first plan written is used by every retry, so all of them send the same messages.
        """
        if is_folder(source.key):
            return Ignored("a folder, not a file")
        log_id = naming.log_id(source.bucket, source.key, source.version_id)
        log = self.ledger.get(log_id)
        if log is not None and log.state is not LogState.PLANNED:
            return Ignored(f"the log is {log.state} already")
        try:
            plan = self._stored_plan(log_id) or self._new_plan(log_id, source)
        except (InvalidInputError, NotFoundError) as error:
            return self.ledger.create(self._failed(log_id, source, str(error)))
        self.ledger.create(self._planned(plan))
        self.queue.send(split_messages(plan))
        self.ledger.move(log_id, LogState.ROUTING, self.clock.now())
        return self.ledger.get(log_id) or Ignored("the log no longer exists")

    def _new_plan(self, log_id: str, source: ObjectRef) -> LogPlan:
        """Plan a log and store the plan; return another attempt's plan if that was stored first."""
        if "/" in source.key.removeprefix(QUERY_LOGS_PREFIX):
            raise InvalidInputError("a file inside a folder. Put logs directly under query-logs/.")
        log_format(source.key)  # raises for a wrong suffix before anything is read
        champion = self.champions.current()
        if champion is None:
            raise InvalidInputError("no model serves yet. Promote one, then upload the log again.")
        plan = plan_log(log_id, source, self.rules, champion.version, self.uploads, self.objects)
        body = plan.model_dump_json(indent=2).encode("utf-8") + b"\n"
        if self.objects.put_once(_plan_key(log_id), body, metadata={}):
            return plan
        return self._stored_plan(log_id) or plan

    def _stored_plan(self, log_id: str) -> LogPlan | None:
        try:
            return LogPlan.model_validate_json(self.objects.get(_plan_key(log_id)))
        except NotFoundError:
            return None

    def _planned(self, plan: LogPlan) -> QueryLog:
        now = self.clock.now()
        return QueryLog(
            log_id=plan.log_id,
            state=LogState.PLANNED,
            source_bucket=plan.bucket,
            source_key=plan.key,
            source_version=plan.version_id,
            splits=plan.splits,
            champion_version=plan.champion_version,
            rows=plan.rows,
            hours_if_distinct=plan.hours_if_distinct,
            created_at=now,
            updated_at=now,
        )

    def _failed(self, log_id: str, source: ObjectRef, reason: str) -> QueryLog:
        now = self.clock.now()
        return QueryLog(
            log_id=log_id,
            state=LogState.FAILED,
            reason=reason,
            source_bucket=source.bucket,
            source_key=source.key,
            source_version=source.version_id,
            splits=0,
            created_at=now,
            updated_at=now,
        )


def _plan_key(log_id: str) -> str:
    return naming.log_key(log_id, "plan.json")

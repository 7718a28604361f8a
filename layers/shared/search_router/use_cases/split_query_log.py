"""Split an uploaded query log: plan its splits and queue one message per split."""

from collections.abc import Iterable
from dataclasses import dataclass

from search_router.domain import naming
from search_router.domain.errors import BudgetExceededError, InvalidInputError
from search_router.domain.lifecycle.estimates import log_at_most_usd
from search_router.domain.logs.dialects import log_format
from search_router.domain.logs.query_logs import (
    LogPlan,
    LogState,
    QueryLog,
    SplitMessage,
    split_messages,
)
from search_router.domain.logs.results import PartMarker
from search_router.domain.uploads import QUERY_LOGS_PREFIX, ObjectRef
from search_router.ports import ChampionRepository
from search_router.use_cases.log_planning import SplitRules, plan_log
from search_router.use_cases.spending import Budget
from search_router.use_cases.split_upload import SplitUpload


@dataclass(frozen=True, slots=True)
class SplitQueryLog(SplitUpload[LogPlan, QueryLog, PartMarker]):
    """Splits uploaded query logs, one per call."""

    champions: ChampionRepository
    rules: SplitRules
    budget: Budget

    def _upload_id(self, source: ObjectRef) -> str:
        return naming.log_id(*source)

    def _plan(self, upload: str, source: ObjectRef, sequencer: str) -> LogPlan:  # noqa: ARG002
        if "/" in source.key.removeprefix(QUERY_LOGS_PREFIX):
            raise InvalidInputError("a file inside a folder. Put logs directly under query-logs/.")
        log_format(source.key)  # raises for a wrong suffix before anything is read
        champion = self.champions.current()
        if champion is None:
            raise InvalidInputError("no model serves yet. Promote one, then upload the log again.")
        plan = plan_log(upload, source, self.rules, champion.version, self.uploads, self.objects)
        text = plan.cuts[-1] if plan.cuts else plan.size
        try:
            self.budget.book(upload, log_at_most_usd(champion.serving, plan.rows, text))
        except BudgetExceededError as error:
            raise InvalidInputError(str(error)) from None
        return plan

    def _read_plan(self, body: bytes) -> LogPlan:
        return LogPlan.model_validate_json(body)

    def _planned(self, plan: LogPlan) -> QueryLog:
        return QueryLog(
            log_id=plan.log_id,
            state=LogState.PLANNED,
            splits=plan.splits,
            champion_version=plan.champion_version,
            rows=plan.rows,
            rows_are_counted=plan.rows_are_counted,
            hours_if_distinct=plan.hours_if_distinct,
            warnings=plan.warnings,
            **self._fields(plan.source),
        )

    def _failed(self, upload: str, source: ObjectRef, reason: str) -> QueryLog:
        return QueryLog(
            log_id=upload, state=LogState.FAILED, reason=reason, splits=0, **self._fields(source)
        )

    def _messages(self, plan: LogPlan) -> Iterable[SplitMessage]:
        return split_messages(plan)

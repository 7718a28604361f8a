"""Route one split of a query log: write its part once, record it in the ledger once."""

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from search_router.domain import naming
from search_router.domain.errors import (
    MalformedMessageError,
    ModelUnusableError,
    NotFoundError,
    OperatorError,
    UnavailableError,
)
from search_router.domain.events import QueryLogPartsComplete
from search_router.domain.logs.query_logs import LogPlan, SplitMessage
from search_router.domain.logs.results import PartMarker, PartStats
from search_router.domain.logs.rows import LogRow
from search_router.domain.serving.cascade import (
    AnswerCache,
    Model,
    NoModel,
    Routing,
    distinct_queries,
    route,
)
from search_router.domain.serving.champions import Champion, required_champion
from search_router.domain.splits.rows import RejectedRow
from search_router.ports import (
    AnswerCaches,
    ChampionRepository,
    Clock,
    EventPublisher,
    LocalModels,
    ObjectStore,
    QueryLogLedger,
    UploadStore,
)
from search_router.use_cases.log_parts import LogParts
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.split_attempts import SplitAttempts, SplitWork, rows_unless_gone


class OnPermanentError(StrEnum):
    """What to do while the model cannot be asked: wait for an operator, or serve the prior."""

    WAIT = "wait"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class RouteQueries:
    """Routes the splits of query logs, one per call."""

    uploads: UploadStore
    objects: ObjectStore
    champions: ChampionRepository
    caches: AnswerCaches
    local_models: LocalModels
    ledger: QueryLogLedger
    events: EventPublisher
    clock: Clock
    on_permanent_error: OnPermanentError

    def __call__(
        self, message: SplitMessage, model: Model, receives: int = 1
    ) -> PartStats | Ignored:
        """Route one split, received `receives` times including this one; return its statistics.

        Raises TransientError when some queries could not be asked, and OperatorError when the model
        cannot be asked at all; the answers received by then are cached.
        """
        self._check(message)
        parts = LogParts(message, self.uploads, self.objects, interrupted=receives - 1)
        attempt = _Attempt(message, model, parts)
        work = SplitWork(
            message,
            receives,
            parts,
            process=lambda: self._route(attempt),
            progress=lambda: self._answered(attempt),
            complete=QueryLogPartsComplete(log_id=message.log_id),
        )
        marker = SplitAttempts(self.ledger, self.events, self.clock)(work)
        return marker if isinstance(marker, Ignored) else marker.stats

    def _check(self, message: SplitMessage) -> None:
        """Raise MalformedMessageError for a message that the log's plan does not hold."""
        key = naming.upload_key(message.log_id, "plan.json")
        with suppress(NotFoundError):
            if not LogPlan.model_validate_json(self.objects.get(key)).holds(message):
                raise MalformedMessageError(f"not a split of {message.log_id}: {message.split}")

    def _answered(self, attempt: "_Attempt") -> int:
        """Return how many of the split's queries are answered."""
        champion = self._champion(attempt)
        queries = distinct_queries(_queries(_rows(attempt)))
        cache = self._cache(attempt, champion)
        return len(route(queries, champion.serving, NoModel(), cache).decisions)

    def _route(self, attempt: "_Attempt") -> PartMarker:
        champion = self._champion(attempt)
        rows = _rows(attempt)
        routing = self._routing(attempt, champion, distinct_queries(_queries(rows)))
        if routing.pending:
            raise routing.problem or UnavailableError("no time was left to ask every query")
        return attempt.parts.write(rows, routing, champion.serving.modalities)

    def _routing(self, attempt: "_Attempt", champion: Champion, queries: list[str]) -> Routing:
        serving, cache = champion.serving, self._cache(attempt, champion)
        local = self.local_models.tier(serving)
        try:
            return route(queries, serving, attempt.model, cache, attempt.message.split, local)
        except (NotFoundError, OperatorError) as error:
            if self.on_permanent_error is OnPermanentError.WAIT:
                raise ModelUnusableError(str(error)) from error
            routing = route(queries, serving, NoModel(), cache, local=local)
            routing.serve_prior(serving.prior, "the model cannot be asked")
            return routing

    def _champion(self, attempt: "_Attempt") -> Champion:
        return required_champion(self.champions, attempt.message.champion_version)

    def _cache(self, attempt: "_Attempt", champion: Champion) -> AnswerCache:
        owner = f"{attempt.message.log_id}/{attempt.message.split}"
        return self.caches.of(champion.version, owner)


class _Attempt(NamedTuple):
    """One delivery of a split to a worker."""

    message: SplitMessage
    model: Model
    parts: LogParts


def _rows(attempt: _Attempt) -> list[LogRow | RejectedRow]:
    return rows_unless_gone(attempt.parts.rows)


def _queries(rows: list[LogRow | RejectedRow]) -> list[str]:
    return [row.query for row in rows if isinstance(row, LogRow)]

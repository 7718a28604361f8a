"""Route one split of a query log: write its part once, record it in the ledger once."""

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from search_router.domain.errors import (
    MalformedMessageError,
    ModelUnusableError,
    NotFoundError,
    OperatorError,
    TransientError,
    UnavailableError,
)
from search_router.domain.events import QueryLogPartsComplete
from search_router.domain.logs.query_logs import Attempts, LogState, SplitMessage
from search_router.domain.logs.results import PartMarker, PartStats
from search_router.domain.logs.rows import LogRow, RejectedRow
from search_router.domain.serving.cascade import (
    AnswerCache,
    Model,
    NoModel,
    Routing,
    distinct_queries,
    route,
)
from search_router.domain.serving.champions import Champion, required_champion
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
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.split_parts import SplitParts

MAX_SPLIT_ATTEMPTS = 5  # consecutive retries that ended without reporting an error
_FIRST_RETRY_DELAY = 30
_MAX_RETRY_DELAY = 900
_MALFORMED_RETRY_DELAY = 1


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
        cannot be asked at all; the answers received by then are cached. A split is given up, and
        its rows rejected, when its attempts keep ending without such an error and make no progress.
        """
        log = self.ledger.get(message.log_id)
        if log is None or log.state is LogState.FAILED:
            return Ignored("the log does not exist or has failed")
        parts = SplitParts(message, self.uploads, self.objects, interrupted=receives - 1)
        try:
            marker = self._part(_Attempt(message, model, receives, parts))
        except _UploadGoneError as error:
            if not self.ledger.move(log.log_id, LogState.FAILED, self.clock.now(), str(error)):
                raise UnavailableError("the log was closed by another worker") from None
            return Ignored("the upload was deleted")
        log = self.ledger.record_part(marker, self.clock.now())
        if log.is_complete:
            self.events.publish(QueryLogPartsComplete(log_id=log.log_id))
        return marker.stats

    def _part(self, attempt: "_Attempt") -> PartMarker:
        """Return the split's part, written by this attempt or an earlier one."""
        stored = attempt.parts.stored()
        if stored is None:
            return self._route(attempt) if attempt.receives == 1 else self._retry(attempt)
        attempt.parts.check(stored)
        if attempt.receives > MAX_SPLIT_ATTEMPTS:
            attempt.parts.rewrite_rejections(stored)
        return stored.marker

    def _retry(self, attempt: "_Attempt") -> PartMarker:
        """Route the split unless too many attempts have ended without reporting an error.

        An attempt is recorded when it begins, and the record is reset when it reports an error.
        """
        message = attempt.message
        try:
            # Inside the block: if only its reply is lost, an attempt was recorded.
            attempts = self.ledger.record_attempt(message.log_id, message.split, attempt.receives)
            if attempts.made > 2 * MAX_SPLIT_ATTEMPTS:
                return self._give_up(attempt, attempts)
            if attempts.made <= MAX_SPLIT_ATTEMPTS or self._has_progressed(attempt, attempts):
                return self._route(attempt)
            return self._route_or_give_up(attempt, attempts)
        except (TransientError, OperatorError):
            with suppress(TransientError, OperatorError):
                self.ledger.reset_attempts(message.log_id, message.split)
            raise

    def _route_or_give_up(self, attempt: "_Attempt", attempts: Attempts) -> PartMarker:
        """Route the split; give it up if that ends in an unexpected error.

        This distinguishes a split that cannot be routed from one whose workers were interrupted. A
        split that kills the process is given up unread, after further attempts.
        """
        try:
            return self._route(attempt)
        except (TransientError, OperatorError, _UploadGoneError):
            raise
        except Exception:  # noqa: BLE001 - a bug; the handler logged it in the attempts before
            return self._give_up(attempt, attempts)

    def _give_up(self, attempt: "_Attempt", attempts: Attempts) -> PartMarker:
        return attempt.parts.give_up(f"no progress in {attempts.made - 1} attempts at its split")

    def _has_progressed(self, attempt: "_Attempt", attempts: Attempts) -> bool:
        """Return whether more queries are answered than at the last check; if so, reset the count.

        This reads the split, so it counts as part of the attempt.
        """
        message = attempt.message
        champion = self._champion(attempt)
        queries = distinct_queries(_queries(_rows(attempt)))
        cache = self._cache(attempt, champion)
        answered = len(route(queries, champion.serving, NoModel(), cache).decisions)
        if answered <= attempts.answered:
            return False
        self.ledger.reset_attempts(message.log_id, message.split, answered)
        return True

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


def retry_delay(receive_count: int, problem: Exception | None = None) -> int:
    """Return the seconds after which SQS delivers an unfinished split again: 30, 60, … 900.

    A malformed message is retried at once, so that it reaches the dead-letter queue soon.
    """
    if isinstance(problem, MalformedMessageError):
        return _MALFORMED_RETRY_DELAY
    return min(_MAX_RETRY_DELAY, _FIRST_RETRY_DELAY << min(receive_count - 1, 10))


class _Attempt(NamedTuple):
    """One delivery of a split to a worker."""

    message: SplitMessage
    model: Model
    receives: int
    parts: SplitParts


class _UploadGoneError(Exception):
    """The uploaded log was deleted while it was routed."""


def _rows(attempt: _Attempt) -> list[LogRow | RejectedRow]:
    try:
        return attempt.parts.rows()
    except NotFoundError as error:
        raise _UploadGoneError(str(error)) from error


def _queries(rows: list[LogRow | RejectedRow]) -> list[str]:
    return [row.query for row in rows if isinstance(row, LogRow)]

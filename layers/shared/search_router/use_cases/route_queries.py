"""One split of a query log: route its rows, write its part once, enter it in the ledger once."""

from contextlib import suppress
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
from search_router.domain.logs.query_logs import Attempts, LogState, QueryLog, SplitMessage
from search_router.domain.logs.results import PartMarker, PartStats
from search_router.domain.logs.rows import LogRow, RejectedRow
from search_router.domain.serving.cascade import (
    AnswerCache,
    NoModel,
    Routing,
    distinct_queries,
    route,
    serve_prior,
)
from search_router.domain.serving.champions import Champion
from search_router.ports import (
    ChampionRepository,
    Clock,
    EventPublisher,
    ObjectStore,
    QueryLogLedger,
    Tiers,
    UploadStore,
)
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.split_parts import SplitParts

MAX_SPLIT_ATTEMPTS = 5  # attempts in a row that end without a word, after the first
_FIRST_RETRY_DELAY = 30
_MAX_RETRY_DELAY = 900
_MALFORMED_RETRY_DELAY = 1


class OnPermanentError(StrEnum):
    """What to do while the model cannot be asked: wait for a repair, or serve the prior."""

    WAIT = "wait"
    FALLBACK = "fallback"


class Delivery(NamedTuple):
    """How often SQS has handed the split out, this time included, and what to do at worst."""

    receives: int = 1
    choice: OnPermanentError = OnPermanentError.WAIT


def route_queries(
    message: SplitMessage,
    *,
    delivery: Delivery,
    uploads: UploadStore,
    objects: ObjectStore,
    champions: ChampionRepository,
    tiers: Tiers,
    ledger: QueryLogLedger,
    events: EventPublisher,
    clock: Clock,
) -> PartStats | Ignored:
    """Route one split and return its statistics.

    Raises TransientError when not every query could be asked, and OperatorError when none can be;
    what was learnt stays in the cache. A split whose attempts end again and again without such a
    word, and that learns nothing, is given up: its rows are rejected with that reason.
    """
    log = ledger.get(message.log_id)
    if log is None or log.state is LogState.FAILED:
        return Ignored("the log is unknown or has failed")
    parts = SplitParts(message, uploads, objects, interrupted=delivery.receives - 1)
    attempt = _Attempt(message, delivery, parts, champions, tiers, ledger)
    try:
        marker = attempt.part()
    except _UploadGoneError as gone:
        if not ledger.move(log.log_id, LogState.FAILED, clock.now(), str(gone)):
            raise UnavailableError("the log was closed meanwhile") from None
        return Ignored("the uploaded log is gone")
    _enter(marker, ledger, events, clock)
    return marker.stats


def retry_delay(receive_count: int, problem: Exception | None = None) -> int:
    """Return the seconds after which an unfinished split comes back: 30, 60, … at most 900.

    What is no split's message at all goes straight through to the dead-letter queue.
    """
    if isinstance(problem, MalformedMessageError):
        return _MALFORMED_RETRY_DELAY
    return min(_MAX_RETRY_DELAY, _FIRST_RETRY_DELAY << min(receive_count - 1, 10))


class _UploadGoneError(Exception):
    """The log was deleted under way."""


class _Attempt:
    """One attempt at one split."""

    def __init__(
        self,
        message: SplitMessage,
        delivery: Delivery,
        parts: SplitParts,
        champions: ChampionRepository,
        tiers: Tiers,
        ledger: QueryLogLedger,
    ) -> None:
        self._message = message
        self._delivery = delivery
        self._parts = parts
        self._champions = champions
        self._tiers = tiers
        self._ledger = ledger

    def part(self) -> PartMarker:
        """Return the split's part, written now or before."""
        stored = self._parts.stored()
        if stored is None:
            return self._tried()
        self._parts.check(stored)
        if self._delivery.receives > MAX_SPLIT_ATTEMPTS:
            self._parts.mend(stored)
        return stored.marker

    def _tried(self) -> PartMarker:
        """Count the attempt if the split comes back, and excuse it if it says why it ends."""
        if self._delivery.receives == 1:
            return self._routed()
        try:
            # Inside, because a count whose reply gets lost ends an attempt that it has counted.
            tries = self._counted()
            if tries.made > 2 * MAX_SPLIT_ATTEMPTS:
                return self._given_up(tries)
            if tries.made <= MAX_SPLIT_ATTEMPTS or self._progress(tries.known):
                return self._routed()
            return self._tried_for_the_last_time(tries)
        except (TransientError, OperatorError):
            with suppress(TransientError, OperatorError):
                self._ledger.reset_attempts(self._message.log_id, self._message.split)
            raise

    def _counted(self) -> Attempts:
        """Count this attempt: SQS counts a message's receives, so they tell its attempts apart."""
        receives = self._delivery.receives
        return self._ledger.record_attempt(self._message.log_id, self._message.split, receives)

    def _tried_for_the_last_time(self, tries: Attempts) -> PartMarker:
        """Give the split up if this attempt, too, ends in an error that no waiting mends.

        So poison is told from bad luck, and from attempts that were counted and are not over. One
        that kills its process does not get to the end of this; it is given up unread, later.
        """
        try:
            return self._routed()
        except (TransientError, OperatorError, _UploadGoneError):
            raise
        except Exception:  # noqa: BLE001 - a bug is what it looks for; those before were logged
            return self._given_up(tries)

    def _given_up(self, tries: Attempts) -> PartMarker:
        return self._parts.give_up(f"no progress in {tries.made - 1} attempts at its split")

    def _progress(self, known_before: int) -> bool:
        """Tell whether more of the split is answered than when it was last measured.

        Measuring reads the split. If that alone ends attempts, it is not tried for ever.
        """
        champion = self._champion()
        queries = self._queries(self._rows())
        known = len(route(queries, champion.serving, NoModel(), self._cache(champion)).decisions)
        if known > known_before:
            self._ledger.reset_attempts(self._message.log_id, self._message.split, known)
            return True
        return False

    def _routed(self) -> PartMarker:
        champion = self._champion()
        rows = self._rows()
        routing = self._routing(self._queries(rows), champion)
        if routing.pending:
            raise routing.problem or UnavailableError("no time was left to ask every query")
        return self._parts.write(rows, routing, champion.serving.modalities)

    def _routing(self, queries: dict[str, str], champion: Champion) -> Routing:
        cache, serving = self._cache(champion), champion.serving
        local = self._tiers.local_models.tier(serving)
        try:
            return route(queries, serving, self._tiers.model, cache, self._message.split, local)
        except (NotFoundError, OperatorError) as error:
            if self._delivery.choice is OnPermanentError.WAIT:
                raise ModelUnusableError(str(error)) from error
            routing = route(queries, serving, NoModel(), cache, local=local)
            serve_prior(routing, serving, "the model cannot be asked")
            return routing

    def _rows(self) -> list[LogRow | RejectedRow]:
        try:
            return self._parts.rows()
        except NotFoundError as error:
            raise _UploadGoneError(str(error)) from error

    def _queries(self, rows: list[LogRow | RejectedRow]) -> dict[str, str]:
        return distinct_queries([row.query for row in rows if isinstance(row, LogRow)])

    def _champion(self) -> Champion:
        champion = self._champions.version(self._message.champion_version)
        if champion is None:
            version = self._message.champion_version
            raise NotFoundError(f"champion version {version} is unknown")
        return champion

    def _cache(self, champion: Champion) -> AnswerCache:
        owner = f"{self._message.log_id}/{self._message.split}"
        return self._tiers.caches.of(champion.version, owner)


def _enter(
    marker: PartMarker, ledger: QueryLogLedger, events: EventPublisher, clock: Clock
) -> None:
    log: QueryLog = ledger.record_part(marker, clock.now())
    if log.is_complete:
        events.publish(QueryLogPartsComplete(log_id=log.log_id))

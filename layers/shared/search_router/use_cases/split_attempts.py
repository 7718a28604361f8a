"""Carry one split's part to the ledger, whatever earlier attempts at the split left behind."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from search_router.domain.errors import (
    MalformedMessageError,
    NotFoundError,
    OperatorError,
    TransientError,
    UnavailableError,
)
from search_router.domain.events import RouterEvent
from search_router.domain.splits.ledger import SplitMarker, UploadHead
from search_router.domain.splits.plan import Attempts, UploadSplit
from search_router.ports import Clock, EventPublisher, UploadLedger
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.split_parts import SplitParts

MAX_SPLIT_ATTEMPTS = 5  # consecutive retries that ended without reporting an error
_FIRST_RETRY_DELAY = 30
_MAX_RETRY_DELAY = 900
_MALFORMED_RETRY_DELAY = 1

HeadT = TypeVar("HeadT", bound=UploadHead)
MarkerT = TypeVar("MarkerT", bound=SplitMarker)


class UploadGoneError(Exception):
    """The upload was deleted while its splits were processed."""


@dataclass(frozen=True, slots=True)
class SplitWork(Generic[MarkerT]):
    """What to do with one delivery of a split, received `receives` times including this one.

    `process` writes the part; `progress` returns how many of its rows are done. Both raise
    UploadGoneError if the upload was deleted. `complete` is published after the last part.
    """

    message: UploadSplit
    receives: int
    parts: SplitParts[MarkerT]
    process: Callable[[], MarkerT]
    progress: Callable[[], int]
    complete: RouterEvent


@dataclass(frozen=True, slots=True)
class SplitAttempts(Generic[HeadT, MarkerT]):
    """Attempts splits: each gets one part and one marker, or is given up."""

    ledger: UploadLedger[HeadT, MarkerT]
    events: EventPublisher
    clock: Clock

    def __call__(self, work: SplitWork[MarkerT]) -> MarkerT | Ignored:
        """Process one split; return its marker.

        Raises TransientError and OperatorError for a retry. A split is given up, and its rows
        rejected, when its attempts keep ending without such an error and make no progress.
        """
        head = self.ledger.get(work.message.upload)
        if head is None or head.state is head.failed:
            return Ignored("the upload is not in the ledger or has failed")
        try:
            marker = self._part(work)
        except UploadGoneError as error:
            if not self.ledger.move(head.upload, head.failed, self.clock.now(), str(error)):
                raise UnavailableError("the upload was closed by another worker") from None
            return Ignored("the upload was deleted")
        if self.ledger.record_part(marker, self.clock.now()).is_complete:
            self.events.publish(work.complete)
        return marker

    def _part(self, work: SplitWork[MarkerT]) -> MarkerT:
        """Return the split's part, written by this attempt or an earlier one."""
        stored = work.parts.stored()
        if stored is None:
            return work.process() if work.receives == 1 else self._retry(work)
        work.parts.check(stored)
        if work.receives > MAX_SPLIT_ATTEMPTS:
            work.parts.rewrite_rejections(stored)
        return stored.marker

    def _retry(self, work: SplitWork[MarkerT]) -> MarkerT:
        """Process the split unless too many attempts have ended without reporting an error.

        An attempt is recorded when it begins, and the record is reset when it reports an error.
        """
        message = work.message
        try:
            # Inside the block: if only its reply is lost, an attempt was recorded.
            attempts = self.ledger.record_attempt(message.upload, message.split, work.receives)
            if attempts.made > 2 * MAX_SPLIT_ATTEMPTS:
                return _give_up(work, attempts)
            if attempts.made <= MAX_SPLIT_ATTEMPTS or self._has_progressed(work, attempts):
                return work.process()
            return _process_or_give_up(work, attempts)
        except (TransientError, OperatorError):
            with suppress(TransientError, OperatorError):
                self.ledger.reset_attempts(message.upload, message.split)
            raise

    def _has_progressed(self, work: SplitWork[MarkerT], attempts: Attempts) -> bool:
        """Return whether more rows are done than at the last check; if so, reset the count.

        This reads the split, so it counts as part of the attempt.
        """
        done = work.progress()
        if done <= attempts.answered:
            return False
        self.ledger.reset_attempts(work.message.upload, work.message.split, done)
        return True


def _process_or_give_up(work: SplitWork[MarkerT], attempts: Attempts) -> MarkerT:
    """Process the split; give it up if that ends in an unexpected error.

    This distinguishes a split that cannot be processed from one whose workers were interrupted. A
    split that kills the process is given up unread, after further attempts.
    """
    try:
        return work.process()
    except (TransientError, OperatorError, UploadGoneError):
        raise
    except Exception:  # noqa: BLE001 - a bug; the handler logged it in the attempts before
        return _give_up(work, attempts)


def _give_up(work: SplitWork[MarkerT], attempts: Attempts) -> MarkerT:
    return work.parts.give_up(f"no progress in {attempts.made - 1} attempts at its split")


def retry_delay(receive_count: int, problem: Exception | None = None) -> int:
    """Return the seconds after which SQS delivers an unfinished split again: 30, 60, … 900.

    A malformed message is retried at once, so that it reaches the dead-letter queue soon.
    """
    if isinstance(problem, MalformedMessageError):
        return _MALFORMED_RETRY_DELAY
    return min(_MAX_RETRY_DELAY, _FIRST_RETRY_DELAY << min(receive_count - 1, 10))


RowT = TypeVar("RowT")


def rows_unless_gone(read: Callable[[], list[RowT]]) -> list[RowT]:
    """Read a split's rows; raises UploadGoneError if the upload was deleted."""
    try:
        return read()
    except NotFoundError as error:
        raise UploadGoneError(str(error)) from error

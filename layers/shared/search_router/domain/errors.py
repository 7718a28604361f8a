"""Every error that this package raises on purpose.

    SearchRouterError
    ├── PermanentError            a retry would fail the same way
    │   ├── InvalidInputError     the data or the request is invalid
    │   │   ├── MalformedMessageError  a queue message is not in our format
    │   │   └── BadRequestError   an API request is invalid
    │   │       └── TooLargeError its body is too long
    │   ├── NotFoundError         the resource does not exist
    │   ├── ConflictError         a conditional write failed
    │   └── BudgetExceededError   the cost exceeds the remaining budget
    ├── OperatorError             an operator has to act before a retry succeeds
    │   ├── AccessDeniedError     a permission is missing
    │   ├── ModelUnusableError    the champion's model cannot be invoked
    │   └── QuotaExceededError    an account limit that does not lift by waiting
    └── TransientError            a retry may succeed
        ├── ThrottledError        the service throttles: slow down, then retry
        └── UnavailableError      timeout, connection or server error
            └── ContendedError    a concurrent write to the same items: retry immediately

Adapters map AWS error codes to this tree; no other module reads error codes. Only a PermanentError
ends a run or a log, because a missing permission must not discard a paid-for job.
"""

from collections import Counter
from collections.abc import Iterable


class SearchRouterError(Exception):
    """Base class of all errors of this package."""


class PermanentError(SearchRouterError):
    """A retry would fail the same way."""


class InvalidInputError(PermanentError):
    """The data or the request is invalid; the message names cause, location and remedy."""


class MalformedMessageError(InvalidInputError):
    """The queue message is not in our format and cannot be processed."""


class BadRequestError(InvalidInputError):
    """The API request is invalid; the message is returned to the caller."""


class TooLargeError(BadRequestError):
    """The body of the API request is too long."""


class NotFoundError(PermanentError):
    """The resource does not exist."""


class ConflictError(PermanentError):
    """A conditional write failed: the item exists already or has changed."""


class BudgetExceededError(PermanentError):
    """The cost exceeds the remaining budget."""


class OperatorError(SearchRouterError):
    """An operator has to act before a retry succeeds."""


class AccessDeniedError(OperatorError):
    """The role lacks a permission, or a resource policy denies access."""


class ModelUnusableError(OperatorError):
    """The champion's model cannot be invoked: its deployment is gone, or access is denied."""


class QuotaExceededError(OperatorError):
    """An account limit is reached that does not lift by waiting."""


class TransientError(SearchRouterError):
    """A retry may succeed."""


class ThrottledError(TransientError):
    """The service throttled the request."""


class UnavailableError(TransientError):
    """Timeout, connection failure or server error."""


class ContendedError(UnavailableError):
    """Concurrent write to the same items; retry immediately."""


def commonest(reasons: Iterable[str]) -> str:
    """Return the most frequent reason with its count, as in `821 × no query`."""  # noqa: RUF002
    counts = Counter(reasons)
    if not counts:
        return "no reason was recorded"
    [(reason, count)] = counts.most_common(1)
    return f"{count:,} × {reason}"  # noqa: RUF001 - a multiplication sign

"""Every error that this package raises on purpose.

    SearchRouterError
    ├── PermanentError            a retry would fail the same way
    │   ├── InvalidInputError     the data or the request is wrong
    │   │   ├── MalformedMessageError  what lies in the queue is no message of ours
    │   │   └── BadRequestError   a request to the API is wrong
    │   │       └── TooLargeError its body is too long
    │   ├── NotFoundError         the thing asked for does not exist (any more)
    │   ├── ConflictError         somebody else was first, or the content differs
    │   └── BudgetExceededError   the money for it is spent
    ├── OperatorError             somebody has to act, then a retry succeeds
    │   ├── AccessDeniedError     a permission is missing
    │   ├── ModelUnusableError    the champion's model cannot be asked at all
    │   └── QuotaExceededError    an account limit that waiting alone does not lift
    └── TransientError            a retry may succeed
        ├── ThrottledError        too fast: slow down, then retry
        └── UnavailableError      timeout, connection or server error
            └── ContendedError    somebody else writes the same items: at once again

Adapters decide once which branch an AWS error belongs to; nobody else looks at error codes. Only a
PermanentError ends a run or a log: what money was spent on must survive a missing permission.
"""


class SearchRouterError(Exception):
    """Root of the tree."""


class PermanentError(SearchRouterError):
    """A retry would fail the same way."""


class InvalidInputError(PermanentError):
    """The data or the request is wrong; the message says where and why."""


class MalformedMessageError(InvalidInputError):
    """What lies in the queue is no message of ours; nobody will ever read it."""


class BadRequestError(InvalidInputError):
    """A request to the API is wrong; the message is for whoever sent it."""


class TooLargeError(BadRequestError):
    """A request's body is too long."""


class NotFoundError(PermanentError):
    """The thing asked for does not exist, or no longer."""


class ConflictError(PermanentError):
    """A conditional write lost: somebody else was first, or the content differs."""


class BudgetExceededError(PermanentError):
    """What it would cost is more than is left of the budget."""


class OperatorError(SearchRouterError):
    """Somebody has to act, then a retry succeeds."""


class AccessDeniedError(OperatorError):
    """The role lacks a permission, or the resource refuses it."""


class ModelUnusableError(OperatorError):
    """The champion's model cannot be asked at all: its deployment is gone, or access is denied."""


class QuotaExceededError(OperatorError):
    """An account limit that waiting alone does not lift."""


class TransientError(SearchRouterError):
    """A retry may succeed."""


class ThrottledError(TransientError):
    """The service asks to slow down."""


class UnavailableError(TransientError):
    """Timeout, connection failure or server error."""


class ContendedError(UnavailableError):
    """Somebody else writes the same items at this moment: worth another attempt at once."""

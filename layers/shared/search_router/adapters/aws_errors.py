"""The one place where AWS errors become ours: permanent or transient is decided here.

Bedrock's codes are those of its service model, the others' those of their API references. An
unknown code is judged by its HTTP status.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from search_router.domain.errors import (
    AccessDeniedError,
    ConflictError,
    ContendedError,
    InvalidInputError,
    NotFoundError,
    QuotaExceededError,
    SearchRouterError,
    ThrottledError,
    UnavailableError,
)

_BY_CODE: dict[str, type[SearchRouterError]] = {
    "ThrottlingException": ThrottledError,
    "Throttling": ThrottledError,
    "TooManyRequestsException": ThrottledError,
    "ProvisionedThroughputExceededException": ThrottledError,
    "RequestLimitExceeded": ThrottledError,
    "RequestThrottled": ThrottledError,  # SQS says so with status 403
    "KmsThrottled": ThrottledError,
    "SlowDown": ThrottledError,
    "ModelNotReadyException": ThrottledError,
    "ModelTimeoutException": UnavailableError,
    "ModelErrorException": UnavailableError,
    "RequestTimeout": UnavailableError,  # S3: our bytes came too slowly; status 400
    "ConditionalRequestConflict": UnavailableError,
    "OperationAborted": UnavailableError,
    "NoSuchUpload": UnavailableError,  # it was completed or swept away: start again
    "TransactionConflictException": ContendedError,
    "TransactionInProgressException": UnavailableError,
    "ReplicatedWriteConflictException": UnavailableError,
    "ServiceQuotaExceededException": QuotaExceededError,
    "TooManyTagsException": InvalidInputError,
    "NoSuchKey": NotFoundError,
    "NoSuchVersion": NotFoundError,
    "NoSuchBucket": NotFoundError,
    "ResourceNotFoundException": NotFoundError,
    "AccessDenied": AccessDeniedError,
    "AccessDeniedException": AccessDeniedError,
    "PreconditionFailed": ConflictError,
    "ConflictException": ConflictError,
    "ResourceInUseException": ConflictError,
    "ConditionalCheckFailedException": ConflictError,
}
_BY_STATUS: dict[int, type[SearchRouterError]] = {
    403: AccessDeniedError,
    404: NotFoundError,
    408: UnavailableError,
    409: ConflictError,
    412: ConflictError,
    424: UnavailableError,
    429: ThrottledError,
}


@contextmanager
def aws_errors(action: str, *, with_query: bool = False) -> Iterator[None]:
    """Run AWS calls and raise our errors; the message is `action`, AWS's code and its message.

    `with_query` tells that the request holds a query: what AWS finds invalid in it is not repeated,
    because it would be quoted.
    """
    try:
        yield
    except ClientError as error:
        raise _translate(action, error, with_query) from error
    except ParamValidationError as error:
        raise InvalidInputError(action if with_query else f"{action}: {error}") from error
    except BotoCoreError as error:
        raise UnavailableError(f"{action}: {type(error).__name__}") from error


def _translate(action: str, error: ClientError, with_query: bool) -> SearchRouterError:
    details = error.response.get("Error", {})
    code, message = details.get("Code", ""), details.get("Message", "")
    if code == "TransactionCanceledException":
        return _cancelled(action, error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is None:
        kind = UnavailableError if status >= 500 else InvalidInputError
    if with_query and kind is InvalidInputError:
        return kind(f"{action}: {code}")
    return kind(f"{action}: {code}: {message}")


def _cancelled(action: str, error: ClientError) -> SearchRouterError:
    """A lost condition beats a passing conflict: retrying would lose again."""
    reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
    if "ConditionalCheckFailed" in reasons:
        return ConflictError(f"{action}: a condition of the transaction failed")
    kind = ContendedError if "TransactionConflict" in reasons else UnavailableError
    return kind(f"{action}: the transaction was cancelled")

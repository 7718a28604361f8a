"""Map AWS errors to this package's errors, which are permanent or transient.

Bedrock's codes are those of its service model, the others' those of their API references. Codes
that are not listed are mapped by their HTTP status.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from search_router.domain.errors import (
    AccessDeniedError,
    ConflictError,
    ContendedError,
    InvalidInputError,
    NotFoundError,
    OperatorError,
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
    "RequestThrottled": ThrottledError,  # SQS sends this with status 403
    "KmsThrottled": ThrottledError,
    "SlowDown": ThrottledError,
    "ModelNotReadyException": ThrottledError,
    "ModelTimeoutException": UnavailableError,
    "ModelErrorException": UnavailableError,
    "RequestTimeout": UnavailableError,  # S3, status 400: the upload was too slow
    "ConditionalRequestConflict": UnavailableError,
    "OperationAborted": UnavailableError,
    "NoSuchUpload": UnavailableError,  # completed or expired: start again
    "TransactionConflictException": ContendedError,
    "TransactionInProgressException": UnavailableError,
    "ReplicatedWriteConflictException": UnavailableError,
    "KmsDisabledException": OperatorError,
    "KmsInvalidKeyUsageException": OperatorError,
    "KmsInvalidStateException": OperatorError,
    "KmsNotFoundException": OperatorError,
    "ServiceQuotaExceededException": QuotaExceededError,
    "TooManyTagsException": InvalidInputError,
    "InvalidObjectState": InvalidInputError,  # archived in GLACIER
    "KMS.DisabledException": InvalidInputError,
    "KMS.NotFoundException": InvalidInputError,
    "NoSuchKey": NotFoundError,
    "NoSuchVersion": NotFoundError,
    "NoSuchBucket": NotFoundError,
    "ResourceNotFoundException": NotFoundError,
    "AccessDenied": AccessDeniedError,
    "AccessDeniedException": AccessDeniedError,
    # Bedrock, DynamoDB and S3 send the following with status 400.
    "NotAuthorized": AccessDeniedError,
    "OptInRequired": AccessDeniedError,
    "UnrecognizedClientException": AccessDeniedError,
    "IncompleteSignature": AccessDeniedError,
    "ExpiredToken": AccessDeniedError,
    "ExpiredTokenException": AccessDeniedError,
    "RequestExpired": AccessDeniedError,
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
# Status 404 of models that an operator can unlock: a legacy model without recent use, and the form
# that Anthropic requires once per account (user guide, "troubleshooting-api-error-codes").
_LOCKED_MODEL = re.compile(r"Access denied|Model use case details have not been submitted")
# Status 400 of Converse about the model, not the query. Only the start of the message is matched,
# because a message about the query may quote it.
_UNKNOWN_MODEL = re.compile(
    r"The provided model identifier is invalid"
    r"|Invocation of model ID \S+ with on-demand throughput isn.t supported"
)


@contextmanager
def aws_errors(action: str, *, with_query: bool = False) -> Iterator[None]:
    """Run AWS calls and map their errors; the message is `action`, AWS's code and message.

    With `with_query`, InvalidInputError means that AWS rejected the query. AWS's messages
    are left out, because they may quote the query.
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
    code, message = details.get("Code", ""), details.get("Message") or ""
    if code == "TransactionCanceledException":
        return _cancelled(action, error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is AccessDeniedError and "kms:Decrypt" in message:  # an upload under a key of its own
        return InvalidInputError(f"{action}: the stack may not use the object's KMS key")
    if kind is None:
        kind = UnavailableError if status >= 500 else InvalidInputError
    if kind is NotFoundError and _LOCKED_MODEL.match(message):
        kind = AccessDeniedError
    if with_query and kind is InvalidInputError:
        return _rejection(action, code, message)
    if with_query:
        return kind(f"{action}: {code}")
    return kind(f"{action}: {code}: {message}")


def _rejection(action: str, code: str, message: str) -> SearchRouterError:
    """Map a status 4xx of Converse: the query, the model or the caller is rejected."""
    if code != "ValidationException":
        return AccessDeniedError(f"{action}: {code}")
    if _UNKNOWN_MODEL.match(message):
        return NotFoundError(f"{action}: {code}: {message}")
    return InvalidInputError(f"{action}: {code}")


def _cancelled(action: str, error: ClientError) -> SearchRouterError:
    """Map a cancelled transaction; a failed condition takes precedence over a conflict."""
    reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
    if "ConditionalCheckFailed" in reasons:
        return ConflictError(f"{action}: a condition of the transaction failed")
    kind = ContendedError if "TransactionConflict" in reasons else UnavailableError
    return kind(f"{action}: the transaction was cancelled")

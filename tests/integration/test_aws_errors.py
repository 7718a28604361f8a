"""Permanent or transient: what each error of AWS becomes, and that no error is left out."""

from typing import Any

import botocore.session
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    ParamValidationError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from search_router.adapters.aws_errors import aws_errors
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

URL = "https://service.example"

# The operations that our adapters call, by botocore's names.
OPERATIONS = {
    "s3": (
        "GetObject",
        "HeadObject",
        "PutObject",
        "ListObjectsV2",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "AbortMultipartUpload",
    ),
    "dynamodb": (
        "GetItem",
        "PutItem",
        "UpdateItem",
        "Query",
        "TransactWriteItems",
        "BatchGetItem",
        "BatchWriteItem",
    ),
    "sqs": ("SendMessageBatch", "ChangeMessageVisibility"),
    "events": ("PutEvents",),
    "bedrock": (
        "GetFoundationModel",
        "CreateModelCustomizationJob",
        "GetModelCustomizationJob",
        "CreateCustomModelDeployment",
        "GetCustomModelDeployment",
        "DeleteCustomModelDeployment",
    ),
    "bedrock-runtime": ("Converse", "InvokeModel"),
    "s3vectors": (
        "CreateIndex",
        "GetIndex",
        "DeleteIndex",
        "PutVectors",
        "DeleteVectors",
        "QueryVectors",
    ),
}

# What botocore's service models list for them, and what we make of it. The status is the one that
# comes with the code; models of DynamoDB and SQS do not tell it, so it is taken from their API
# references. TransactionCanceledException has tests of its own.
MODELLED: dict[str, tuple[int, type[SearchRouterError]]] = {
    # S3
    "NoSuchKey": (404, NotFoundError),
    "NoSuchBucket": (404, NotFoundError),
    "NoSuchUpload": (404, UnavailableError),
    "InvalidObjectState": (403, InvalidInputError),
    "EncryptionTypeMismatch": (400, InvalidInputError),
    "InvalidRequest": (400, InvalidInputError),
    "InvalidWriteOffset": (400, InvalidInputError),
    "TooManyParts": (400, InvalidInputError),
    # DynamoDB
    "ConditionalCheckFailedException": (400, ConflictError),
    "TransactionConflictException": (400, ContendedError),
    "TransactionInProgressException": (400, UnavailableError),
    "ReplicatedWriteConflictException": (400, UnavailableError),
    "ProvisionedThroughputExceededException": (400, ThrottledError),
    "RequestLimitExceeded": (400, ThrottledError),
    "IdempotentParameterMismatchException": (400, InvalidInputError),
    "ItemCollectionSizeLimitExceededException": (400, InvalidInputError),
    "InternalServerError": (500, UnavailableError),
    # SQS
    "RequestThrottled": (403, ThrottledError),
    "KmsThrottled": (400, ThrottledError),
    "KmsAccessDenied": (400, InvalidInputError),
    "KmsDisabled": (400, InvalidInputError),
    "KmsInvalidKeyUsage": (400, InvalidInputError),
    "KmsInvalidState": (400, InvalidInputError),
    "KmsNotFound": (400, InvalidInputError),
    "KmsOptInRequired": (403, AccessDeniedError),
    "QueueDoesNotExist": (400, InvalidInputError),
    "MessageNotInflight": (400, InvalidInputError),
    "ReceiptHandleIsInvalid": (400, InvalidInputError),
    "BatchEntryIdsNotDistinct": (400, InvalidInputError),
    "BatchRequestTooLong": (400, InvalidInputError),
    "EmptyBatchRequest": (400, InvalidInputError),
    "InvalidAddress": (404, NotFoundError),
    "InvalidBatchEntryId": (400, InvalidInputError),
    "InvalidSecurity": (403, AccessDeniedError),
    "TooManyEntriesInBatchRequest": (400, InvalidInputError),
    "UnsupportedOperation": (400, InvalidInputError),
    # EventBridge
    "InternalException": (500, UnavailableError),
    # Bedrock; ConflictException has status 400 there
    "AccessDeniedException": (403, AccessDeniedError),
    "ConflictException": (400, ConflictError),
    "InternalServerException": (500, UnavailableError),
    "ModelErrorException": (424, UnavailableError),
    "ModelNotReadyException": (429, ThrottledError),
    "ModelTimeoutException": (408, UnavailableError),
    "ResourceNotFoundException": (404, NotFoundError),
    "ServiceQuotaExceededException": (400, QuotaExceededError),
    "ServiceUnavailableException": (503, UnavailableError),
    "ThrottlingException": (429, ThrottledError),
    "TooManyTagsException": (400, InvalidInputError),
    "ValidationException": (400, InvalidInputError),
    # S3 Vectors; ConflictException has status 409 there, ServiceQuotaExceededException 402
    "KmsDisabledException": (400, OperatorError),
    "KmsInvalidKeyUsageException": (400, OperatorError),
    "KmsInvalidStateException": (400, OperatorError),
    "KmsNotFoundException": (400, OperatorError),
    "NotFoundException": (404, NotFoundError),
    "RequestTimeoutException": (408, UnavailableError),
    "TooManyRequestsException": (429, ThrottledError),
}

# What the API references tell beside that, and what S3 says to HEAD, which has no body for a code.
UNMODELLED: list[tuple[str, int, type[SearchRouterError]]] = [
    ("NoSuchVersion", 404, NotFoundError),
    ("404", 404, NotFoundError),
    ("403", 403, AccessDeniedError),
    ("AccessDenied", 403, AccessDeniedError),
    ("PreconditionFailed", 412, ConflictError),
    ("ConditionalRequestConflict", 409, UnavailableError),
    ("OperationAborted", 409, UnavailableError),
    ("RequestTimeout", 400, UnavailableError),
    ("SlowDown", 503, ThrottledError),
    ("InternalError", 500, UnavailableError),
    ("ServiceUnavailable", 503, UnavailableError),
    ("Throttling", 400, ThrottledError),
    ("ResourceInUseException", 400, ConflictError),
    ("MetadataTooLarge", 400, InvalidInputError),
    ("ExpiredToken", 400, AccessDeniedError),
    ("ExpiredTokenException", 400, AccessDeniedError),
    ("RequestExpired", 400, AccessDeniedError),
    ("NotAuthorized", 400, AccessDeniedError),
    ("IncompleteSignature", 400, AccessDeniedError),
    ("UnrecognizedClientException", 400, AccessDeniedError),
    ("OptInRequired", 403, AccessDeniedError),
]

# A code that nobody has heard of is judged by its status.
BY_STATUS: list[tuple[int, type[SearchRouterError]]] = [
    (400, InvalidInputError),
    (403, AccessDeniedError),
    (404, NotFoundError),
    (408, UnavailableError),
    (409, ConflictError),
    (412, ConflictError),
    (418, InvalidInputError),
    (424, UnavailableError),
    (429, ThrottledError),
    (500, UnavailableError),
    (502, UnavailableError),
    (503, UnavailableError),
    (529, UnavailableError),
]


# Converse answers an unusable model like a query that it rejects or a resource that is gone.
UNUSABLE_MODELS: list[tuple[str, int, str, type[SearchRouterError]]] = [
    ("ValidationException", 400, "The provided model identifier is invalid.", NotFoundError),
    (
        "ValidationException",
        400,
        "Invocation of model ID a.b-v1:0 with on-demand throughput isn\u2019t supported.",
        NotFoundError,
    ),
    (
        "ResourceNotFoundException",
        404,
        "Access denied. This Model is marked by provider as Legacy.",
        AccessDeniedError,
    ),
    (
        "ResourceNotFoundException",
        404,
        "Model use case details have not been submitted for this account.",
        AccessDeniedError,
    ),
    ("ResourceNotFoundException", 404, "The deployment was not found.", NotFoundError),
    ("SomethingNew", 400, "as AWS puts it", AccessDeniedError),
]


def client_error(
    code: str, status: int, message: str = "as AWS puts it", **more: Any
) -> ClientError:
    """Return the error that botocore makes of such a reply."""
    reply: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(reply, "AnOperation")


def translation(error: Exception, *, with_query: bool = False) -> SearchRouterError:
    """Return what an error of AWS becomes."""
    with (
        pytest.raises(SearchRouterError) as caught,
        aws_errors("do something", with_query=with_query),
    ):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def test_every_modelled_error_of_our_calls_has_a_verdict() -> None:
    """A botocore that knows a new error fails here, so that somebody decides about it."""
    session = botocore.session.get_session()
    modelled = {
        shape.name
        for service, operations in OPERATIONS.items()
        for operation in operations
        for shape in session.get_service_model(service).operation_model(operation).error_shapes
    }

    assert modelled == {*MODELLED, "TransactionCanceledException"}


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [(code, *verdict) for code, verdict in MODELLED.items()] + UNMODELLED,
)
def test_a_code_becomes_one_of_our_errors(
    code: str, status: int, kind: type[SearchRouterError]
) -> None:
    error = translation(client_error(code, status))

    assert type(error) is kind
    assert str(error) == f"do something: {code}: as AWS puts it"


@pytest.mark.parametrize(("status", "kind"), BY_STATUS)
def test_an_unknown_code_is_judged_by_its_status(
    status: int, kind: type[SearchRouterError]
) -> None:
    assert type(translation(client_error("NeverHeardOf", status))) is kind


@pytest.mark.parametrize(("code", "status", "message", "kind"), UNUSABLE_MODELS)
def test_an_unusable_model_is_no_rejected_query(
    code: str, status: int, message: str, kind: type[SearchRouterError]
) -> None:
    assert type(translation(client_error(code, status, message), with_query=True)) is kind


@pytest.mark.parametrize(
    "message",
    [
        "1 validation error detected: Value 'The provided model identifier is invalid' at 'query'",
        "Malformed input request: The provided model identifier is invalid",
        "The model returned the following errors: the text is empty",
    ],
)
def test_a_query_cannot_pass_for_an_unusable_model(message: str) -> None:
    error = translation(client_error("ValidationException", 400, message), with_query=True)

    assert type(error) is InvalidInputError
    assert "model" not in str(error)


@pytest.mark.parametrize(
    ("reasons", "kind"),
    [
        (["None", "ConditionalCheckFailed", "None"], ConflictError),
        (["TransactionConflict", "ConditionalCheckFailed"], ConflictError),
        (["ConditionalCheckFailed", "TransactionConflict"], ConflictError),
        (["TransactionConflict", "None"], ContendedError),
        (["ThrottlingError"], UnavailableError),
        (["ProvisionedThroughputExceeded", "None"], UnavailableError),
        ([], UnavailableError),
    ],
)
def test_a_cancelled_transaction_is_lost_only_by_a_condition(
    reasons: list[str], kind: type[SearchRouterError]
) -> None:
    error = client_error(
        "TransactionCanceledException",
        400,
        CancellationReasons=[{"Code": reason} for reason in reasons],
    )

    assert type(translation(error)) is kind


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
        ReadTimeoutError(endpoint_url=URL),
        ConnectionClosedError(endpoint_url=URL),
        ResponseStreamingError(error="reset"),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_line_that_breaks_is_worth_a_retry(error: BotoCoreError) -> None:
    found = translation(error)

    assert type(found) is UnavailableError
    assert str(found) == f"do something: {type(error).__name__}"


def test_a_request_that_botocore_refuses_is_our_mistake() -> None:
    found = translation(ParamValidationError(report="Invalid length for parameter Key, value: 0"))

    assert type(found) is InvalidInputError
    assert "parameter Key" in str(found)


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), aws_errors("do something"):
        raise ZeroDivisionError

"""The errors of S3 Vectors, and the pages of its lists."""

from collections.abc import Sequence
from typing import TypeVar

from local_stack.bedrock_fake.contract import ApiError, Params

T = TypeVar("T")


def invalid(message: str) -> ApiError:
    """Return a ValidationException."""
    return ApiError("ValidationException", message)


def not_found(what: str) -> ApiError:
    """Return a NotFoundException."""
    return ApiError("NotFoundException", f"The specified {what} could not be found")


def conflict(message: str) -> ApiError:
    """Return a ConflictException."""
    return ApiError("ConflictException", message)


def utf8(text: str) -> str:
    """Return a text; ValidationException if it cannot be stored, as with a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid("Strings must be valid UTF-8") from None
    return text


def one_page(items: Sequence[T], params: Params, default: int) -> tuple[list[T], Params]:
    """Return the page given by `maxResults` and `nextToken`, and the token of the next one."""
    token = params.get("nextToken", "0")
    if not token.isdecimal():
        raise invalid("The pagination token is invalid")
    start = int(token)
    end = start + params.get("maxResults", default)
    more = {"nextToken": str(end)} if end < len(items) else {}
    return list(items[start:end]), more

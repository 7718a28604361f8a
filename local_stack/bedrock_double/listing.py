"""List operations: their filters, and pages, newest first unless asked otherwise."""

from collections.abc import Sequence
from datetime import datetime

from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.errors import BedrockError

_DEFAULT_PAGE = 100


def is_listed(params: Params, name: str, created_at: datetime, **equal: object) -> bool:
    """Tell whether something of this name and age is asked for.

    `equal` are filters by their name, each with the value that this thing has. What is said of the
    age is `creationTime…`, of deployments `created…`.
    """
    after = params.get("creationTimeAfter") or params.get("createdAfter") or created_at
    before = params.get("creationTimeBefore") or params.get("createdBefore") or created_at
    return (
        params.get("nameContains", "") in name
        and after <= created_at <= before
        and all(params.get(filter_name, value) == value for filter_name, value in equal.items())
    )


def one_page(oldest_first: Sequence[Params], params: Params, member: str) -> Params:
    """Return the page of summaries that `maxResults`, `nextToken` and `sortOrder` ask for."""
    ascending = params.get("sortOrder") == "Ascending"
    summaries = oldest_first if ascending else oldest_first[::-1]
    start = _start(params.get("nextToken", "0"))
    end = start + params.get("maxResults", _DEFAULT_PAGE)
    more = {"nextToken": str(end)} if end < len(summaries) else {}
    return {member: list(summaries[start:end]), **more}


def _start(token: str) -> int:
    if not token.isdecimal():
        raise BedrockError("ValidationException", "The provided next token is invalid.")
    return int(token)

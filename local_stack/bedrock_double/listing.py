"""Pages of a List operation: newest first unless asked otherwise, a token for the next page."""

from collections.abc import Sequence

from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.errors import BedrockError

_DEFAULT_PAGE = 100


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

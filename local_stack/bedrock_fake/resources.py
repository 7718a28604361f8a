"""What all resources of the account share: ARNs, tags, request tokens and pages of lists."""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from local_stack.bedrock_fake.clock import Clock
from local_stack.bedrock_fake.contract import BedrockError, Params, invalid, not_found
from local_stack.bedrock_fake.settings import FakeSettings, LiveSettings

# Takes an S3 URI and returns the object's bytes; raises LookupError if it cannot be read.
ReadObject = Callable[[str], bytes]
# Takes an S3 URI and the bytes to write; raises LookupError if it cannot be written.
WriteObject = Callable[[str, bytes], None]

MAX_TAGS = 50  # per resource, the limit of AWS tagging
_DEFAULT_PAGE = 100
_TOKEN = "clientRequestToken"  # noqa: S105 - the parameter's name


class Account:
    """One account in one region: its clock, settings, tags and ARNs."""

    def __init__(self, settings: LiveSettings[FakeSettings], clock: Clock) -> None:
        self._settings = settings
        self.clock = clock
        self.tags = Tags()

    @property
    def settings(self) -> FakeSettings:
        """The settings in force."""
        return self._settings.current

    def now(self) -> datetime:
        """Return the current time."""
        return self.clock.now()

    def foundation_model_arn(self, model_id: str) -> str:
        """Return the ARN of a foundation model, which contains no account."""
        return f"arn:aws:bedrock:{self.settings.region}::foundation-model/{model_id}"

    def arn(self, kind: str, name: str) -> str:
        """Return an ARN of the account; its id derives from `kind` and `name`."""
        digest = hashlib.sha256(f"{kind}/{name}".encode()).hexdigest()[:12]
        return f"arn:aws:bedrock:{self.settings.region}:{self.settings.account}:{kind}/{digest}"


class Tags:
    """The tags of every existing resource by its ARN."""

    def __init__(self) -> None:
        self._tags: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def attach(self, arn: str, tags: Sequence[Mapping[str, str]]) -> None:
        """Add a new resource; raises `BedrockError` (TooManyTagsException)."""
        check_tags(tags, arn)
        with self._lock:
            self._tags[arn] = {tag["key"]: tag["value"] for tag in tags}

    def forget(self, arn: str) -> None:
        """Remove a deleted resource."""
        with self._lock:
            self._tags.pop(arn, None)

    def list_tags(self, params: Params) -> Params:
        """Answer ListTagsForResource."""
        with self._lock:
            tags = self._tags.get(params["resourceARN"])
        if tags is None:
            raise not_found("The provided resource was not found.")
        return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}


def check_tags(tags: Sequence[Mapping[str, str]], name: str) -> None:
    """Raise `BedrockError` (TooManyTagsException) if there are more tags than allowed."""
    if len({tag["key"] for tag in tags}) > MAX_TAGS:
        raise BedrockError("TooManyTagsException", f"{name}: at most {MAX_TAGS} tags.")


class RequestTokens:
    """Replies by client request token, so that a repeated request has no second effect."""

    def __init__(self, mismatch_code: str) -> None:
        self._mismatch_code = mismatch_code
        self._replies: dict[str, tuple[Params, Params]] = {}

    def get(self, params: Params) -> Params | None:
        """Return the reply to an earlier request with this token, or None.

        Raises `BedrockError` if that request had other parameters.
        """
        stored = self._replies.get(params.get(_TOKEN, ""))
        if stored is None:
            return None
        request, reply = stored
        if request != params:
            raise BedrockError(
                self._mismatch_code,
                "The client request token was already used with different parameters.",
            )
        return reply

    def put(self, params: Params, reply: Params) -> Params:
        """Store the reply for repeated requests and return it."""
        if _TOKEN in params:
            self._replies[params[_TOKEN]] = (params, reply)
        return reply


def is_listed(params: Params, name: str, created_at: datetime, **equal: object) -> bool:
    """Return whether the filters of a List request match a resource.

    `equal` holds the resource's value for each equality filter. Deployments name the time filters
    `created…`, other resources `creationTime…`.
    """
    after = params.get("creationTimeAfter") or params.get("createdAfter") or created_at
    before = params.get("creationTimeBefore") or params.get("createdBefore") or created_at
    return (
        params.get("nameContains", "") in name
        and after <= created_at <= before
        and all(params.get(filter_name, value) == value for filter_name, value in equal.items())
    )


def one_page(oldest_first: Sequence[Params], params: Params, member: str) -> Params:
    """Return the page of summaries given by `maxResults`, `nextToken` and `sortOrder`."""
    ascending = params.get("sortOrder") == "Ascending"
    summaries = oldest_first if ascending else oldest_first[::-1]
    token = params.get("nextToken", "0")
    if not token.isdecimal():
        raise invalid("The provided next token is invalid.")
    start = int(token)
    end = start + params.get("maxResults", _DEFAULT_PAGE)
    more = {"nextToken": str(end)} if end < len(summaries) else {}
    return {member: list(summaries[start:end]), **more}

"""Tags on whatever Bedrock lets one tag: jobs, custom models, deployments, evaluation jobs."""

import threading
from collections.abc import Mapping, Sequence

from local_stack.bedrock_double.api import Operation
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.errors import BedrockError

MAX_TAGS = 50  # per resource, the limit of AWS tagging


class Tags:
    """The tags of each resource by its ARN; a resource is known here while it exists."""

    def __init__(self) -> None:
        self._tags: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def operations(self) -> Mapping[str, Operation]:
        """Return what callers can ask of this room."""
        return {
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.list_tags,
        }

    def attach(self, arn: str, tags: Sequence[Mapping[str, str]]) -> None:
        """Note a new resource with the tags of its creation.

        `BedrockError` (TooManyTagsException) for more than a resource may have.
        """
        with self._lock:
            self._tags[arn] = _merged({}, tags, arn)

    def forget(self, arn: str) -> None:
        """Note that a resource is gone."""
        with self._lock:
            self._tags.pop(arn, None)

    def tag(self, params: Params) -> Params:
        """Answer TagResource."""
        arn = params["resourceARN"]
        with self._lock:
            self._tags[arn] = _merged(self._of(arn), params["tags"], arn)
        return {}

    def untag(self, params: Params) -> Params:
        """Answer UntagResource; a key that is not there is fine."""
        with self._lock:
            tags = self._of(params["resourceARN"])
            for key in params["tagKeys"]:
                tags.pop(key, None)
        return {}

    def list_tags(self, params: Params) -> Params:
        """Answer ListTagsForResource."""
        with self._lock:
            tags = self._of(params["resourceARN"])
            return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}

    def _of(self, arn: str) -> dict[str, str]:
        tags = self._tags.get(arn)
        if tags is None:
            raise BedrockError("ResourceNotFoundException", "The provided resource was not found.")
        return tags


def check_number(tags: Sequence[Mapping[str, str]], name: str) -> None:
    """Refuse more tags than one resource may have; `BedrockError` (TooManyTagsException)."""
    _merged({}, tags, name)


def _merged(old: Mapping[str, str], new: Sequence[Mapping[str, str]], name: str) -> dict[str, str]:
    merged = {**old, **{tag["key"]: tag["value"] for tag in new}}
    if len(merged) > MAX_TAGS:
        raise BedrockError("TooManyTagsException", f"{name}: at most {MAX_TAGS} tags.")
    return merged

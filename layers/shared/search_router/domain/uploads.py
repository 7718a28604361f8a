"""What may be uploaded where, and what an upload event is worth."""

from typing import NamedTuple

PROMPTS_PREFIX = "prompts/"
QUERY_LOGS_PREFIX = "query-logs/"
PROMPT_SUFFIXES = (".jsonl", ".jsonl.gz")
QUERY_FIELD_METADATA = "query-field"  # x-amz-meta-query-field names the field that holds the query


class ObjectRef(NamedTuple):
    """One version of one S3 object; without a version, the current one."""

    bucket: str
    key: str
    version_id: str | None = None


def is_folder(key: str) -> bool:
    """Tell a console "folder", a zero-byte object whose key ends in a slash."""
    return key.endswith("/")


def ignored_prompts(key: str) -> str | None:
    """Say why an object below prompts/ is no dataset, if it is none."""
    if is_folder(key):
        return "a folder, not a file"
    if "/" in key.removeprefix(PROMPTS_PREFIX):
        return "a file inside a folder; only files directly under prompts/ are datasets"
    return None

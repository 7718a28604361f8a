"""What may be uploaded where, and what an upload event is worth."""

from datetime import datetime
from typing import NamedTuple

PROMPTS_PREFIX = "prompts/"
QUERY_LOGS_PREFIX = "query-logs/"
PROMPT_SUFFIXES = (".jsonl", ".jsonl.gz")
ANSWERS_SUFFIXES = (".answers.jsonl", ".answers.jsonl.gz")  # in a dataset: not for its labels
QUERY_FIELD_METADATA = "query-field"  # x-amz-meta-query-field names the field that holds the query
DATASET_MARKER = "_SUCCESS"  # what Hadoop and Spark put last beside the files of a dataset


class ObjectRef(NamedTuple):
    """One version of one S3 object; without a version, the current one."""

    bucket: str
    key: str
    version_id: str | None = None


class Upload(NamedTuple):
    """An object version that a listing names, with its size in bytes."""

    source: ObjectRef
    uploaded_at: datetime
    size: int


def is_folder(key: str) -> bool:
    """Tell a console "folder", a zero-byte object whose key ends in a slash."""
    return key.endswith("/")


def ignored_prompts(key: str) -> str | None:
    """Say why an object below prompts/ starts no run, if it starts none."""
    *folders, name = key.removeprefix(PROMPTS_PREFIX).split("/")
    if not name:
        return "a folder, not a file"
    if not folders:
        return f"{DATASET_MARKER} belongs into a folder" if name == DATASET_MARKER else None
    if folders[1:] and name == DATASET_MARKER:
        return f"a {DATASET_MARKER} too deep: it belongs into {PROMPTS_PREFIX}{folders[0]}/"
    if name != DATASET_MARKER:
        start = f"{PROMPTS_PREFIX}{folders[0]}/{DATASET_MARKER}"
        return f"a file of a dataset, which is taken in when {start} is uploaded after it"
    return None


def dataset_folder(key: str) -> str | None:
    """Return the folder that a marker completes; None for any other object."""
    folder, _, name = key.rpartition("/")
    return f"{folder}/" if name == DATASET_MARKER else None


def is_hidden(key: str) -> bool:
    """Tell what lies beside a dataset without being of it, as Hadoop's and Spark's writers mean."""
    return is_folder(key) or any(part[:1] in ("_", ".") for part in key.split("/"))

"""The layout of the upload bucket: prefixes, suffixes, and the files to ignore."""

import base64
from datetime import datetime
from email.header import decode_header, make_header
from typing import NamedTuple

PROMPTS_PREFIX = "prompts/"
QUERY_LOGS_PREFIX = "query-logs/"
GOLDEN_PREFIX = "golden/"  # labelled queries that every model is measured on and none trained on
SEGMENTS_PREFIX = "segments/"
PROMPT_SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
PROMPT_NAMES = ".jsonl, .ndjson or .json, each also .gz"
ANSWERS_SUFFIXES = (".answers.jsonl", ".answers.jsonl.gz")  # in a dataset, for the local tier only
QUERY_FIELD_METADATA = "query-field"  # x-amz-meta-query-field names the field that holds the query
DATASET_MARKER = "_SUCCESS"  # Hadoop and Spark write it after all files of a dataset


class ObjectRef(NamedTuple):
    """A version of an S3 object; without a version id, the current one."""

    bucket: str
    key: str
    version_id: str | None = None


class Upload(NamedTuple):
    """A listed object version, with its size in bytes."""

    source: ObjectRef
    uploaded_at: datetime
    size: int


def encoded_metadata(text: str) -> str:
    """Encode text for the metadata of an object, which S3 limits to ASCII (RFC 2047)."""
    if text.isascii() and text == text.strip():
        return text
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="


def decoded_metadata(text: str) -> str:
    """Decode text that `encoded_metadata`, or S3 itself, encoded."""
    return str(make_header(decode_header(text))) if "=?" in text else text


def is_folder(key: str) -> bool:
    """Return whether a key is a console "folder", a zero-byte object that ends in a slash."""
    return key.endswith("/")


def ignored_prompts(key: str) -> str | None:
    """Return why an object below prompts/ starts no run; None if it starts one."""
    *folders, name = key.removeprefix(PROMPTS_PREFIX).split("/")
    if not name:
        return "a folder, not a file"
    if not folders:
        return f"{DATASET_MARKER} belongs in a folder" if name == DATASET_MARKER else None
    if folders[1:] and name == DATASET_MARKER:
        return f"{DATASET_MARKER} too deep: upload it to {PROMPTS_PREFIX}{folders[0]}/"
    if name != DATASET_MARKER:
        start = f"{PROMPTS_PREFIX}{folders[0]}/{DATASET_MARKER}"
        return f"a file of a dataset: upload {start} after it to start a run"
    return None


def dataset_folder(key: str) -> str | None:
    """Return the folder of a marker; None for any other object."""
    folder, _, name = key.rpartition("/")
    return f"{folder}/" if name == DATASET_MARKER else None


def is_hidden(key: str) -> bool:
    """Return whether a file is ignored in a dataset, by the convention of Hadoop and Spark."""
    return is_folder(key) or any(part[:1] in ("_", ".") for part in key.split("/"))

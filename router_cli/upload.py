"""`search-router upload prompts|query-log FILE`: start a run or a batch by dropping a file.

A folder of prompt files is one dataset: its files are sent first, the marker last.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import print_json, progress, say
from router_cli.failures import CommandError
from router_cli.stack import Stack, add_stack_arguments, open_stack
from search_router.domain import naming
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.uploads import (
    DATASET_MARKER,
    PROMPT_SUFFIXES,
    PROMPTS_PREFIX,
    QUERY_FIELD_METADATA,
    QUERY_LOGS_PREFIX,
    is_hidden,
)

_KINDS = {"prompts": PROMPTS_PREFIX, "query-log": QUERY_LOGS_PREFIX}
_PLANNED = {"state", "reason", "rows", "splits", "hours_if_distinct"}
_PLAN_POLLS, _POLL_SECONDS = 20, 0.5


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("upload", help="upload a prompt file or a query log")
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="a file, or a folder of prompt files: one dataset"
    )
    parser.add_argument(
        "--query-field", metavar="NAME", help="field or column of the log that holds the query"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Upload a file or folder, name the run or log that it becomes, say what a log comes to."""
    stack = open_stack(arguments)
    name = upload(stack, arguments.kind, arguments.file, arguments.query_field)
    follow = "runs" if arguments.kind == "prompts" else "results"
    log = planned(stack, name) if arguments.kind == "query-log" else None
    if arguments.json:
        plan = {} if log is None else log.model_dump(mode="json", include=_PLANNED)
        print_json({"id": name, **plan})
        return 0
    say(f"uploaded as {name}; follow it with `search-router {follow} {name}`")
    if log is not None:
        say(log.reason if log.state is LogState.FAILED else log.outlook)
    return 0


def planned(stack: Stack, log_id: str) -> QueryLog | None:
    """Wait a little for a log's plan; a packed log may take longer, then there is None yet."""
    for _ in range(_PLAN_POLLS):
        log = stack.ledger.get(log_id)
        if log is not None:
            return log
        time.sleep(_POLL_SECONDS)
    return None


def upload(stack: Stack, kind: str, path: Path, query_field: str | None = None) -> str:
    """Upload a file, or the folder of a dataset; return the id of its run or log.

    Raises CommandError.
    """
    if path.is_dir():
        return _upload_dataset(stack, kind, path)
    bucket, key = stack.outputs["UploadBucketName"], _KINDS[kind] + path.name
    metadata = {QUERY_FIELD_METADATA: query_field} if query_field else {}
    version_id = _send(stack, path, key, metadata)
    identify = naming.run_id if kind == "prompts" else naming.log_id
    return identify(bucket, key, version_id)


def _upload_dataset(stack: Stack, kind: str, folder: Path) -> str:
    if kind != "prompts":
        raise CommandError(f"{folder} is a folder: only prompts may be several files")
    bucket, prefix = stack.outputs["UploadBucketName"], f"{PROMPTS_PREFIX}{folder.resolve().name}/"
    files = _dataset(folder)
    for name in progress("uploading", files, len(files)):
        _send(stack, folder / name, prefix + name, {})
    marker = prefix + DATASET_MARKER
    with _explained(folder):
        version_id = stack.client("s3").put_object(Bucket=bucket, Key=marker).get("VersionId")
    return naming.run_id(bucket, marker, version_id)


def _dataset(folder: Path) -> Sequence[str]:
    """Name the files below a folder that are of the dataset; raises CommandError for others."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = sorted(name for name in names if not is_hidden(name))
    others = [name for name in files if not name.endswith(PROMPT_SUFFIXES)]
    if others:
        raise CommandError(f"{folder / others[0]} is no prompt file; move it out of the folder")
    if not files:
        raise CommandError(f"{folder} has no {' or '.join(PROMPT_SUFFIXES)} file")
    return files


def _send(stack: Stack, file: Path, key: str, metadata: Mapping[str, str]) -> str | None:
    """Upload one file and return its version."""
    bucket, s3 = stack.outputs["UploadBucketName"], stack.client("s3")
    extra = {"ChecksumAlgorithm": "SHA256", "Metadata": metadata}
    with _explained(file):
        s3.upload_file(str(file), bucket, key, ExtraArgs=extra)
        version_id: str | None = s3.head_object(Bucket=bucket, Key=key).get("VersionId")
    return version_id


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, BotoCoreError, ClientError, S3UploadFailedError) as error:
        raise CommandError(f"{path}: {error}") from None

"""`search-router upload prompts|query-log|segments FILE`: upload files, which starts their work.

A folder of prompt files is one dataset; its marker is uploaded last.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from router_cli import parquet
from router_cli.console import CommandError, Steps, fail, print_json, print_table, progress, say
from router_cli.labels import label
from router_cli.prompt_files import local_log, parquet_name
from router_cli.stack import Stack, open_stack
from search_router.domain import naming
from search_router.domain.logs.log_files import findings
from search_router.domain.logs.query_logs import LogPlan, LogState, QueryLog
from search_router.domain.logs.rows import LogRow
from search_router.domain.queries import normalised_query
from search_router.domain.search.segment_uploads import SegmentState, SegmentUpload
from search_router.domain.search.segments import collection_of
from search_router.domain.uploads import (
    DATASET_MARKER,
    PROMPT_NAMES,
    PROMPT_SUFFIXES,
    PROMPTS_PREFIX,
    QUERY_FIELD_METADATA,
    QUERY_LOGS_PREFIX,
    SEGMENTS_PREFIX,
    encoded_metadata,
    is_hidden,
)

_PREFIXES = {"prompts": PROMPTS_PREFIX, "query-log": QUERY_LOGS_PREFIX}
_PLANNED = {"state", "reason", "rows", "splits", "hours_if_distinct"}
_SHOWN_ROWS = 10
_PLAN_POLLS, _POLL_SECONDS = 20, 0.5
_INDEXING_SECONDS = 600
_OUTCOMES = ("rows_in", "indexed", "unchanged", "deleted", "superseded", "rejected")


def prompts(arguments: argparse.Namespace) -> int:
    """Upload prompts and print the id of their run."""
    run_id = upload(open_stack(arguments), "prompts", arguments.file)
    if arguments.json:
        print_json({"id": run_id})
    else:
        say(f"Uploaded as {run_id}. `search-router runs {run_id}` shows its progress.")
    return 0


def query_log(arguments: argparse.Namespace) -> int:
    """Upload a query log and print its id and, if it is planned soon, its plan.

    Returns 1 if the log FAILED.
    """
    if arguments.dry_run:
        return _dry_run(arguments)
    stack = open_stack(arguments)
    log_id = upload(stack, "query-log", arguments.file, arguments.query_field)
    log = _planned(stack, log_id)
    failed = log is not None and log.state is LogState.FAILED
    plan = None if log is None or failed else _plan(stack, log_id)
    if arguments.json:
        shown = {} if log is None else log.model_dump(mode="json", include=_PLANNED)
        read = {} if plan is None else {"read_as": _read_as(plan), "warnings": plan.warnings}
        print_json({"id": log_id, **shown, **read})
        return int(failed)
    if log is not None and failed:
        return fail(f"query log {log_id} failed: {log.reason}")
    say(f"Uploaded as {log_id}. `search-router results {log_id}` shows its progress.")
    if log is not None and plan is not None:
        say(f"Read as {_read_as(plan)}")
        for warning in plan.warnings:
            say(f"Warning: {warning}")
        say(log.outlook)
    return 0


def segments(arguments: argparse.Namespace) -> int:
    """Upload segments, wait until they are indexed, and print what became of each row."""
    stack = open_stack(arguments)
    upload_id = upload_segments(stack, arguments.file, arguments.collection)
    if not arguments.json:
        say(f"Uploaded as {upload_id}.")
    with Steps().step("index the segments") as details:
        head = wait_for_segments(stack, upload_id)
        details.append("still in work" if head is None else head.state.value)
    if head is None:
        if arguments.json:
            print_json({"id": upload_id, "state": "in work"})
        else:
            say("It takes longer than ten minutes. `search-router runs` shows its progress.")
        return 0
    if head.state is SegmentState.FAILED:
        raise CommandError(f"upload {upload_id} failed: {head.reason}")
    ledger = segment_ledger(stack, upload_id)
    if arguments.json:
        print_json({"id": upload_id, "state": head.state.value, **ledger})
    else:
        print_segment_ledger(ledger)
    return 0


def upload_segments(stack: Stack, file: Path, collection: str) -> str:
    """Upload a segment file and return the id of the upload.

    Raises CommandError, or InvalidInputError if the names of file and collection do not fit.
    """
    if file.is_dir():
        raise CommandError(f"a folder, not a segment file: {file}. Upload its files one by one.")
    key = f"{SEGMENTS_PREFIX}{collection}/{file.name}"
    collection_of(key, SEGMENTS_PREFIX)
    bucket = stack.outputs["UploadBucketName"]
    return naming.segments_id(bucket, key, _send(stack, file, key, {}))


def wait_for_segments(stack: Stack, upload_id: str) -> SegmentUpload | None:
    """Return the record of an upload once it has ended; None if that takes over ten minutes."""
    deadline = time.monotonic() + _INDEXING_SECONDS
    while time.monotonic() < deadline:
        head = stack.segment_uploads.get(upload_id)
        if head is not None and not head.state.is_unfinished:
            return head
        time.sleep(_POLL_SECONDS)
    return None


def segment_ledger(stack: Stack, upload_id: str) -> dict[str, Any]:
    """Return the summary of an indexed upload, and its rejected rows by reason."""
    ledger: dict[str, Any] = json.loads(
        stack.objects.get(naming.upload_key(upload_id, "summary.json"))
    )
    reasons: Counter[str] = Counter()
    if ledger["rejected"]:
        for key, _ in stack.objects.list(naming.upload_key(upload_id, "rejected") + "/"):
            rows = stack.objects.get(key).split(b"\n")
            reasons.update(json.loads(row)["reason"] for row in rows if row)
    return {**ledger, "reasons": dict(reasons.most_common())}


def print_segment_ledger(ledger: Mapping[str, Any]) -> None:
    """Print what became of the rows of an upload."""
    rows: list[tuple[str, object]] = [(label(name), ledger[name]) for name in _OUTCOMES]
    rows += [(f"  {reason}", count) for reason, count in ledger["reasons"].items()]
    rows.append((label("embeddings"), ledger["embeddings"]))
    print_table(f"Segments of {ledger['collection']}", ["", "rows"], rows)


def _dry_run(arguments: argparse.Namespace) -> int:
    """Print the first queries of a log as they would be asked; return 1 if there are none."""
    log = local_log(arguments.file, arguments.query_field or "")
    queries: list[tuple[int, str]] = []
    rejected: list[tuple[int, str]] = []
    usable = unusable = 0
    for number, row in log.rows():
        if isinstance(row, LogRow):
            usable += 1
            if len(queries) < _SHOWN_ROWS:
                queries.append((number, normalised_query(row.query)))
        else:
            unusable += 1
            if len(rejected) < _SHOWN_ROWS:
                rejected.append((number, row.reason))
    if arguments.json:
        print_json(
            {
                "read_as": log.findings,
                "warnings": log.warnings,
                "rows": usable + unusable,
                "rejected": unusable,
                "queries": [{"line": n, "query": query} for n, query in queries],
                "rejections": [{"line": n, "reason": reason} for n, reason in rejected],
            }
        )
        return 0 if usable else 1
    print_table(f"First queries of {arguments.file.name}", ["line", "query"], queries)
    if rejected:
        print_table("First rejected rows", ["line", "reason"], rejected)
    say(f"Read as {log.findings}")
    for warning in log.warnings:
        say(f"Warning: {warning}")
    say(f"{usable + unusable:,} rows, {unusable:,} of them rejected. Nothing was uploaded.")
    return 0 if usable else 1


def upload(stack: Stack, kind: str, path: Path, query_field: str | None = None) -> str:
    """Upload "prompts" (a file, or a folder as one dataset) or a "query-log".

    Returns the id of the run or log; raises CommandError.
    """
    bucket = stack.outputs["UploadBucketName"]
    if kind == "prompts" and path.is_dir():
        return naming.run_id(bucket, *_send_dataset(stack, path))
    if path.is_dir():
        raise CommandError(f"the query log is a folder: {path}. Upload its files one by one.")
    key = _PREFIXES[kind] + path.name
    if kind == "query-log" and parquet.is_parquet(path):
        return _upload_parquet(stack, path, query_field)
    metadata = {QUERY_FIELD_METADATA: encoded_metadata(query_field)} if query_field else {}
    identify = naming.run_id if kind == "prompts" else naming.log_id
    return identify(bucket, key, _send(stack, path, key, metadata))


def _upload_parquet(stack: Stack, path: Path, query_field: str | None) -> str:
    """Upload a Parquet query log as JSON Lines."""
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / parquet_name(path)
        with converted.open("wb") as file:
            file.writelines(parquet.json_lines(path))
        return upload(stack, "query-log", converted, query_field)


def _planned(stack: Stack, log_id: str) -> QueryLog | None:
    """Wait ten seconds for the plan of a log; a gzipped log may take longer."""
    for _ in range(_PLAN_POLLS):
        log = stack.ledger.get(log_id)
        if log is not None:
            return log
        time.sleep(_POLL_SECONDS)
    return None


def _plan(stack: Stack, log_id: str) -> LogPlan:
    return LogPlan.model_validate_json(stack.objects.get(naming.upload_key(log_id, "plan.json")))


def _read_as(plan: LogPlan) -> str:
    return findings(plan.form, plan.dialect)


def _send_dataset(stack: Stack, folder: Path) -> tuple[str, str | None]:
    """Upload the files of a dataset, then its marker; return the marker's key and version."""
    prefix = f"{PROMPTS_PREFIX}{folder.resolve().name}/"
    files = _dataset(folder)
    for name in progress("uploading", files, len(files)):
        _send(stack, folder / name, prefix + name, {})
    bucket, marker = stack.outputs["UploadBucketName"], prefix + DATASET_MARKER
    with _upload_errors(folder):
        reply = stack.client("s3").put_object(Bucket=bucket, Key=marker)
    return marker, reply.get("VersionId")


def _dataset(folder: Path) -> Sequence[str]:
    """Return the names of the files below a folder; raises CommandError for other files."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = sorted(name for name in names if not is_hidden(name))
    others = [name for name in files if not name.lower().endswith(PROMPT_SUFFIXES)]
    if others:
        raise CommandError(f"not a prompt file: {folder / others[0]}. Remove it from the folder.")
    if not files:
        raise CommandError(f"no prompt file in {folder}. Put {PROMPT_NAMES} files there.")
    return files


def _send(stack: Stack, file: Path, key: str, metadata: Mapping[str, str]) -> str | None:
    """Upload one file and return its version."""
    bucket, s3 = stack.outputs["UploadBucketName"], stack.client("s3")
    extra = {"ChecksumAlgorithm": "SHA256", "Metadata": metadata}
    with _upload_errors(file):
        s3.upload_file(str(file), bucket, key, ExtraArgs=extra)
        version_id: str | None = s3.head_object(Bucket=bucket, Key=key).get("VersionId")
    return version_id


@contextmanager
def _upload_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror or error}.") from None
    except (BotoCoreError, ClientError, S3UploadFailedError) as error:
        raise CommandError(f"cannot upload {path}: {error}") from None

"""`search-router upload prompts|query-log FILE`: start a run or a batch by dropping a file."""

import argparse
import time
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import print_json, say
from router_cli.failures import CommandError
from router_cli.stack import Stack, add_stack_arguments, open_stack
from search_router.domain import naming
from search_router.domain.query_logs import LogState, QueryLog
from search_router.domain.uploads import PROMPTS_PREFIX, QUERY_FIELD_METADATA, QUERY_LOGS_PREFIX

_KINDS = {"prompts": PROMPTS_PREFIX, "query-log": QUERY_LOGS_PREFIX}
_PLANNED = {"state", "reason", "rows", "splits", "hours_if_distinct"}
_PLAN_POLLS, _POLL_SECONDS = 20, 0.5


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("upload", help="upload a prompt file or a query log")
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--query-field", metavar="NAME", help="field or column of the log that holds the query"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Upload one file, name the run or log that it becomes, and say what a log comes to."""
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


def upload(stack: Stack, kind: str, file: Path, query_field: str | None = None) -> str:
    """Upload a file and return the id of the run or log; raises CommandError."""
    bucket, key = stack.outputs["UploadBucketName"], _KINDS[kind] + file.name
    s3 = stack.client("s3")
    try:
        extra: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"}
        if query_field:
            extra["Metadata"] = {QUERY_FIELD_METADATA: query_field}
        s3.upload_file(str(file), bucket, key, ExtraArgs=extra)
        version_id = s3.head_object(Bucket=bucket, Key=key).get("VersionId")
    except (OSError, BotoCoreError, ClientError, S3UploadFailedError) as error:
        raise CommandError(f"{file}: {error}") from None
    identify = naming.run_id if kind == "prompts" else naming.log_id
    return identify(bucket, key, version_id)

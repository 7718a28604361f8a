"""`search-router upload prompts|query-log FILE`: start a run or a batch by dropping a file."""

import argparse
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from router_cli.console import print_json, say
from router_cli.failures import CommandError
from router_cli.stack import Stack, add_stack_arguments, open_stack
from search_router.domain import naming
from search_router.domain.uploads import PROMPTS_PREFIX, QUERY_LOGS_PREFIX

_KINDS = {"prompts": PROMPTS_PREFIX, "query-log": QUERY_LOGS_PREFIX}


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("upload", help="upload a prompt file or a query log")
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Upload one file and name the run or log that it becomes."""
    name = upload(open_stack(arguments), arguments.kind, arguments.file)
    follow = "runs" if arguments.kind == "prompts" else "results"
    if arguments.json:
        print_json({"id": name})
    else:
        say(f"uploaded as {name}; follow it with `search-router {follow} {name}`")
    return 0


def upload(stack: Stack, kind: str, file: Path) -> str:
    """Upload a file and return the id of the run or log; raises CommandError."""
    bucket, key = stack.outputs["UploadBucketName"], _KINDS[kind] + file.name
    s3 = stack.client("s3")
    try:
        s3.upload_file(str(file), bucket, key, ExtraArgs={"ChecksumAlgorithm": "SHA256"})
        version_id = s3.head_object(Bucket=bucket, Key=key).get("VersionId")
    except (OSError, BotoCoreError, ClientError, S3UploadFailedError) as error:
        raise CommandError(f"{file}: {error}") from None
    identify = naming.run_id if kind == "prompts" else naming.log_id
    return identify(bucket, key, version_id)

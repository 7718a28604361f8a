"""Reports what a handler can see and do."""

import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import ClientError
from sample.records import record  # type: ignore[import-not-found]  # in the layer


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    if event.get("detail-type") == "Scheduled Event":
        record("tick", "ticked")
    return {
        "environment": dict(os.environ),
        "boto3": boto3.__file__,
        "path": sys.path,
        "sees_emulator": importlib.util.find_spec("ministack") is not None,
        "forbidden_put": _error_of(_put_into_forbidden_table),
        "foreign_event": _error_of(lambda: _put_event("search-router")),
        "own_event": _error_of(lambda: _put_event("sample")),
        "own_messages": _error_of(_send_two_messages),
    }


def _error_of(call: Callable[[], object]) -> str:
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def _put_into_forbidden_table() -> None:
    table: Any = boto3.resource("dynamodb").Table(os.environ["FORBIDDEN_TABLE"])
    table.put_item(Item={"pk": "x"})


def _put_event(source: str) -> None:
    entry: Any = {"Source": source, "DetailType": "Probed", "Detail": "{}"}
    boto3.client("events").put_events(Entries=[entry])


def _send_two_messages() -> None:
    entries: Any = [{"Id": name, "MessageBody": name} for name in ("one", "two")]
    url = os.environ["PROBE_QUEUE_URL"]
    boto3.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)

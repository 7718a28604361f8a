"""The events that Lambda would hand the functions: golden ones with ids and details replaced."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.cloud import PROJECT, UPLOADS


def upload_event(key: str, version_id: str, size: int) -> dict[str, Any]:
    """Return S3's word that a query log was uploaded."""
    event = _golden("split_query_log")
    event["detail"]["bucket"]["name"] = UPLOADS
    event["detail"]["object"].update({"key": key, "version-id": version_id, "size": size})
    return event


def complete_event(log_id: str) -> dict[str, Any]:
    """Return our own word that every part of a log is there."""
    event = _golden("finish_query_log")
    event["detail"]["log_id"] = log_id
    return event


def split_event(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch of one message, as SQS's ReceiveMessage told it."""
    record: dict[str, Any] = _golden("route_queries")["Records"][0]
    receives = message["Attributes"]["ApproximateReceiveCount"]
    changed = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": record["attributes"] | {"ApproximateReceiveCount": receives},
    }
    return {"Records": [record | changed]}


def _golden(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((PROJECT / "events" / f"{name}.json").read_bytes())
    return event

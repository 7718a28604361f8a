"""Where the sample handlers leave what they saw."""

import json
import os
from typing import Any

import boto3


def record(key: str, value: object) -> None:
    """Append a value to the list under `key`."""
    table: Any = boto3.resource("dynamodb").Table(os.environ["RECORDS_TABLE"])
    table.update_item(
        Key={"pk": key},
        UpdateExpression="SET seen = list_append(if_not_exists(seen, :none), :one)",
        ExpressionAttributeValues={":none": [], ":one": [json.dumps(value)]},
    )

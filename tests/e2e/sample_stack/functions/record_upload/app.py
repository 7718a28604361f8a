"""Records an uploaded object: the event's detail and a range of the version it names."""

from typing import Any

import boto3
from sample.records import record  # type: ignore[import-not-found]  # in the layer


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    uploaded = event["detail"]["object"]
    part = boto3.client("s3").get_object(
        Bucket=event["detail"]["bucket"]["name"],
        Key=uploaded["key"],
        VersionId=uploaded["version-id"],
        Range="bytes=1-3",
    )
    record(uploaded["key"], {**uploaded, "part": part["Body"].read().decode()})

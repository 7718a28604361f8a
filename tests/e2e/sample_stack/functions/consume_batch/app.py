"""Records every message and reports those called "bad" as failed, to come back at once."""

import os
import time
from typing import Any

import boto3
from sample.records import record  # type: ignore[import-not-found]  # in the layer


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    failed = []
    for message in event["Records"]:
        if message["body"] == "sleep":
            record("sleep", "started")
            time.sleep(10_000)  # longer than any test waits: only an end from outside ends it
        record(message["body"], message["attributes"]["ApproximateReceiveCount"])
        if message["body"] == "bad":
            failed.append({"itemIdentifier": message["messageId"]})
            sqs = boto3.client("sqs")
            sqs.change_message_visibility(
                QueueUrl=os.environ["BATCH_QUEUE_URL"],
                ReceiptHandle=message["receiptHandle"],
                VisibilityTimeout=0,
            )
    return {"batchItemFailures": failed}

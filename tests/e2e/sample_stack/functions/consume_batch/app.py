"""Records every message and reports those called "bad" as failed."""

import time
from typing import Any

from sample.records import record  # type: ignore[import-not-found]  # in the layer


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    failed = []
    for message in event["Records"]:
        if message["body"] == "sleep":
            record("sleep", "started")
            time.sleep(600)  # longer than any test waits: only an end from outside ends it
        record(message["body"], message["attributes"]["ApproximateReceiveCount"])
        if message["body"] == "bad":
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}

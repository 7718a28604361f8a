"""A log of many gigabytes that exists only as ranges: planned, and one of its splits routed.

`python -m benchmarks.large_log ROWS_FILE GIGABYTES` repeats the file's rows up to that size and
prints one JSON line. Only the upload is made up; queue, plan, ledger and parts are the real ones.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3

from benchmarks.aws_events import split_event, upload_event
from benchmarks.cloud import PROJECT, Cloud
from benchmarks.lambda_process import TIMEOUT_SECONDS, Context, current_usage
from search_router.dependencies import dependencies
from search_router.domain.uploads import ObjectRef
from search_router.ports import ObjectInfo

KEY, VERSION = "query-logs/large.jsonl", "large"
_CHUNK_BYTES = 256 * 1024
_GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LargeLog:
    """How long planning took, into how many splits, and the peak of planning and of routing."""

    seconds: float
    splits: int
    planner_peak_bytes: int
    rows_routed: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class RepeatedUpload:
    """An upload store with one object: the same whole rows, over and over, up to a size."""

    rows: bytes
    size: int

    def info(self, source: ObjectRef) -> ObjectInfo:  # noqa: ARG002 - there is but one
        """Return the size."""
        return ObjectInfo(self.size, {})

    def read(
        self,
        source: ObjectRef,  # noqa: ARG002 - there is but one
        start: int = 0,
        end: int | None = None,
    ) -> Iterator[bytes]:
        """Stream the bytes in [start, end)."""
        stop = self.size if end is None else min(end, self.size)
        while start < stop:
            place = start % len(self.rows)
            chunk = self.rows[place : place + min(_CHUNK_BYTES, stop - start)]
            yield chunk
            start += len(chunk)

    def latest(self, bucket: str, prefix: str) -> Iterator[tuple[ObjectRef, datetime]]:
        """Yield nothing: nobody looks for missed uploads here."""
        _ = bucket, prefix
        return iter(())


def measure_large_log(cloud: Cloud, rows: bytes, gigabytes: float) -> LargeLog:
    """Plan and begin to route a large log in a process of its own, with a queue of its own."""
    file = cloud.folder / "rows.jsonl"
    file.write_bytes(rows)
    queue = cloud.clients.client("sqs").create_queue(QueueName="large")["QueueUrl"]
    with (cloud.folder / "large-log.log").open("wb") as log:
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", __spec__.name, str(file), str(gigabytes)],
            env=cloud.environment() | {"SPLIT_QUEUE_URL": queue},
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=PROJECT,
            check=True,
        )
    return LargeLog(**json.loads(done.stdout))


def main(file: Path, gigabytes: float) -> None:
    """Plan, route one split, and print what it took."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the functions print is their log
    deps = dependencies()
    size = int(gigabytes * _GIGABYTE)
    vars(deps)["uploads"] = RepeatedUpload(file.read_bytes(), size)
    started = time.monotonic()
    _invoke("split_query_log", upload_event(KEY, VERSION, size))
    seconds = time.monotonic() - started
    planner = current_usage().peak_bytes
    _invoke("route_queries", split_event(_any_message(deps.settings.split_queue_url)))
    log = next(iter(deps.ledger.all()))
    marker = next(deps.ledger.markers(log.log_id))
    measured = {
        "seconds": seconds,
        "splits": log.splits,
        "planner_peak_bytes": planner,
        "rows_routed": marker.rows,
        "peak_bytes": current_usage().peak_bytes,
    }
    answer.write(json.dumps(measured))
    answer.flush()


def _invoke(function: str, event: dict[str, Any]) -> None:
    handler = importlib.import_module(f"functions.{function}.app").lambda_handler
    handler(event, Context(function, time.monotonic() + TIMEOUT_SECONDS))


def _any_message(queue_url: str) -> dict[str, Any]:
    sqs: Any = boto3.client("sqs")
    received = sqs.receive_message(QueueUrl=queue_url, MessageSystemAttributeNames=["All"])
    message: dict[str, Any] = received["Messages"][0]
    return message


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))

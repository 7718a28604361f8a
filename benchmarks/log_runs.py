"""Routes query logs through the deployed functions' code, as Lambda and its poller would.

Every routing worker is a process of its own, so that its CPU time is not mixed with the services'.
"""

import json
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from benchmarks.cloud import DATA, UPLOADS, Cloud, jsonl
from benchmarks.lambda_process import (
    LambdaProcess,
    complete_event,
    split_event,
    upload_event,
)
from benchmarks.timing import Usage
from router_cli import synthesis
from search_router.domain import naming

_SAMPLE_SECONDS = 0.25
_IDLE_SECONDS = 0.02
_GIVE_UP_SECONDS = 3_600.0
_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Sample:
    """Converse requests answered and throttled so far, at a monotonic time in seconds."""

    at: float
    answered: int
    throttled: int


@dataclass(frozen=True, slots=True)
class LogRun:
    """One routed log; `usage` is that of the routing workers only."""

    log_id: str
    splits: int
    seconds: float
    usage: Usage
    samples: Sequence[Sample]
    summary: Mapping[str, Any]

    @property
    def calls(self) -> int:
        """Return the Converse requests that were answered."""
        return self.samples[-1].answered - self.samples[0].answered

    @property
    def throttled_percent(self) -> float:
        """Return the share of Converse requests that the quota throttled."""
        throttled = self.samples[-1].throttled - self.samples[0].throttled
        return 100 * throttled / max(1, self.calls + throttled)

    @property
    def rows(self) -> int:
        """Return the rows of the log."""
        rows: int = self.summary["rows_in"]
        return rows


@dataclass(slots=True)
class Workers:
    """The functions that route a log, each warm in its own process."""

    cloud: Cloud
    splitter: LambdaProcess
    finisher: LambdaProcess
    routers: Sequence[LambdaProcess]
    _routed: int = field(default=0)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def route(self, key: str, body: bytes) -> LogRun:
        """Upload a log, route it and return the run."""
        s3 = self.cloud.clients.client("s3")
        version = s3.put_object(Bucket=UPLOADS, Key=key, Body=body)["VersionId"]
        log_id = naming.log_id(UPLOADS, key, version)
        before = self.usage
        with _sampling(self.cloud) as samples:
            started = time.monotonic()
            self.splitter.invoke(upload_event(UPLOADS, key, version, len(body)))
            splits = self._read(log_id, "plan.json")["splits"]
            self._route_all(splits)
            seconds = time.monotonic() - started
        self.finisher.invoke(complete_event(log_id))
        after = self.usage
        return LogRun(
            log_id=log_id,
            splits=splits,
            seconds=seconds,
            usage=Usage(after.cpu_seconds - before.cpu_seconds, after.peak_bytes),
            samples=samples,
            summary=self._read(log_id, "summary.json"),
        )

    @property
    def usage(self) -> Usage:
        """Return the CPU time of all routing workers, and the peak memory of the largest."""
        used = [worker.usage for worker in self.routers]
        return Usage(sum(u.cpu_seconds for u in used), max(u.peak_bytes for u in used))

    def parts(self, run: LogRun) -> Iterator[bytes]:
        """Yield the result parts of a routed log, in input order."""
        s3 = self.cloud.clients.client("s3")
        for split in range(run.splits):
            key = naming.part_key(run.log_id, split)
            yield s3.get_object(Bucket=DATA, Key=key)["Body"].read()

    def _read(self, log_id: str, name: str) -> dict[str, Any]:
        s3 = self.cloud.clients.client("s3")
        body = s3.get_object(Bucket=DATA, Key=naming.upload_key(log_id, name))["Body"].read()
        document: dict[str, Any] = json.loads(body)
        return document

    def _route_all(self, splits: int) -> None:
        """Hand messages to workers until every split is done, as the event source mapping does."""
        self._routed = 0
        failures: list[BaseException] = []
        pollers = [
            threading.Thread(target=self._poll, args=(worker, splits, failures))
            for worker in self.routers
        ]
        for poller in pollers:
            poller.start()
        for poller in pollers:
            poller.join()
        if failures:
            raise failures[0]

    def _poll(self, worker: LambdaProcess, splits: int, failures: list[BaseException]) -> None:
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        sqs, queue = self.cloud.clients.client("sqs"), self.cloud.queue_url
        try:
            while self._routed < splits and not failures and time.monotonic() < give_up:
                received = sqs.receive_message(
                    QueueUrl=queue, MaxNumberOfMessages=1, MessageSystemAttributeNames=["All"]
                )
                messages = received.get("Messages", [])
                for message in messages:
                    result = worker.invoke(split_event(message))
                    if not result["batchItemFailures"]:
                        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                        with self._lock:
                            self._routed += 1
                if not messages:
                    time.sleep(_IDLE_SECONDS)
        except BaseException as error:  # noqa: BLE001 - raised again by the waiting thread
            failures.append(error)


@contextmanager
def warm_workers(cloud: Cloud, *options: str) -> Iterator[Workers]:
    """Start the functions' processes and route a small log; `options` are the processes'."""
    with ExitStack() as stack:

        def start(function: str) -> LambdaProcess:
            process = LambdaProcess(function, cloud.environment(), cloud.folder, *options)
            return stack.enter_context(process)

        routers = [start("route_queries") for _ in range(cloud.quota.workers)]
        workers = Workers(cloud, start("split_query_log"), start("finish_query_log"), routers)
        workers.route("query-logs/warm-up.jsonl", jsonl(synthesis.query_log_rows(1, 2_000, 40)))
        yield workers


@contextmanager
def _sampling(cloud: Cloud) -> Iterator[list[Sample]]:
    """Read the fake's request counters four times a second, and at both ends."""
    samples: list[Sample] = []
    stop = threading.Event()

    def look() -> None:
        calls = cloud.model_calls()
        samples.append(Sample(time.monotonic(), calls["200"], calls["429"]))

    def watch() -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            look()

    look()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        stop.set()
        watcher.join()
        look()


@dataclass(frozen=True, slots=True)
class RowCheck:
    """Rows of a log, those without a correct result row, and those with the fallback's answer."""

    rows: int
    lost: int
    fallback: int


def check_rows(log: bytes, parts: Iterable[bytes], modalities: Iterable[str]) -> RowCheck:
    """Compare every row of a JSONL log with its result row, in input order."""
    names = tuple(modalities)
    rows = lost = fallback = 0
    results = (line for part in parts for line in part.splitlines())
    for row, line in zip_longest(_rows(log), results):
        rows += row is not None
        result = json.loads(line) if line is not None else {}
        lost += row is None or not _answers(row, result, names)
        fallback += result.get("status") == "fallback"
    return RowCheck(rows, lost, fallback)


def _rows(log: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    offset = 0
    for line in log.splitlines(keepends=True):
        yield offset, json.loads(line)
        offset += len(line)


def _answers(
    row: tuple[int, Mapping[str, Any]], result: Mapping[str, Any], modalities: tuple[str, ...]
) -> bool:
    offset, columns = row
    weights = [result.get(name, math.nan) for name in modalities]
    return (
        result.get("byte_offset") == offset
        and all(result.get(name) == value for name, value in columns.items())
        and all(0 <= weight <= 1 for weight in weights)
        and abs(math.fsum(weights) - 1) <= _SUM_TOLERANCE
    )

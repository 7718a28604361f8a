"""One query log through the deployed functions' own code, as Lambda and its poller would run it."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.aws_events import complete_event, split_event, upload_event
from benchmarks.cloud import DATA, UPLOADS, Cloud, jsonl
from benchmarks.lambda_process import LambdaProcess, Usage
from router_cli import synthesis
from search_router.domain import naming

_SAMPLE_SECONDS = 0.25
_IDLE_SECONDS = 0.02
_GIVE_UP_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """How many Converse requests had been answered and throttled at a monotonic time."""

    at: float
    answered: int
    throttled: int


@dataclass(frozen=True, slots=True)
class LogRun:
    """What one log took; CPU is that of the routing workers alone."""

    log_id: str
    splits: int
    seconds: float
    usage: Usage
    samples: Sequence[Sample]
    summary: Mapping[str, Any]

    @property
    def calls(self) -> int:
        """Converse requests answered while the log was routed."""
        return self.samples[-1].answered - self.samples[0].answered

    @property
    def throttled(self) -> int:
        """Converse requests refused by the quota meanwhile."""
        return self.samples[-1].throttled - self.samples[0].throttled

    @property
    def rows(self) -> int:
        """Rows of the log."""
        rows: int = self.summary["rows_in"]
        return rows


@dataclass(slots=True)
class Workers:
    """The functions of a query log, warm: as many routing workers as the template allows."""

    cloud: Cloud
    splitter: LambdaProcess
    finisher: LambdaProcess
    routers: Sequence[LambdaProcess]
    _routed: int = field(default=0)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def route(self, key: str, body: bytes) -> LogRun:
        """Upload a log, route it and return what it took."""
        reply = self.cloud.clients.client("s3").put_object(Bucket=UPLOADS, Key=key, Body=body)
        log_id = naming.log_id(UPLOADS, key, reply["VersionId"])
        before = self.usage
        with _sampling(self.cloud) as samples:
            started = time.monotonic()
            self.splitter.invoke(upload_event(key, reply["VersionId"], len(body)))
            splits = self._plan(log_id)["splits"]
            self._route_all(splits)
            seconds = time.monotonic() - started
        self.finisher.invoke(complete_event(log_id))
        usage = self.usage
        return LogRun(
            log_id=log_id,
            splits=splits,
            seconds=seconds,
            usage=Usage(usage.cpu_seconds - before.cpu_seconds, usage.peak_bytes),
            samples=samples,
            summary=self._read(log_id, "summary.json"),
        )

    @property
    def usage(self) -> Usage:
        """CPU of all routing workers together, memory of the largest."""
        used = [worker.usage for worker in self.routers]
        return Usage(sum(u.cpu_seconds for u in used), max(u.peak_bytes for u in used))

    def _plan(self, log_id: str) -> dict[str, Any]:
        return self._read(log_id, "plan.json")

    def _read(self, log_id: str, name: str) -> dict[str, Any]:
        s3 = self.cloud.clients.client("s3")
        body = s3.get_object(Bucket=DATA, Key=naming.log_key(log_id, name))["Body"].read()
        document: dict[str, Any] = json.loads(body)
        return document

    def _route_all(self, splits: int) -> None:
        """Play the event source mapping: hand messages to workers until every split is done."""
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
        sqs, queue = self.cloud.clients.client("sqs"), self.cloud.queue_url
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        try:
            while self._routed < splits and not failures and time.monotonic() < give_up:
                received = sqs.receive_message(
                    QueueUrl=queue,
                    MaxNumberOfMessages=1,
                    MessageSystemAttributeNames=["All"],
                )
                for message in received.get("Messages", []):
                    result = worker.invoke(split_event(message))
                    if not result["batchItemFailures"]:
                        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                        with self._lock:
                            self._routed += 1
                if not received.get("Messages"):
                    time.sleep(_IDLE_SECONDS)
        except BaseException as error:  # noqa: BLE001 - raised again by the waiting thread
            failures.append(error)


@contextmanager
def warm_workers(cloud: Cloud, **environment: str) -> Iterator[Workers]:
    """Start the functions' processes and warm them up; they end with the block."""
    with ExitStack() as stack:

        def start(function: str) -> LambdaProcess:
            process = LambdaProcess(function, cloud.environment(**environment), cloud.folder)
            return stack.enter_context(process)

        routers = [start("route_queries") for _ in range(cloud.quota.workers)]
        workers = Workers(cloud, start("split_query_log"), start("finish_query_log"), routers)
        workers.route("query-logs/warm-up.jsonl", jsonl(synthesis.query_log_rows(1, 2_000, 40)))
        yield workers


@contextmanager
def _sampling(cloud: Cloud) -> Iterator[list[Sample]]:
    """Look at the double's counters four times a second, and once more at the end."""
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

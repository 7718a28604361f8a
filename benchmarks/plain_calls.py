"""Routes a log without this system: one plain boto3 call per row, in turn or by a thread pool.

Neither deduplicates nor caches, so both are measured on a sample and extrapolated.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from benchmarks.cloud import STATE, Cloud
from local_stack.loopback import require_loopback
from search_router.adapters.dynamodb_champions import DynamoChampionRepository
from search_router.domain.prices import cost_usd


@dataclass(frozen=True, slots=True)
class SampledWay:
    """A sample of rows; `throttled` counts attempts, `failed` rows without an answer."""

    rows: int
    seconds: float
    cpu_seconds: float
    throttled: int
    failed: int
    cost_usd: float

    @property
    def rows_per_second(self) -> float:
        """Return the rows answered per second."""
        return (self.rows - self.failed) / self.seconds

    @property
    def attempts(self) -> int:
        """Return the requests that were sent."""
        return self.rows - self.failed + self.throttled

    @property
    def cost_per_million_rows(self) -> float:
        """Return the dollars for a million answered rows."""
        return self.cost_usd / max(1, self.rows - self.failed) * 1_000_000


class PlainCalls:
    """A boto3 client with default settings, and one query per call."""

    def __init__(self, cloud: Cloud, threads: int) -> None:
        champion = DynamoChampionRepository(cloud.clients.client("dynamodb"), STATE).current()
        if champion is None:
            raise RuntimeError("no model serves")
        self._serving = champion.serving
        self._cloud = cloud
        self._threads = threads
        session: Any = boto3.Session(
            aws_access_key_id=cloud.caller["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=cloud.caller["AWS_SECRET_ACCESS_KEY"],
            region_name=cloud.caller["AWS_DEFAULT_REGION"],
        )
        self._client: Any = session.client(
            "bedrock-runtime",
            endpoint_url=require_loopback(cloud.bedrock_endpoint),
            config=Config(proxies={}, max_pool_connections=threads),
        )

    def ask_all(self, queries: Sequence[str]) -> SampledWay:
        """Ask every query from the pool of threads, with the SDK's own retries."""
        if self._threads == 1:
            return self._sampled(lambda: list(map(self._ask, queries)), len(queries))
        with ThreadPoolExecutor(self._threads) as pool:
            return self._sampled(lambda: list(pool.map(self._ask, queries)), len(queries))

    def _sampled(self, run: Callable[[], list[float | None]], rows: int) -> SampledWay:
        before = self._cloud.model_calls()
        started, cpu = time.monotonic(), time.process_time()
        costs = run()
        seconds, used = time.monotonic() - started, time.process_time() - cpu
        return SampledWay(
            rows=rows,
            seconds=seconds,
            cpu_seconds=used,
            throttled=self._cloud.model_calls()["429"] - before["429"],
            failed=costs.count(None),
            cost_usd=sum(cost for cost in costs if cost is not None),
        )

    def _ask(self, query: str) -> float | None:
        """Return what the answer costs in dollars; None if all retries failed."""
        try:
            reply = self._client.converse(
                modelId=self._serving.model_id,
                system=[{"text": self._serving.system_prompt}],
                messages=[{"role": "user", "content": [{"text": query}]}],
                inferenceConfig={"maxTokens": self._serving.max_output_tokens, "temperature": 0.0},
            )
        except ClientError:
            return None
        usage = reply["usage"]
        return cost_usd(self._serving.priced_as, usage["inputTokens"], usage["outputTokens"])

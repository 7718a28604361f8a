"""How the same log is routed without this system: one call per row, in turn or by a thread pool.

Neither dedupes nor caches, so both are measured on a sample and extrapolated, and say so.
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
from local_stack.processes import CALLER
from search_router.adapters.dynamodb_champions import DynamoChampionRepository
from search_router.domain.prices import cost_usd
from search_router.domain.serving.champions import ServingModel


@dataclass(frozen=True, slots=True)
class SampledWay:
    """What a sample of rows took; throttled counts refused attempts, failed rows without answer."""

    rows: int
    seconds: float
    cpu_seconds: float
    throttled: int
    failed: int
    cost_usd: float

    @property
    def rows_per_second(self) -> float:
        """Rows answered in a second."""
        return (self.rows - self.failed) / self.seconds

    @property
    def attempts(self) -> int:
        """Requests that reached the model or its quota."""
        return self.rows - self.failed + self.throttled

    @property
    def cost_per_million_rows(self) -> float:
        """Dollars for a million answered rows."""
        return self.cost_usd / max(1, self.rows - self.failed) * 1_000_000


def one_after_another(cloud: Cloud, queries: Sequence[str]) -> SampledWay:
    """Ask each row's query and wait for the answer, as the published notebook does."""
    ask = _asking(cloud, connections=1)
    return _sampled(cloud, lambda: [ask(query) for query in queries])


def thread_pool(cloud: Cloud, queries: Sequence[str], threads: int) -> SampledWay:
    """Ask each row's query from a pool of threads, with the SDK's own retries."""
    ask = _asking(cloud, connections=threads)
    with ThreadPoolExecutor(threads) as pool:
        return _sampled(cloud, lambda: list(pool.map(ask, queries)))


def _sampled(cloud: Cloud, run: Callable[[], list[float | None]]) -> SampledWay:
    before = cloud.model_calls()
    started, cpu = time.monotonic(), time.process_time()
    costs = run()
    seconds, used = time.monotonic() - started, time.process_time() - cpu
    return SampledWay(
        rows=len(costs),
        seconds=seconds,
        cpu_seconds=used,
        throttled=cloud.model_calls()["429"] - before["429"],
        failed=costs.count(None),
        cost_usd=sum(cost for cost in costs if cost is not None),
    )


def _asking(cloud: Cloud, connections: int) -> Callable[[str], float | None]:
    """Return a function that asks one query and tells what it cost; None if it stays refused."""
    serving = _serving(cloud)
    client = _plain_client(cloud, connections)

    def ask(query: str) -> float | None:
        try:
            reply = client.converse(
                modelId=serving.model_id,
                system=[{"text": serving.system_prompt}],
                messages=[{"role": "user", "content": [{"text": query}]}],
                inferenceConfig={"maxTokens": serving.max_output_tokens, "temperature": 0.0},
            )
        except ClientError:
            return None
        usage = reply["usage"]
        return cost_usd(serving.priced_as, usage["inputTokens"], usage["outputTokens"])

    return ask


def _serving(cloud: Cloud) -> ServingModel:
    champion = DynamoChampionRepository(cloud.clients.client("dynamodb"), STATE).current()
    if champion is None:
        raise RuntimeError("no model serves")
    return champion.serving


def _plain_client(cloud: Cloud, connections: int) -> Any:
    """Return the SDK's client as it comes, but bound to the double."""
    session: Any = boto3.Session(
        aws_access_key_id=CALLER["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CALLER["AWS_SECRET_ACCESS_KEY"],
        region_name=CALLER["AWS_DEFAULT_REGION"],
    )
    return session.client(
        "bedrock-runtime",
        endpoint_url=require_loopback(cloud.bedrock_endpoint),
        config=Config(proxies={}, max_pool_connections=connections),
    )

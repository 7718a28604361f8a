"""What a routed split leaves behind: result rows, and statistics that can be added up.

    rows_in = routed + fallback + rejected

A distinct query costs one model call: its first row carries tier, tokens and dollars of that call,
its repetitions in the split are answered from memory and count as `cache`. An answer that an
earlier attempt at the same split paid for is this split's call. So sums over rows are sums of
money.
"""

import base64
import hashlib
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from search_router.domain.logs.rows import LogRow
from search_router.domain.queries import query_digest
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.serving.local_tier import LocalTierStats
from search_router.domain.weights import BINS, Modalities, dominant, histogram_means, weight_bin

_LATENCY_BASE = 1.1  # buckets of 10 %: a percentile read back is off by at most 5 %
OWN_COLUMNS = (
    "row_id",
    "query",
    "dominant",
    "tier",
    "status",
    "model",
    "latency_ms",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "byte_offset",
)


_ENCODER = json.JSONEncoder(ensure_ascii=False)  # made once: `json.dumps` would make one a row


class PartStats(BaseModel):
    """Counts and histograms of one part; adding them up gives those of the log.

    `latency` counts model calls by bucket n, which holds milliseconds around 1.1 ** n; `weights`
    counts rows per modality and bin; `interrupted` counts the deliveries of the split that ended
    without its part. `local_…` is what the local tier was asked, in distinct queries
    and microseconds; `compared` to `difference` are its answers beside the distilled model's.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows_in: int = 0
    routed: int = 0
    fallback: int = 0
    rejected: int = 0
    repaired: int = 0
    distinct: int = 0
    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    interrupted: int = 0
    local_asked: int = 0
    local_us: int = 0
    local_abstained: int = 0
    compared: int = 0
    agreeing: int = 0
    difference: float = 0.0
    tiers: dict[str, int] = {}
    latency: dict[int, int] = {}
    weights: dict[str, list[int]] = {}

    @property
    def answered(self) -> int:
        """Rows that carry weights, be they the prior's."""
        return self.routed + self.fallback

    @property
    def weight_means(self) -> dict[str, float]:
        """The mean weight per modality, estimated; empty if no row carries weights."""
        return histogram_means(self.weights)

    def latency_sample(self, size: int) -> list[float]:
        """Return at most `size` latencies, in milliseconds, evenly spread over all calls' ranks."""
        return latency_sample(self.latency, size)

    def __add__(self, other: "PartStats") -> "PartStats":
        numbers = {
            name: getattr(self, name) + getattr(other, name)
            for name, field in type(self).model_fields.items()
            if field.annotation in (int, float)
        }
        return PartStats(
            **numbers,
            tiers=dict(Counter(self.tiers) + Counter(other.tiers)),
            latency=dict(Counter(self.latency) + Counter(other.latency)),
            weights=_add_bins(self.weights, other.weights),
        )


def packed_stats(stats: PartStats) -> str:
    """Write statistics as ASCII that fits S3's 2 KB of metadata, even with sixteen modalities."""
    text = stats.model_dump_json(exclude_defaults=True)
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode()


def unpacked_stats(text: str) -> PartStats:
    """Read back what `packed_stats` wrote."""
    return PartStats.model_validate_json(zlib.decompress(base64.b64decode(text)))


class PartMarker(BaseModel):
    """The ledger's entry for one part, and the S3 metadata that tells two attempts apart.

    In JSON the statistics are packed: at most 1 KB for what a split holds. `size` is the part's, in
    bytes; a marker of an older version does not know it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    log_id: str
    split: int
    rows: int
    identity: str
    size: int | None = None
    stats: Annotated[
        PartStats,
        BeforeValidator(lambda value: unpacked_stats(value) if isinstance(value, str) else value),
        PlainSerializer(packed_stats, when_used="json"),
    ]


class PartBuilder:
    """Collects one split's rows, in order, into the bytes of its part.

    `interrupted` counts the deliveries of the split that ended without a part so far; `local` is
    what the local tier did for the split.
    """

    def __init__(
        self,
        log_id: str,
        modalities: Modalities,
        interrupted: int = 0,
        local: LocalTierStats | None = None,
    ) -> None:
        self._log_id = log_id
        self._interrupted = interrupted
        self._local = local or LocalTierStats()
        self._modalities = modalities
        self._lines: list[bytes] = []
        self._identity = hashlib.sha256()
        self._seen: dict[str, tuple[str, Decision]] = {}  # digest, and what repetitions get
        self._rejected = 0
        self._tally = _Tally(modalities)

    def add(self, row: LogRow, key: str, decision: Decision) -> None:
        """Append one row whose normalised query is `key`."""
        if key in self._seen:
            digest, served = self._seen[key]
        else:
            digest, served = query_digest(key), decision
            self._seen[key] = digest, _repeated(decision)
        row_id = f"{self._log_id}.{row.byte_offset}"
        self._identity.update(_identity_line(row_id, digest))
        self._lines.append(result_line(row, row_id, served, self._modalities))
        self._tally.count(served)

    def reject(self) -> None:
        """Count one rejected row."""
        self._rejected += 1

    def body(self) -> bytes:
        """Return the part's bytes."""
        return b"".join(self._lines)

    def marker(self, split: int) -> PartMarker:
        """Return the ledger's marker of the part."""
        return PartMarker(
            log_id=self._log_id,
            split=split,
            rows=len(self._lines),
            identity=self._identity.hexdigest(),
            size=sum(map(len, self._lines)),
            stats=self._tally.stats(
                self._rejected, len(self._seen), self._interrupted, self._local
            ),
        )


def rows_identity(log_id: str, rows: Iterable[LogRow]) -> str:
    """Return what a part's identity must be that holds these rows."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_identity_line(f"{log_id}.{row.byte_offset}", query_digest(row.query)))
    return digest.hexdigest()


def _identity_line(row_id: str, digest: str) -> bytes:
    return f"{row_id} {digest}\n".encode()


def result_line(row: LogRow, row_id: str, decision: Decision, modalities: Modalities) -> bytes:
    """Render one result row: the values of the input's columns, then ours.

    A JSON number comes out as the shortest text of the same double, `1.50` as `1.5`.
    """
    reserved = _reserved(modalities)
    result: dict[str, object] = {}
    for name, value in row.columns.items():
        if name == "query" and value == row.query:
            continue
        result[_free_name(name, reserved, result, row.columns)] = value
    result["row_id"] = row_id
    result["query"] = row.query
    result.update(zip(modalities, decision.weights, strict=True))
    result["dominant"] = dominant(decision.weights, modalities)
    result["tier"] = decision.tier.value
    result["status"] = decision.status.value
    result["model"] = decision.model
    result["latency_ms"] = decision.latency_ms
    result["input_tokens"] = decision.input_tokens
    result["output_tokens"] = decision.output_tokens
    result["cost_usd"] = round(decision.cost_usd, 10)
    result["byte_offset"] = row.byte_offset
    return _ENCODER.encode(result).encode("utf-8") + b"\n"


def latency_bucket(milliseconds: int) -> int:
    """Return the bucket of a latency."""
    return round(math.log(max(1, milliseconds), _LATENCY_BASE))


def bucket_latency(bucket: int) -> float:
    """Return the latency that a bucket stands for, in milliseconds."""
    return round(_LATENCY_BASE**bucket, 1)


def latency_summary(buckets: Mapping[int, int]) -> dict[str, float]:
    """Estimate mean, p50, p95 and p99 in milliseconds from buckets; empty without calls."""
    total = sum(buckets.values())
    if not total:
        return {}
    mean = math.fsum(bucket_latency(b) * n for b, n in buckets.items()) / total
    ordered = sorted(buckets.items())
    return {
        "mean": round(mean, 1),
        "p50": bucket_latency(_bucket_at(ordered, 0.50 * total)),
        "p95": bucket_latency(_bucket_at(ordered, 0.95 * total)),
        "p99": bucket_latency(_bucket_at(ordered, 0.99 * total)),
    }


def latency_sample(buckets: Mapping[int, int], size: int) -> list[float]:
    """Return at most `size` latencies, in milliseconds, spread evenly over the ranks of all calls.

    Percentiles of the sample are those of the histogram, as far as so few values can show them.
    """
    total = sum(buckets.values())
    ordered = sorted(buckets.items())
    count = min(size, total)
    ranks = ((place + 0.5) * total / count for place in range(count))
    return [bucket_latency(_bucket_at(ordered, rank)) for rank in ranks]


def total_stats(parts: Iterable[PartStats]) -> PartStats:
    """Add up the statistics of all parts."""
    total = PartStats()
    for part in parts:
        total = total + part
    return total


class _Tally:
    def __init__(self, modalities: Modalities) -> None:
        self._tiers: Counter[str] = Counter()
        self._statuses: Counter[Status] = Counter()
        self._latency: Counter[int] = Counter()
        self._weights = {name: [0] * BINS for name in modalities}
        self._calls = self._input_tokens = self._output_tokens = 0
        self._cost = 0.0

    def count(self, decision: Decision) -> None:
        self._tiers[decision.tier.value] += 1
        self._statuses[decision.status] += 1
        for bins, weight in zip(self._weights.values(), decision.weights, strict=True):
            bins[weight_bin(weight)] += 1
        if decision.latency_ms:
            self._calls += 1
            self._latency[latency_bucket(decision.latency_ms)] += 1
            self._input_tokens += decision.input_tokens
            self._output_tokens += decision.output_tokens
            self._cost += decision.cost_usd

    def stats(
        self, rejected: int, distinct: int, interrupted: int, local: LocalTierStats
    ) -> PartStats:
        fallback = self._statuses[Status.FALLBACK]
        repaired = self._statuses[Status.REPAIRED]
        rows = sum(self._statuses.values())
        return PartStats(
            rows_in=rows + rejected,
            routed=rows - fallback,
            fallback=fallback,
            rejected=rejected,
            repaired=repaired,
            distinct=distinct,
            model_calls=self._calls,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            cost_usd=round(self._cost, 10),
            interrupted=interrupted,
            local_asked=local.asked,
            local_us=local.microseconds,
            local_abstained=len(local.abstained),
            compared=local.compared,
            agreeing=local.agreeing,
            difference=round(local.difference, 6),
            tiers=dict(self._tiers),
            latency=dict(self._latency),
            weights=self._weights,
        )


@lru_cache(maxsize=1)
def _reserved(modalities: Modalities) -> frozenset[str]:
    return frozenset((*OWN_COLUMNS, *modalities))


def _free_name(
    name: str, reserved: frozenset[str], result: Mapping[str, object], columns: Mapping[str, object]
) -> str:
    """Prefix a name that clashes until it is nobody's."""
    free = name
    while free in reserved or free in result or (free != name and free in columns):
        free = f"input_{free}"
    return free


def _repeated(decision: Decision) -> Decision:
    tier = Tier.FALLBACK if decision.status is Status.FALLBACK else Tier.CACHE
    return Decision(decision.weights, tier, decision.status, decision.model)


def _add_bins(
    left: Mapping[str, list[int]], right: Mapping[str, list[int]]
) -> dict[str, list[int]]:
    names = [*left, *(name for name in right if name not in left)]
    empty = [0] * BINS
    return {
        name: [a + b for a, b in zip(left.get(name, empty), right.get(name, empty), strict=True)]
        for name in names
    }


def _bucket_at(ordered: list[tuple[int, int]], rank: float) -> int:
    seen = 0
    for bucket, count in ordered:
        seen += count
        if seen >= rank:
            return bucket
    return ordered[-1][0]

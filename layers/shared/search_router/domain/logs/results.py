"""The results of a routed split: its rows, and statistics that can be added up.

    rows_in = routed + fallback + rejected

A distinct query costs one model call. Its first row carries the tier, tokens and dollars of that
call; its repetitions in the split have the tier `cache` and cost nothing. An answer that an earlier
attempt at the split paid for counts as this split's call. So the rows' costs add up to the bill.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

from search_router.domain.logs.rows import LogRow
from search_router.domain.queries import query_digest
from search_router.domain.serving.decisions import Decision, Status, Tier
from search_router.domain.serving.local_tier import LocalTierStats
from search_router.domain.splits.ledger import SplitCounts, SplitMarker, packed, unpacked
from search_router.domain.weights import BINS, Modalities, dominant, weight_bin

_LATENCY_BASE = 1.1  # buckets of 10 %, so a percentile is off by at most 5 %
_ENCODER = json.JSONEncoder(ensure_ascii=False)  # `json.dumps` would create one for every row


@lru_cache(maxsize=4)
def result_columns(modalities: Modalities) -> Mapping[str, type]:
    """Return the columns that end every result row, in order, with their types."""
    return {
        "row_id": str,
        "query": str,
        **dict.fromkeys(modalities, float),
        "dominant": str,
        "tier": str,
        "status": str,
        "model": str,
        "latency_ms": int,
        "input_tokens": int,
        "output_tokens": int,
        "cost_usd": float,
        "byte_offset": int,
    }


OWN_COLUMNS = tuple(result_columns(()))


class PartStats(SplitCounts):
    """Counts and histograms of one part; those of a log are the sum over its parts.

    `latency` counts model calls by bucket n, around 1.1 ** n milliseconds. `weights` counts rows
    per modality and bin, `weight_sums` adds the weights up; `latency_sum` adds up milliseconds.
    `origins` counts rows by the tier that made the answer, also for repeats and cached answers.
    `interrupted` counts the deliveries of the split that ended without a part. `local_asked`,
    `local_abstained` and `compared` count distinct queries of the local tier, `local_us` its
    microseconds; see LocalTierStats for `agreeing` and `difference`.
    """

    routed: int = 0
    fallback: int = 0
    repaired: int = 0
    distinct: int = 0
    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    latency_sum: int = 0
    local_asked: int = 0
    local_us: int = 0
    local_abstained: int = 0
    compared: int = 0
    agreeing: int = 0
    difference: float = 0.0
    tiers: dict[str, int] = Field(default_factory=dict)
    origins: dict[str, int] = Field(default_factory=dict)
    latency: dict[int, int] = Field(default_factory=dict)
    weights: dict[str, list[int]] = Field(default_factory=dict)
    weight_sums: dict[str, float] = Field(default_factory=dict)

    @property
    def add_up(self) -> bool:
        """Whether every row is routed, answered by the prior, or rejected."""
        return self.rows_in == self.routed + self.fallback + self.rejected

    @property
    def answered(self) -> int:
        """Rows that carry weights, including the prior's."""
        return self.routed + self.fallback

    @property
    def weight_means(self) -> dict[str, float]:
        """The mean weight per modality; empty if no row carries weights."""
        if not self.answered:
            return {}
        return {name: round(total / self.answered, 4) for name, total in self.weight_sums.items()}

    def latency_sample(self, size: int) -> list[float]:
        """Return at most `size` latencies in milliseconds, evenly spread over the calls' ranks."""
        return latency_sample(self.latency, size)

    def __add__(self, other: "PartStats") -> "PartStats":
        return PartStats(
            **self.sums(other),
            tiers=dict(Counter(self.tiers) + Counter(other.tiers)),
            origins=dict(Counter(self.origins) + Counter(other.origins)),
            latency=dict(Counter(self.latency) + Counter(other.latency)),
            weights=_add_bins(self.weights, other.weights),
            weight_sums={
                name: round(self.weight_sums.get(name, 0.0) + other.weight_sums.get(name, 0.0), 6)
                for name in {**self.weight_sums, **other.weight_sums}
            },
        )


class PartMarker(SplitMarker):
    """The ledger's entry for one part; `identity` is a hash of its row ids and queries.

    In JSON the statistics are packed into at most 1 KB.
    """

    log_id: str
    stats: Annotated[
        PartStats,
        BeforeValidator(
            lambda value: unpacked(PartStats, value) if isinstance(value, str) else value
        ),
        PlainSerializer(packed, when_used="json"),
    ]

    @property
    def upload(self) -> str:
        """The id of the log."""
        return self.log_id


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
        # By query: digest, the repetitions' decision, and the tier that made the answer.
        self._seen: dict[str, tuple[str, Decision, Tier]] = {}
        self._rejected = 0
        self._tally = _Tally(modalities)

    def add(self, row: LogRow, key: str, decision: Decision) -> None:
        """Append one row whose normalised query is `key`."""
        if key in self._seen:
            digest, served, origin = self._seen[key]
        else:
            digest, served, origin = query_digest(key), decision, _origin(decision)
            self._seen[key] = digest, _repeated(decision), origin
        row_id = f"{self._log_id}.{row.byte_offset}"
        self._identity.update(_identity_line(row_id, digest))
        self._lines.append(result_line(row, row_id, served, self._modalities))
        self._tally.count(served, origin)

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
    """Return the identity of a part that holds these rows."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_identity_line(f"{log_id}.{row.byte_offset}", query_digest(row.query)))
    return digest.hexdigest()


def _identity_line(row_id: str, digest: str) -> bytes:
    return f"{row_id} {digest}\n".encode()


def result_line(row: LogRow, row_id: str, decision: Decision, modalities: Modalities) -> bytes:
    """Render one result row: the input's columns, then `result_columns`.

    A JSON number is written as the shortest text of the same double, `1.50` as `1.5`.
    """
    own = result_columns(modalities)
    result: dict[str, object] = {}
    for name, value in row.columns.items():
        if name == "query" and value == row.query:
            continue
        taken = name in own or name in result
        result[_free_name(name, own, result, row.columns) if taken else name] = value
    values = (
        row_id,
        row.query,
        *decision.weights,
        dominant(decision.weights, modalities),
        decision.tier,
        decision.status,
        decision.model,
        decision.latency_ms,
        decision.input_tokens,
        decision.output_tokens,
        round(decision.cost_usd, 10),
        row.byte_offset,
    )
    result.update(zip(own, values, strict=True))
    return _ENCODER.encode(result).encode("utf-8") + b"\n"


def latency_bucket(milliseconds: int) -> int:
    """Return the bucket of a latency."""
    return round(math.log(max(1, milliseconds), _LATENCY_BASE))


def bucket_latency(bucket: int) -> float:
    """Return the latency of a bucket in milliseconds."""
    return round(_LATENCY_BASE**bucket, 1)


def latency_summary(buckets: Mapping[int, int], milliseconds: int) -> dict[str, float]:
    """Return the mean of all calls and p50, p95 and p99, to 5 %, from buckets; empty without calls.

    `milliseconds` is the sum over all calls.
    """
    total = sum(buckets.values())
    if not total:
        return {}
    ordered = sorted(buckets.items())
    return {
        "mean": round(milliseconds / total, 1),
        "p50": bucket_latency(_bucket_at(ordered, 0.50 * total)),
        "p95": bucket_latency(_bucket_at(ordered, 0.95 * total)),
        "p99": bucket_latency(_bucket_at(ordered, 0.99 * total)),
    }


def latency_sample(buckets: Mapping[int, int], size: int) -> list[float]:
    """Return at most `size` latencies in milliseconds, evenly spread over the calls' ranks."""
    total = sum(buckets.values())
    ordered = sorted(buckets.items())
    count = min(size, total)
    ranks = ((index + 0.5) * total / count for index in range(count))
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
        self._origins: Counter[str] = Counter()
        self._statuses: Counter[Status] = Counter()
        self._latency: Counter[int] = Counter()
        self._weights = {name: [0] * BINS for name in modalities}
        self._sums = [0.0] * len(modalities)
        self._calls = self._milliseconds = self._input_tokens = self._output_tokens = 0
        self._cost = 0.0

    def count(self, decision: Decision, origin: Tier) -> None:
        self._origins[origin.value] += 1
        self._tiers[decision.tier.value] += 1
        self._statuses[decision.status] += 1
        bins = self._weights.values()
        for index, (counts, weight) in enumerate(zip(bins, decision.weights, strict=True)):
            counts[weight_bin(weight)] += 1
            self._sums[index] += weight
        if decision.latency_ms:
            self._calls += 1
            self._milliseconds += decision.latency_ms
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
            latency_sum=self._milliseconds,
            interrupted=interrupted,
            local_asked=local.asked,
            local_us=local.microseconds,
            local_abstained=len(local.abstained),
            compared=local.compared,
            agreeing=local.agreeing,
            difference=round(local.difference, 6),
            tiers=dict(self._tiers),
            origins=dict(self._origins),
            latency=dict(self._latency),
            weights=self._weights,
            weight_sums={
                name: round(total, 6) for name, total in zip(self._weights, self._sums, strict=True)
            },
        )


def _free_name(
    name: str, own: Mapping[str, type], result: Mapping[str, object], columns: Mapping[str, object]
) -> str:
    """Prefix a clashing name until it is unique."""
    free = name
    while free in own or free in result or (free != name and free in columns):
        free = f"input_{free}"
    return free


def _repeated(decision: Decision) -> Decision:
    tier = Tier.FALLBACK if decision.status is Status.FALLBACK else Tier.CACHE
    return Decision(decision.weights, tier, decision.status, decision.model)


def _origin(decision: Decision) -> Tier:
    """Return the tier that made an answer; the cache holds those of the distilled model."""
    return Tier.DISTILLED if decision.tier is Tier.CACHE else decision.tier


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

"""The summary of a routed log, `summary.json`."""

from search_router.domain.logs.drift import Drift, weight_drift, without_prior
from search_router.domain.logs.query_logs import QueryLog
from search_router.domain.logs.results import PartStats, latency_summary
from search_router.domain.serving.champions import Champion
from search_router.domain.serving.decisions import Tier
from search_router.domain.serving.visit_order import MAX_STEP

_MILLION = 1_000_000
_LOCAL = ("local_asked", "local_us", "local_abstained", "compared", "agreeing", "difference")
NOT_COUNTED = (
    "calls of interrupted attempts whose answers were invalid or not yet cached "
    f"(at most {MAX_STEP} and those in flight per attempt); cached answers are counted"
)


def summarise(log: QueryLog, champion: Champion | None, total: PartStats) -> dict[str, object]:
    """Return the summary; distinct queries are counted per split."""
    counts = total.model_dump(exclude={"latency", "weights", "distinct", *_LOCAL})
    drift = _drift(champion, total)
    return {
        "log_id": log.log_id,
        "source": f"s3://{log.source_bucket}/{log.source_key}",
        "warnings": log.warnings,
        "champion_version": log.champion_version,
        "parts": log.splits,
        **counts,
        "distinct_per_split": total.distinct,
        "fallback_share": round(total.fallback / total.answered, 6) if total.answered else 0.0,
        "cost_usd_per_million_rows": _per_million(total.cost_usd, total.answered),
        "cost_not_counted": NOT_COUNTED,
        "local_tier": _local_tier(total),
        "latency_ms": latency_summary(total.latency),
        "weight_histograms": total.weights,
        "weight_means": total.weight_means,
        "drift": drift.model_dump() if drift else None,
    }


def _drift(champion: Champion | None, total: PartStats) -> Drift | None:
    """Compare with the champion's training labels; None if it has none."""
    if champion is None:
        return None
    serving = champion.serving
    answers = without_prior(total.weights, serving.prior, serving.modalities, total.fallback)
    return weight_drift(answers, serving.training_histograms, total.distinct)


def _local_tier(total: PartStats) -> dict[str, float | int] | None:
    """Return the local tier's counts of distinct queries per split; None if it was off.

    `agreement` is the share of compared queries with the same dominant modality in both tiers.
    """
    if not total.local_asked:
        return None
    compared = max(1, total.compared)
    return {
        "asked": total.local_asked,
        "served": total.tiers.get(Tier.LOCAL.value, 0),
        "abstained": total.local_abstained,
        "mean_us": round(total.local_us / total.local_asked, 1),
        "compared": total.compared,
        "agreement": round(total.agreeing / compared, 4),
        "mean_difference": round(total.difference / compared, 4),
    }


def _per_million(cost_usd: float, rows: int) -> float:
    return round(cost_usd / rows * _MILLION, 6) if rows else 0.0

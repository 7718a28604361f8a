"""The summary of a routed log, `summary.json`."""

from search_router.domain.logs.drift import Drift, weight_drift, without_prior
from search_router.domain.logs.query_logs import QueryLog
from search_router.domain.logs.results import PartStats, latency_summary
from search_router.domain.prices import is_priced
from search_router.domain.serving.champions import Champion
from search_router.domain.serving.decisions import Tier
from search_router.domain.serving.visit_order import MAX_STEP

_MILLION = 1_000_000
_ORIGINS = (Tier.LOCAL, Tier.DISTILLED, Tier.FALLBACK)
_INTERNAL = ("latency", "latency_sum", "weights", "weight_sums", "distinct", "origins")
_LOCAL = ("local_asked", "local_us", "local_abstained", "compared", "agreeing", "difference")
NOT_COUNTED = (
    "calls of interrupted attempts whose answers were invalid or not yet cached "
    f"(at most {MAX_STEP} and those in flight per attempt); cached answers are counted"
)


def summarise(log: QueryLog, champion: Champion | None, total: PartStats) -> dict[str, object]:
    """Return the summary; distinct queries and their repeats are counted per split.

    `answered_by` counts rows by the tier that made the answer, `tiers` by the tier that served it:
    a repeat of a local answer is `local` in the first and `cache` in the second.

    A figure that the log gives no data for is None, as is the cost of a model without a price.
    """
    counts = total.model_dump(exclude={*_INTERNAL, *_LOCAL})
    drift = _drift(champion, total)
    is_known = champion is not None and is_priced(champion.serving.priced_as)
    cost = total.cost_usd if is_known or not total.model_calls else None
    return {
        "answered_by": {tier.value: total.origins.get(tier.value, 0) for tier in _ORIGINS},
        "local_share": _share(total.origins.get(Tier.LOCAL.value, 0), total.answered, 6),
        "repeats": total.answered - total.distinct,
        "log_id": log.log_id,
        "source": f"s3://{log.source_bucket}/{log.source_key}",
        "warnings": log.warnings,
        "champion_version": log.champion_version,
        "parts": log.splits,
        **counts,
        "cost_usd": cost,
        "distinct_per_split": total.distinct,
        "fallback_share": _share(total.fallback, total.answered, 6),
        "cost_usd_per_million_rows": (
            round(cost / total.answered * _MILLION, 6)
            if cost is not None and total.answered
            else None
        ),
        "cost_not_counted": NOT_COUNTED,
        "local_tier": _local_tier(total),
        "latency_ms": latency_summary(total.latency, total.latency_sum),
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
    shifts = {
        name: (total.weight_sums.get(name, 0.0) - total.fallback * label) / total.routed - label
        for name, label in zip(serving.modalities, serving.prior, strict=True)
        if total.routed
    }
    return weight_drift(answers, serving.training_histograms, shifts, total.distinct)


def _local_tier(total: PartStats) -> dict[str, float | int | None] | None:
    """Return the local tier's counts of distinct queries per split; None if it was off.

    `agreement` is the share of compared queries with the same dominant modality in both tiers.
    """
    if not total.local_asked:
        return None
    return {
        "asked": total.local_asked,
        "served": total.tiers.get(Tier.LOCAL.value, 0),
        "abstained": total.local_abstained,
        "answerable_share": _share(total.local_asked - total.local_abstained, total.local_asked, 6),
        "mean_us": round(total.local_us / total.local_asked, 1),
        "compared": total.compared,
        "agreement": _share(total.agreeing, total.compared, 4),
        "mean_difference": _share(total.difference, total.compared, 4),
    }


def _share(part: float, whole: int, places: int) -> float | None:
    return round(part / whole, places) if whole else None

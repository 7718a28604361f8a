"""Words and number formats of the figures that people see; JSON keeps the machine names."""

from collections.abc import Mapping

_FIGURES = {
    # rows of a prompt dataset
    "rows_in": ("rows read", "{:,}"),
    "duplicates": ("duplicates removed", "{:,}"),
    "exact_duplicates": ("duplicates with the same spelling", "{:,}"),
    "sampled_out": ("left out by sampling", "{:,}"),
    "training": ("training rows", "{:,}"),
    "holdout": ("holdout rows", "{:,}"),
    "conflicts": ("queries with different labels", "{:,}"),
    # scores
    "n": ("queries", "{:,}"),
    "mae": ("mean absolute error per weight", "{:.4f}"),
    "dominant_agreement": ("same dominant modality", "{:.1%}"),
    "within_005": ("all weights within 0.05", "{:.1%}"),
    "within_010": ("all weights within 0.10", "{:.1%}"),
    "rubric": ("rubric, 1 to 5", "{:.2f}"),
    "invalid": ("invalid answers", "{:,}"),
    "invalid_share": ("invalid answers, share", "{:.1%}"),
    "judge": ("LLM judge, 1 to 5", "{:.2f}"),
    "repeated_queries": ("queries labelled more than once", "{:,}"),
    "pairs": ("pairs of labels", "{:,}"),
    "contradictory": ("queries whose labels have no common leader", "{:,}"),
    "identical": ("identical pairs", "{:.1%}"),
    "latency_mean": ("latency, mean", "{:,.0f} ms"),
    "latency_p50": ("latency, median", "{:,.0f} ms"),
    "latency_p95": ("latency, 95th percentile", "{:,.0f} ms"),
    "cost_usd_per_million": ("cost per million queries", "${:,.2f}"),
    # the local tier
    "answered": ("queries that the gate lets through", "{:.1%}"),
    "answered_mae": ("mean absolute error of these", "{:.4f}"),
    "max_error": ("error bound of the gate", "{:.4f}"),
    "confidence": ("confidence of the bound", "{:.0%}"),
    "calibrated_coverage": ("let through in calibration", "{:.1%}"),
    "calibrated_mae": ("mean absolute error in calibration", "{:.4f}"),
    "closed_because": ("gate closed because", "{}"),
    "microseconds": ("time per query", "{:,.0f} µs"),
    "mean_us": ("mean time", "{:,.0f} µs"),
    "agreement": ("same dominant modality", "{:.1%}"),
    "mean_difference": ("mean absolute difference", "{:.4f}"),
    # costs
    "training_usd": ("training", "${:,.4f}"),
    "teacher_usd": ("teacher answers", "${:,.4f}"),
    "storage_usd_per_month": ("storage of the model, a month", "${:,.2f}"),
    "serving_usd_per_million_with_reasoning": ("a million queries, with reasoning", "${:,.2f}"),
    "serving_usd_per_million_without_reasoning": (
        "a million queries, without reasoning",
        "${:,.2f}",
    ),
    "reference_usd": ("teacher labels for the holdout", "${:,.4f}"),
    "evaluation_usd": ("evaluation", "${:,.4f}"),
    "job_at_most_usd": ("the job at most, which the budget books", "${:,.2f}"),
    "evaluation_at_most_usd": ("the evaluation at most", "${:,.2f}"),
    "cost_usd": ("cost", "${:,.4f}"),
    "once_usd": ("total, once", "${:,.4f}"),
    "monthly_usd": ("total, a month", "${:,.4f}"),
    "estimated_cost_usd": ("estimated cost of the answers that were missing", "${:,.4f}"),
    "total_cost_usd": ("cost of all answers, also of earlier runs", "${:,.4f}"),
    "cost_usd_per_million_rows": ("cost per million rows", "${:,.2f}"),
    "cost_usd_per_million_calls": ("cost per million calls", "${:,.2f}"),
    "cost_not_counted": ("not in the cost", "{}"),
    # a routed log
    "log_id": ("log", "{}"),
    "answered_by": ("rows by the tier that answered", "{}"),
    "local_share": ("share of rows with an answer of the local tier", "{:.1%}"),
    "repeats": ("rows that repeat a query of their split", "{:,}"),
    "tiers": ("rows by tier, repeats as cache", "{}"),
    "answerable_share": ("queries that its gate lets through", "{:.1%}"),
    "fallback": ("rows with the prior", "{:,}"),
    "repaired": ("rows with a repaired answer", "{:,}"),
    "interrupted": ("interrupted attempts", "{:,}"),
    "distinct": ("distinct queries", "{:,}"),
    "distinct_per_split": ("distinct queries, summed over splits", "{:,}"),
    "fallback_share": ("share of rows with the prior", "{:.1%}"),
    "latency_ms": ("latency, ms (percentiles within 5 %)", "{}"),
    "weight_means": ("mean weights", "{}"),
    "mean": ("mean", "{:,.1f}"),
    "p50": ("median", "{:,.4g}"),
    "p95": ("95th percentile", "{:,.4g}"),
    "p99": ("99th percentile", "{:,.4g}"),
    # an upload of segments
    "superseded": ("superseded by a later row", "{:,}"),
    "embeddings": ("texts embedded", "{:,}"),
    # a comparison
    "unanswered": ("not compared: one model gave no usable answer", "{:,}"),
    "dominant_changed": ("queries with another dominant modality", "{:,}"),
    "dominant_changed_share": ("share of queries with another one", "{:.1%}"),
    "dominant_changed_share_of_rows": ("share of rows with another one", "{:.1%}"),
    "dominant_changes": ("changes of the dominant modality", "{}"),
    "moved_by": ("a query moved if a weight changed by", "{:g}"),
    "moved": ("queries moved", "{:,}"),
    "moved_share_of_rows": ("share of rows moved", "{:.1%}"),
    "mean_absolute_change": ("mean absolute change per weight", "{:.4f}"),
    "largest_change": ("largest change of a query", "{}"),
}


def label(name: str) -> str:
    """Return what a figure is called in tables and reports."""
    return _FIGURES.get(name, (name.replace("_", " "), ""))[0]


def figure(name: str, value: object) -> str:
    """Return a figure as text: with its unit, rounded, shares as percentages, None as unknown."""
    if value is None and name in _FIGURES:
        return "unknown"
    if value is None or value == "":
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{label(key)} {figure(key, item)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    form = "{:,.4g}" if isinstance(value, float) else "{:,}" if isinstance(value, int) else "{}"
    return _FIGURES.get(name, ("", form))[1].format(value)


def labelled(figures: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the rows of a table of two columns: what a figure is called, and its value."""
    return [(label(name), figure(name, value)) for name, value in figures.items()]

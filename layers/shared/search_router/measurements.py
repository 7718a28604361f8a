"""All metrics, and how results become measurements.

A test compares `Metric` with the alarms and the dashboard in template.yaml. Every metric has the
dimension `service`, which includes the stage, and at most one more. CloudWatch charges per
combination of dimensions, so an id is never one. No measurement contains user text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

from search_router.domain.errors import ModelUnusableError
from search_router.domain.serving.decisions import Decision, Status

if TYPE_CHECKING:  # building these models would slow down cold starts
    from search_router.domain.lifecycle.runs import Run
    from search_router.domain.lifecycle.tracking import Tracking
    from search_router.domain.logs.results import PartStats
    from search_router.domain.search.replies import SearchReply
    from search_router.domain.search.segment_uploads import SegmentCounts
    from search_router.domain.serving.local_tier import LocalTierStats

LATENCY_VALUES = 50  # per split; EMF allows 100 values of a metric per line


class Unit(StrEnum):
    """CloudWatch's units; there is none for dollars."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    MICROSECONDS = "Microseconds"
    PERCENT = "Percent"
    NONE = "None"


class Metric(Enum):
    """Name, unit, and the dimension besides `service`, if any."""

    PROMPT_ROWS_IN = ("PromptRowsIn", Unit.COUNT)
    PROMPTS_ACCEPTED = ("PromptsAccepted", Unit.COUNT)
    PROMPTS_REJECTED = ("PromptsRejected", Unit.COUNT)

    ROWS_IN = ("RowsIn", Unit.COUNT)
    ROWS_ROUTED = ("RowsRouted", Unit.COUNT)
    ROWS_FALLBACK = ("RowsFallback", Unit.COUNT)
    ROWS_REJECTED = ("RowsRejected", Unit.COUNT)
    ROWS_REPAIRED = ("RowsRepaired", Unit.COUNT)
    ROWS_BY_TIER = ("RowsByTier", Unit.COUNT, "Tier")
    WEIGHT_MEAN = ("WeightMean", Unit.NONE, "Modality")
    BATCH_FALLBACK_SHARE = ("BatchFallbackShare", Unit.PERCENT)
    SPLITS_FAILED = ("SplitsFailed", Unit.COUNT)
    MODEL_UNUSABLE = ("ModelUnusable", Unit.COUNT)

    QUERIES_BY_TIER = ("QueriesByTier", Unit.COUNT, "Tier")
    QUERIES_UNANSWERED = ("QueriesUnanswered", Unit.COUNT)
    API_FALLBACK_SHARE = ("ApiFallbackShare", Unit.PERCENT)

    SEARCHES = ("Searches", Unit.COUNT)
    SEARCHES_FAILED = ("SearchesFailed", Unit.COUNT)
    SEARCHES_DEGRADED = ("SearchesDegraded", Unit.COUNT)
    SEARCH_WEIGHTS_LATE = ("SearchWeightsLate", Unit.COUNT)
    SEARCH_LATENCY = ("SearchLatency", Unit.MILLISECONDS)

    LOCAL_ASKED = ("LocalAsked", Unit.COUNT)
    LOCAL_ABSTAINED = ("LocalAbstained", Unit.COUNT)
    LOCAL_LATENCY = ("LocalLatency", Unit.MICROSECONDS)
    LOCAL_COMPARED = ("LocalCompared", Unit.COUNT)
    LOCAL_AGREEMENT = ("LocalAgreement", Unit.PERCENT)
    LOCAL_MODEL_ERRORS = ("LocalModelErrors", Unit.COUNT)

    MODEL_CALLS = ("ModelCalls", Unit.COUNT)
    MODEL_LATENCY = ("ModelLatency", Unit.MILLISECONDS)
    MODEL_THROTTLES = ("ModelThrottles", Unit.COUNT)
    INPUT_TOKENS = ("InputTokens", Unit.COUNT)
    OUTPUT_TOKENS = ("OutputTokens", Unit.COUNT)
    COST_USD = ("CostUsd", Unit.NONE)

    RUNS_BY_STATE = ("RunsByState", Unit.COUNT, "State")
    RUNS_FAILED = ("RunsFailed", Unit.COUNT)
    LOGS_BY_STATE = ("LogsByState", Unit.COUNT, "State")
    LOGS_FAILED = ("LogsFailed", Unit.COUNT)
    LOGS_STUCK = ("LogsStuck", Unit.COUNT)
    SEGMENT_ROWS_IN = ("SegmentRowsIn", Unit.COUNT)
    SEGMENTS_BY_OUTCOME = ("SegmentsByOutcome", Unit.COUNT, "Outcome")
    EMBEDDINGS = ("Embeddings", Unit.COUNT)
    SEGMENT_SPLITS_FAILED = ("SegmentSplitsFailed", Unit.COUNT)
    SEGMENT_UPLOADS_FAILED = ("SegmentUploadsFailed", Unit.COUNT)
    SEGMENT_UPLOADS_STUCK = ("SegmentUploadsStuck", Unit.COUNT)
    UPLOADS_MISSED = ("UploadsMissed", Unit.COUNT)
    TRACKING_ERRORS = ("TrackingErrors", Unit.COUNT)

    def __init__(self, label: str, unit: Unit, dimension: str | None = None) -> None:
        self.label = label
        self.unit = unit
        self.dimension = dimension


class Measurement(NamedTuple):
    """One value of a metric; `dimension` is the value of the metric's own dimension."""

    metric: Metric
    value: float
    dimension: str = ""


def intake_metrics(run: Run) -> Iterator[Measurement]:
    """Measure the rows of a prompt file."""
    yield Measurement(Metric.PROMPT_ROWS_IN, run.counts.rows_in)
    yield Measurement(Metric.PROMPTS_ACCEPTED, run.counts.accepted)
    yield Measurement(Metric.PROMPTS_REJECTED, run.counts.rejected)


def split_metrics(stats: PartStats) -> Iterator[Measurement]:
    """Measure one routed split."""
    yield Measurement(Metric.ROWS_IN, stats.rows_in)
    yield Measurement(Metric.ROWS_ROUTED, stats.routed)
    yield Measurement(Metric.ROWS_FALLBACK, stats.fallback)
    yield Measurement(Metric.ROWS_REJECTED, stats.rejected)
    yield Measurement(Metric.ROWS_REPAIRED, stats.repaired)
    yield from _by(Metric.ROWS_BY_TIER, stats.tiers)
    yield from _by(Metric.WEIGHT_MEAN, stats.weight_means)
    if stats.answered:
        yield Measurement(Metric.BATCH_FALLBACK_SHARE, 100 * stats.fallback / stats.answered)
    yield from local_tier_metrics(
        stats.local_asked, stats.local_abstained, stats.local_us, stats.compared, stats.agreeing
    )
    yield Measurement(Metric.MODEL_CALLS, stats.model_calls)
    yield Measurement(Metric.INPUT_TOKENS, stats.input_tokens)
    yield Measurement(Metric.OUTPUT_TOKENS, stats.output_tokens)
    yield Measurement(Metric.COST_USD, stats.cost_usd)
    for milliseconds in stats.latency_sample(LATENCY_VALUES):
        yield Measurement(Metric.MODEL_LATENCY, milliseconds)


def segment_metrics(counts: SegmentCounts) -> Iterator[Measurement]:
    """Measure one indexed split."""
    yield Measurement(Metric.SEGMENT_ROWS_IN, counts.rows_in)
    yield from _by(Metric.SEGMENTS_BY_OUTCOME, counts.by_outcome)
    yield Measurement(Metric.EMBEDDINGS, counts.embeddings)


def index_batch_metrics(errors: Sequence[object]) -> Iterator[Measurement]:
    """Measure the failures of an indexing worker's batch."""
    yield Measurement(Metric.SEGMENT_SPLITS_FAILED, len(errors))


def batch_metrics(errors: Sequence[object], throttles: int) -> Iterator[Measurement]:
    """Measure the failures of a worker's batch."""
    unusable = sum(isinstance(error, ModelUnusableError) for error in errors)
    yield Measurement(Metric.SPLITS_FAILED, len(errors))
    yield Measurement(Metric.MODEL_UNUSABLE, unusable)
    yield from throttles_metrics(throttles)


def throttles_metrics(throttles: int) -> Iterator[Measurement]:
    """Measure how often Bedrock throttled a call."""
    yield Measurement(Metric.MODEL_THROTTLES, throttles)


def answer_metrics(decision: Decision) -> Iterator[Measurement]:
    """Measure one query of the API."""
    is_fallback = decision.status is Status.FALLBACK
    yield Measurement(Metric.QUERIES_BY_TIER, 1, decision.tier.value)
    yield Measurement(Metric.API_FALLBACK_SHARE, 100 if is_fallback else 0)
    if decision.latency_ms:
        yield Measurement(Metric.MODEL_CALLS, 1)
        yield Measurement(Metric.MODEL_LATENCY, decision.latency_ms)
        yield Measurement(Metric.INPUT_TOKENS, decision.input_tokens)
        yield Measurement(Metric.OUTPUT_TOKENS, decision.output_tokens)
        yield Measurement(Metric.COST_USD, decision.cost_usd)


def local_tally_metrics(tally: LocalTierStats) -> Iterator[Measurement]:
    """Measure the local tier for one query of the API."""
    yield from local_tier_metrics(
        tally.asked, len(tally.abstained), tally.microseconds, tally.compared, tally.agreeing
    )


def local_model_errors_metrics(failures: int) -> Iterator[Measurement]:
    """Measure how often an artifact of the local tier could not be read."""
    yield Measurement(Metric.LOCAL_MODEL_ERRORS, failures)


def no_answer_metrics() -> Iterator[Measurement]:
    """Measure one unanswered query of the API."""
    yield Measurement(Metric.QUERIES_UNANSWERED, 1)


def tracking_metrics(tracking: Tracking) -> Iterator[Measurement]:
    """Measure one tick of track_runs; states without a run or log count zero."""
    yield from _by(Metric.RUNS_BY_STATE, tracking.runs_by_state)
    yield from _by(Metric.LOGS_BY_STATE, tracking.logs_by_state)
    yield Measurement(Metric.RUNS_FAILED, tracking.runs_failed)
    yield Measurement(Metric.LOGS_FAILED, tracking.logs_failed)
    yield Measurement(Metric.LOGS_STUCK, len(tracking.logs_stuck))
    yield Measurement(Metric.SEGMENT_UPLOADS_FAILED, tracking.segments_failed)
    yield Measurement(Metric.SEGMENT_UPLOADS_STUCK, len(tracking.segments_stuck))
    yield Measurement(Metric.UPLOADS_MISSED, tracking.uploads_missed)
    yield Measurement(Metric.TRACKING_ERRORS, len(tracking.errors))


def search_metrics(reply: SearchReply) -> Iterator[Measurement]:
    """Measure one search that returned hits, or none because nothing matched."""
    yield Measurement(Metric.SEARCHES, 1)
    yield Measurement(Metric.SEARCHES_FAILED, 0)
    yield Measurement(Metric.SEARCHES_DEGRADED, bool(reply["degraded"]))
    yield Measurement(Metric.SEARCH_WEIGHTS_LATE, reply["late"])
    yield Measurement(Metric.SEARCH_LATENCY, reply["timings"]["total_ms"])


def no_hits_metrics() -> Iterator[Measurement]:
    """Measure a search that failed."""
    yield Measurement(Metric.SEARCHES, 1)
    yield Measurement(Metric.SEARCHES_FAILED, 1)


def local_tier_metrics(
    asked: int, abstained: int, microseconds: int, compared: int, agreeing: int
) -> Iterator[Measurement]:
    """Measure the local tier, if it was asked."""
    if asked:
        yield Measurement(Metric.LOCAL_ASKED, asked)
        yield Measurement(Metric.LOCAL_ABSTAINED, abstained)
        yield Measurement(Metric.LOCAL_LATENCY, microseconds / asked)
    if compared:
        yield Measurement(Metric.LOCAL_COMPARED, compared)
        yield Measurement(Metric.LOCAL_AGREEMENT, 100 * agreeing / compared)


def _by(metric: Metric, values: dict[str, int] | dict[str, float]) -> Iterator[Measurement]:
    yield from (Measurement(metric, value, dimension) for dimension, value in values.items())

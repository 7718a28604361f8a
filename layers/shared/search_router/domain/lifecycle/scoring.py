"""Deterministic scores of a model against the holdout's labels.

An invalid answer is scored as the prior, which a user would get instead, and gets grade 1. A model
therefore cannot reduce its error by failing to answer.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, zip_longest
from typing import NamedTuple

from search_router.domain.grading import agrees, errors, grade, mean, within
from search_router.domain.intervals import Resampling, share_interval
from search_router.domain.lifecycle.evaluation import (
    CategoryScores,
    Comparison,
    Latency,
    Scores,
    SideBySide,
    SideBySideAnswer,
    SideBySideRow,
)
from search_router.domain.serving.decisions import Decision, Status
from search_router.domain.weights import Modalities, Weights, dominant

MILLION = 1_000_000
SIDE_BY_SIDE_ROWS = 12


class _Row(NamedTuple):
    """One answer and its label."""

    decision: Decision
    reference: Weights
    errors: Weights

    @property
    def mean(self) -> float:
        return mean(self.errors)

    @property
    def is_invalid(self) -> bool:
        return self.decision.status is Status.FALLBACK

    @property
    def agrees(self) -> bool:
        return agrees(self.decision.weights, self.reference)

    def within(self, bound: float) -> bool:
        return within(self.errors, bound)


def score(
    model: str,
    decisions: Sequence[Decision],
    references: Sequence[Weights],
    modalities: Modalities,
    resampling: Resampling,
) -> Scores:
    """Score decisions against references, row by row; neither may be empty."""
    rows = _rows(decisions, references)
    grades = [rubric(row.decision, row.reference) for row in rows]
    counts = {
        "dominant_agreement": sum(row.agrees for row in rows),
        "within_005": sum(row.within(0.05) for row in rows),
        "within_010": sum(row.within(0.10) for row in rows),
        "invalid_share": sum(row.is_invalid for row in rows),
    }
    shares = {name: count / len(rows) for name, count in counts.items()}
    cost = total_cost(decisions)
    return Scores(
        model=model,
        n=len(rows),
        mae=mean([row.mean for row in rows]),
        rubric=mean(grades),
        invalid=counts["invalid_share"],
        repaired=sum(decision.status is Status.REPAIRED for decision in decisions),
        latency_ms=latency([decision.latency_ms for decision in decisions]),
        input_tokens=sum(decision.input_tokens for decision in decisions),
        output_tokens=sum(decision.output_tokens for decision in decisions),
        cost_usd=cost,
        cost_usd_per_million=None if cost is None else cost / len(rows) * MILLION,
        **shares,
        intervals={
            "mae": resampling.interval([row.mean for row in rows]),
            "rubric": resampling.interval(grades),
            **{name: share_interval(count, len(rows)) for name, count in counts.items()},
        },
        mae_by_modality={
            name: mean([row.errors[index] for row in rows]) for index, name in enumerate(modalities)
        },
        by_category=_by_category(rows, modalities),
    )


def total_cost(decisions: Iterable[Decision]) -> float | None:
    """Return the cost of the calls in US dollars; None if the model has no known price."""
    costs = [(decision.cost_usd, decision.input_tokens) for decision in decisions]
    is_unknown = any(tokens and not cost for cost, tokens in costs)
    return None if is_unknown else math.fsum(cost for cost, _ in costs)


def compare(
    rival: str,
    answers: tuple[Sequence[Decision], Sequence[Decision]],
    references: Sequence[Weights],
    resampling: Resampling,
) -> Comparison:
    """Compare the candidate's answers, the first of the two, with its rival's, row by row."""
    candidate, other = (_rows(decisions, references) for decisions in answers)
    differences = [one.mean - two.mean for one, two in zip(candidate, other, strict=True)]
    return Comparison(
        rival=rival, difference=mean(differences), interval=resampling.interval(differences)
    )


def side_by_side(
    labels: Mapping[str, Weights],
    answers: tuple[Sequence[Decision], Sequence[Decision]],
    modalities: Modalities,
) -> SideBySide:
    """Return twelve queries with the answers of candidate and base student.

    Categories alternate. Within a category, queries keep the holdout's order, which is by hash.
    """
    groups: dict[str, list[SideBySideRow]] = {name: [] for name in modalities}
    for (query, reference), candidate, base in zip(labels.items(), *answers, strict=True):
        groups[dominant(reference, modalities)].append(
            SideBySideRow(
                query=query,
                reference=reference,
                candidate=_shown(candidate, reference),
                base=_shown(base, reference),
            )
        )
    turns = (row for turn in zip_longest(*groups.values()) for row in turn if row is not None)
    return SideBySide(modalities=modalities, rows=tuple(islice(turns, SIDE_BY_SIDE_ROWS)))


def rubric(decision: Decision, reference: Weights) -> int:
    """Grade one answer from 1 to 5; a fallback to the prior gets 1."""
    return 1 if decision.status is Status.FALLBACK else grade(decision.weights, reference)


def latency(milliseconds: Sequence[int]) -> Latency:
    """Return the mean and the nearest-rank percentiles of latencies."""
    ordered = sorted(milliseconds)
    return Latency(
        mean=mean(ordered),
        p50=float(percentile(ordered, 0.50)),
        p95=float(percentile(ordered, 0.95)),
    )


def percentile(ordered: Sequence[int], share: float) -> int:
    """Return the nearest-rank percentile of an ascending, non-empty sequence."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _by_category(rows: Sequence[_Row], modalities: Modalities) -> Mapping[str, CategoryScores]:
    """Score the rows by the dominant modality of their label."""
    groups: dict[str, list[_Row]] = {name: [] for name in modalities}
    for row in rows:
        groups[dominant(row.reference, modalities)].append(row)
    return {
        name: CategoryScores(
            n=len(group),
            mae=mean([row.mean for row in group]),
            dominant_agreement=mean([float(row.agrees) for row in group]),
            invalid=sum(row.is_invalid for row in group),
        )
        for name, group in groups.items()
        if group
    }


def _shown(decision: Decision, reference: Weights) -> SideBySideAnswer:
    return SideBySideAnswer(
        weights=decision.weights,
        status=decision.status.value,
        problem=decision.problem,
        grade=rubric(decision, reference),
    )


def _rows(decisions: Sequence[Decision], references: Sequence[Weights]) -> list[_Row]:
    return [
        _Row(decision, reference, errors(decision.weights, reference))
        for decision, reference in zip(decisions, references, strict=True)
    ]

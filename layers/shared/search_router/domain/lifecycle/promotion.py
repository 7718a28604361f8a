"""The promotion decision: whether a candidate replaces the champion.

The floors come first: at most 2 % invalid answers, and the right dominant modality in at least 60 %
of rows. Both bounds are our own choice.

Then the 95 % interval of the difference in error decides. The candidate may be worse than the
champion by less than the margin, and must be better than the base student if there is no champion.
An interval that includes the bound is inconclusive: the holdout is too small.
"""

from dataclasses import dataclass
from enum import StrEnum

from search_router.domain.lifecycle.evaluation import CHAMPION, Comparison, Evaluation

MIN_REFERENCES = 20
MAX_INVALID_SHARE = 0.02
MIN_DOMINANT_AGREEMENT = 0.60


class PromotionPolicy(StrEnum):
    """When an operator has to approve a promotion."""

    AUTOMATIC = "automatic"  # never; an inconclusive candidate is rejected
    ASK_IF_UNSURE = "ask-if-unsure"  # if the comparison is inconclusive
    ASK_ALWAYS = "ask-always"  # for every candidate that is not rejected


class Verdict(StrEnum):
    """The outcome of a promotion decision."""

    PROMOTE = "promote"
    REJECT = "reject"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class PromotionRules:
    """The policy, and by how much the mean absolute error may exceed the champion's."""

    policy: PromotionPolicy = PromotionPolicy.AUTOMATIC
    margin: float = 0.01


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """A verdict and its reason, which the run and the report show."""

    verdict: Verdict
    reason: str


def decide_promotion(evaluation: Evaluation, rules: PromotionRules) -> PromotionDecision:
    """Decide by the floors, then by the mean absolute error against the rival's."""
    if (below := _below_the_floors(evaluation)) is not None:
        return PromotionDecision(Verdict.REJECT, below)
    comparison = evaluation.comparison
    if comparison is None:
        return PromotionDecision(Verdict.REJECT, "no rival was measured")
    bound = rules.margin if comparison.rival == CHAMPION else 0.0
    reason = _compared(evaluation, comparison)
    if comparison.interval.low >= bound:
        return PromotionDecision(Verdict.REJECT, f"worse: {reason}")
    if comparison.interval.high < bound:
        asks = rules.policy is PromotionPolicy.ASK_ALWAYS
        return PromotionDecision(Verdict.ASK if asks else Verdict.PROMOTE, f"good enough: {reason}")
    rejects = rules.policy is PromotionPolicy.AUTOMATIC
    verdict = Verdict.REJECT if rejects else Verdict.ASK
    return PromotionDecision(verdict, f"inconclusive: {reason}; the bound is {bound:g}")


def _below_the_floors(evaluation: Evaluation) -> str | None:
    candidate = evaluation.candidate
    if candidate.n < MIN_REFERENCES:
        return f"only {candidate.n} labelled holdout rows, {MIN_REFERENCES} needed"
    if candidate.invalid > MAX_INVALID_SHARE * candidate.n:
        return f"{candidate.invalid} of {candidate.n} answers are invalid"
    if candidate.dominant_agreement < MIN_DOMINANT_AGREEMENT:
        return f"dominant modality correct in only {candidate.dominant_agreement:.1%} of rows"
    return None


def _compared(evaluation: Evaluation, comparison: Comparison) -> str:
    """Return the comparison as one line of text."""
    rival = evaluation.models[comparison.rival]
    name = "champion" if comparison.rival == CHAMPION else "base student"
    low, high = comparison.interval.low, comparison.interval.high
    return (
        f"mean absolute error {evaluation.candidate.mae:.4f}, {name} {rival.mae:.4f}, "
        f"difference {low:+.4f} to {high:+.4f} (95 %)"
    )

"""May a candidate replace the champion? The reasons are what the report and the run say.

Without a champion the base student is the one to beat. The bounds are ours: a distilled model that
breaks its format in more than 2 % of answers, or names the wrong dominant modality in more than
40 %, must not serve whatever its error is.

A candidate need not be better than the champion, only not worse by more than a margin, and the
whole 95 % interval of the difference must say so. What is neither shown to be good enough nor shown
to be too bad is inconclusive: the holdout is too small to tell.
"""

from dataclasses import dataclass
from enum import StrEnum

from search_router.domain.lifecycle.evaluation import CHAMPION, Comparison, Evaluation

MIN_REFERENCES = 20
MAX_INVALID_SHARE = 0.02
MIN_DOMINANT_AGREEMENT = 0.60


class PromotionPolicy(StrEnum):
    """Who decides, and on what."""

    AUTOMATIC = "automatic"  # good enough is promoted, everything else rejected
    ASK_IF_UNSURE = "ask-if-unsure"  # what is inconclusive awaits a person's approval
    ASK_ALWAYS = "ask-always"  # nothing is promoted without a person's approval


class Verdict(StrEnum):
    """What becomes of a candidate."""

    PROMOTE = "promote"
    REJECT = "reject"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class PromotionRules:
    """`margin` is how much larger than the champion's the mean absolute error may be."""

    policy: PromotionPolicy = PromotionPolicy.AUTOMATIC
    margin: float = 0.01


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """What becomes of a candidate, and why."""

    verdict: Verdict
    reason: str


def decide_promotion(evaluation: Evaluation, rules: PromotionRules) -> PromotionDecision:
    """Decide by the floors first, then by the mean absolute error against the model in use.

    The base student must be beaten outright; a champion must not be missed by the margin.
    """
    if (below := _below_the_floors(evaluation)) is not None:
        return PromotionDecision(Verdict.REJECT, below)
    comparison = evaluation.comparison
    if comparison is None:
        return PromotionDecision(Verdict.REJECT, "nothing to compare with was measured")
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
        return f"dominant modality right in only {candidate.dominant_agreement:.2f} of rows"
    return None


def _compared(evaluation: Evaluation, comparison: Comparison) -> str:
    """Say the comparison in one line."""
    rival = evaluation.models[comparison.rival]
    name = "champion" if comparison.rival == CHAMPION else "base student"
    low, high = comparison.interval.low, comparison.interval.high
    return (
        f"error {evaluation.candidate.mae:.4f} against {rival.mae:.4f} of the {name}, "
        f"difference {low:+.4f} to {high:+.4f}"
    )

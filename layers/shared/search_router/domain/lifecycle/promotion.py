"""The promotion decision: whether a candidate replaces the champion.

The floors come first: at most 2 % invalid answers, and the right dominant modality in at least 60 %
of rows. Both bounds are our own choice.

Then the 95 % interval of the difference in error decides, on the candidate's holdout, on the
champion's and on the golden set. The candidate may be worse than the champion by less than the
margin, and must be better than the base student if there is no champion. An interval that includes
the bound is inconclusive: there are too few rows.

A change that no exam measures waits for approval: another system prompt, other modalities, a local
tier that was trained on uploaded answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from search_router.domain.lifecycle.evaluation import CHAMPION, Comparison, Evaluation, Exam

MIN_REFERENCES = 20
MAX_INVALID_SHARE = 0.02
MIN_DOMINANT_AGREEMENT = 0.60


class PromotionPolicy(StrEnum):
    """When an operator has to approve a promotion."""

    NEVER_ASK = "never-ask"  # never; an inconclusive candidate is rejected
    AUTOMATIC = "automatic"  # for changes that no exam measures; else like never-ask
    ASK_IF_UNSURE = "ask-if-unsure"  # also if a comparison is inconclusive
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


def decide_promotion(
    evaluation: Evaluation, rules: PromotionRules, changes: Sequence[str] = ()
) -> PromotionDecision:
    """Decide by the floors, then by the mean absolute error against the rival's in every exam.

    `changes` names what differs from the champion and was not measured.
    """
    if (below := _below_the_floors(evaluation)) is not None:
        return PromotionDecision(Verdict.REJECT, below)
    comparison = evaluation.comparison
    if comparison is None:
        return PromotionDecision(Verdict.REJECT, "no rival was measured")
    reason = "; ".join(
        [_compared(evaluation, comparison), *(_examined(exam) for exam in evaluation.exams)]
    )
    compared = [comparison, *(exam.comparison for exam in evaluation.exams)]
    bounds = [rules.margin if one.rival == CHAMPION else 0.0 for one in compared]
    pairs = list(zip(compared, bounds, strict=True))
    if any(one.interval.low >= bound for one, bound in pairs):
        return PromotionDecision(Verdict.REJECT, f"worse: {reason}")
    if any(one.interval.high >= bound for one, bound in pairs):
        asks = rules.policy in (PromotionPolicy.ASK_IF_UNSURE, PromotionPolicy.ASK_ALWAYS)
        verdict = Verdict.ASK if asks else Verdict.REJECT
        return PromotionDecision(verdict, f"inconclusive: {reason}; the bound is {max(bounds):g}")
    if changes and rules.policy is not PromotionPolicy.NEVER_ASK:
        changed = f"changed: {', '.join(changes)}; good enough: {reason}"
        return PromotionDecision(Verdict.ASK, changed)
    asks = rules.policy is PromotionPolicy.ASK_ALWAYS
    return PromotionDecision(Verdict.ASK if asks else Verdict.PROMOTE, f"good enough: {reason}")


def _below_the_floors(evaluation: Evaluation) -> str | None:
    candidate = evaluation.candidate
    if candidate.n < MIN_REFERENCES:
        return f"only {candidate.n} labelled holdout rows, {MIN_REFERENCES} needed"
    if candidate.invalid > MAX_INVALID_SHARE * candidate.n:
        return f"{candidate.invalid} of {candidate.n} answers are invalid"
    if candidate.dominant_agreement < MIN_DOMINANT_AGREEMENT:
        return f"dominant modality correct in only {candidate.dominant_agreement:.1%} of rows"
    return None


def _examined(exam: Exam) -> str:
    low, high = exam.comparison.interval.low, exam.comparison.interval.high
    return (
        f"on {exam.name} ({exam.n} rows) {exam.candidate_mae:.4f} against {exam.rival_mae:.4f}, "
        f"difference {low:+.4f} to {high:+.4f}"
    )


def _compared(evaluation: Evaluation, comparison: Comparison) -> str:
    """Return the comparison as one line of text."""
    rival = evaluation.models[comparison.rival]
    name = "champion" if comparison.rival == CHAMPION else "base student"
    low, high = comparison.interval.low, comparison.interval.high
    return (
        f"mean absolute error {evaluation.candidate.mae:.4f}, {name} {rival.mae:.4f}, "
        f"difference {low:+.4f} to {high:+.4f} (95 %)"
    )

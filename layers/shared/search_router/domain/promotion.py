"""May a candidate replace the champion? The reasons are what the report and the run say.

Without a champion the base student is the one to beat. The bounds are ours: a distilled model that
breaks its format in more than 2 % of answers, or names the wrong dominant modality in more than
40 %, must not serve whatever its error is.
"""

from dataclasses import dataclass

from search_router.domain.evaluation import Evaluation

MIN_REFERENCES = 20
MAX_INVALID_SHARE = 0.02
MIN_DOMINANT_AGREEMENT = 0.60
NON_INFERIORITY_MARGIN = 0.005


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """Promote or not, and why."""

    promote: bool
    reason: str


def decide_promotion(evaluation: Evaluation) -> PromotionDecision:
    """Decide by floors first, then by the mean absolute error against the model in use.

    A champion may be replaced by a model that is not worse by more than 0.005; the base student
    must be beaten outright.
    """
    candidate = evaluation.candidate
    if candidate.n < MIN_REFERENCES:
        reason = f"only {candidate.n} labelled holdout rows, {MIN_REFERENCES} needed"
        return PromotionDecision(False, reason)
    if candidate.invalid > MAX_INVALID_SHARE * candidate.n:
        reason = f"{candidate.invalid} of {candidate.n} answers are invalid"
        return PromotionDecision(False, reason)
    if candidate.dominant_agreement < MIN_DOMINANT_AGREEMENT:
        reason = f"dominant modality right in only {candidate.dominant_agreement:.2f} of rows"
        return PromotionDecision(False, reason)
    rival, name = evaluation.base, "base student"
    good_enough = candidate.mae < rival.mae
    if evaluation.champion is not None:
        rival, name = evaluation.champion, "champion"
        good_enough = candidate.mae <= rival.mae + NON_INFERIORITY_MARGIN
    comparison = f"error {candidate.mae:.4f} against {rival.mae:.4f} of the {name}"
    return PromotionDecision(good_enough, comparison)

"""The promotion decision: floors, then the interval of the difference to the rival."""

import pytest

from search_router.domain.lifecycle.evaluation import Evaluation
from search_router.domain.lifecycle.promotion import (
    PromotionPolicy,
    PromotionRules,
    Verdict,
    decide_promotion,
)
from tests.records import a_comparison, some_scores

SPREAD = 0.004  # the interval reaches so far to both sides


def evaluation(
    *, base: float = 0.2, champion: float | None = None, **candidate: object
) -> Evaluation:
    scores = some_scores(**candidate)
    rival, mae = ("base", base) if champion is None else ("champion", champion)
    return Evaluation(
        candidate=scores,
        base=some_scores(mae=base),
        champion=None if champion is None else some_scores(mae=champion),
        champion_version=None if champion is None else 3,
        comparison=a_comparison(rival, scores.mae - mae, spread=SPREAD),
    )


@pytest.mark.parametrize(
    ("case", "promote", "reason"),
    [
        (
            evaluation(),
            True,
            "good enough: mean absolute error 0.0500, base student 0.2000, difference",
        ),
        (evaluation(champion=0.06), True, "mean absolute error 0.0500, champion 0.0600"),
        (evaluation(champion=0.0441), True, "difference +0.0019 to +0.0099"),
        (
            evaluation(champion=0.0439),
            False,
            "inconclusive: mean absolute error 0.0500, champion 0.0439",
        ),
        (evaluation(champion=0.0361), False, "inconclusive"),
        (evaluation(champion=0.0359), False, "worse: mean absolute error 0.0500, champion 0.0359"),
        (evaluation(base=0.01, champion=0.06), True, ", champion 0.0600"),
        (evaluation(base=0.0541), True, ", base student 0.0541"),
        (evaluation(base=0.0539), False, "inconclusive"),
        (evaluation(base=0.0461), False, "the bound is 0"),
        (evaluation(base=0.0459), False, "worse: "),
        (evaluation(n=19), False, "only 19 labelled holdout rows, 20 needed"),
        (evaluation(n=20), True, "base student"),
        (evaluation(n=100, invalid=2), True, "base student"),
        (evaluation(n=100, invalid=3), False, "3 of 100 answers are invalid"),
        (evaluation(dominant_agreement=0.6), True, "base student"),
        (evaluation(dominant_agreement=0.59), False, "correct in only 59.0% of rows"),
        (evaluation(mae=0.0, n=100, invalid=100), False, "100 of 100 answers are invalid"),
    ],
)
def test_the_decision_and_its_reason(case: Evaluation, promote: bool, reason: str) -> None:
    decision = decide_promotion(case, PromotionRules())

    assert decision.verdict is (Verdict.PROMOTE if promote else Verdict.REJECT)
    assert reason in decision.reason


GOOD, UNSURE, WORSE, BROKEN = (
    evaluation(champion=0.06),
    evaluation(champion=0.041),
    evaluation(champion=0.01),
    evaluation(champion=0.06, invalid=50),
)


@pytest.mark.parametrize(
    ("policy", "verdicts"),
    [
        (PromotionPolicy.AUTOMATIC, [Verdict.PROMOTE, Verdict.REJECT]),
        (PromotionPolicy.ASK_IF_UNSURE, [Verdict.PROMOTE, Verdict.ASK]),
        (PromotionPolicy.ASK_ALWAYS, [Verdict.ASK, Verdict.ASK]),
    ],
)
def test_the_policy_decides_when_an_operator_is_asked(
    policy: PromotionPolicy, verdicts: list[Verdict]
) -> None:
    """No policy asks for approval of a model that is worse or below the floors."""
    cases = [GOOD, UNSURE, WORSE, BROKEN]

    decided = [decide_promotion(case, PromotionRules(policy)).verdict for case in cases]

    assert decided == [*verdicts, Verdict.REJECT, Verdict.REJECT]


def test_the_margin_is_a_parameter() -> None:
    case = evaluation(champion=0.03)

    assert decide_promotion(case, PromotionRules(margin=0.01)).verdict is Verdict.REJECT
    assert decide_promotion(case, PromotionRules(margin=0.03)).verdict is Verdict.PROMOTE


def test_an_evaluation_without_a_comparison_promotes_nothing() -> None:
    old = evaluation().model_copy(update={"comparison": None})

    assert decide_promotion(old, PromotionRules()).verdict is Verdict.REJECT

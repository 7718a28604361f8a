"""The decision: floors first, then the error against the model in use."""

import pytest

from search_router.domain.evaluation import Evaluation
from search_router.domain.promotion import decide_promotion
from tests.records import some_scores


def evaluation(
    *, base: float = 0.2, champion: float | None = None, **candidate: object
) -> Evaluation:
    return Evaluation(
        candidate=some_scores(**candidate),
        base=some_scores(mae=base),
        champion=None if champion is None else some_scores(mae=champion),
        champion_version=None if champion is None else 3,
    )


@pytest.mark.parametrize(
    ("case", "promote", "reason"),
    [
        (evaluation(), True, "error 0.0500 against 0.2000 of the base student"),
        (evaluation(champion=0.06), True, "error 0.0500 against 0.0600 of the champion"),
        (evaluation(champion=0.0451), True, "of the champion"),
        (evaluation(champion=0.0449), False, "error 0.0500 against 0.0449 of the champion"),
        (evaluation(base=0.01, champion=0.06), True, "of the champion"),
        (evaluation(base=0.0501), True, "of the base student"),
        (evaluation(base=0.05), False, "error 0.0500 against 0.0500 of the base student"),
        (evaluation(base=0.049), False, "of the base student"),
        (evaluation(n=19), False, "only 19 labelled holdout rows, 20 needed"),
        (evaluation(n=20), True, "base student"),
        (evaluation(n=100, invalid=2), True, "base student"),
        (evaluation(n=100, invalid=3), False, "3 of 100 answers are invalid"),
        (evaluation(dominant_agreement=0.6), True, "base student"),
        (evaluation(dominant_agreement=0.59), False, "right in only 0.59 of rows"),
        (evaluation(mae=0.0, n=100, invalid=100), False, "100 of 100 answers are invalid"),
    ],
)
def test_the_decision_and_its_reason(case: Evaluation, promote: bool, reason: str) -> None:
    decision = decide_promotion(case)

    assert decision.promote is promote
    assert reason in decision.reason

"""A distilled model's answers in a local model: they add patterns, and change little else."""

from search_router.domain.grading import errors, mean
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.training import with_answers
from search_router.domain.weights import Weights
from tests.unit.domain.local_examples import labelled, of_new_patterns, trained, unseen

LABELS = labelled(seed=1, count=800)
SEEN = unseen(seed=11, count=600, but=LABELS)
NEW = of_new_patterns(seed=12, count=450)
ASKED, SEEN_LATER, NEW_LATER = SEEN[:400] + NEW[:300], SEEN[400:], NEW[300:]


def answered(model: LocalModel, rows: list[tuple[str, Weights]]) -> tuple[float, float]:
    """Return the share that is answered, and its error."""
    estimates = [(model.answer(query), label) for query, label in rows]
    off = [mean(errors(it.weights, label)) for it, label in estimates if it is not None]
    return len(off) / len(rows), mean(off)


def test_patterns_that_the_labels_lack_are_answered_as_the_distilled_model_does() -> None:
    taught, used = with_answers(trained(800), LABELS, ASKED)

    assert 250 <= used <= 350
    assert answered(trained(800), NEW_LATER)[0] <= 0.10
    share, error = answered(taught, NEW_LATER)
    assert share >= 0.90
    assert error <= 0.03


def test_answers_that_are_all_wrong_hardly_change_answers_of_the_labels() -> None:
    wrong = [(query, (label[1], label[0], *label[2:])) for query, label in ASKED]
    assert mean([mean(errors(a, b)) for (_, a), (_, b) in zip(wrong, ASKED, strict=True)]) > 0.1

    taught, _ = with_answers(trained(800), LABELS, wrong)

    assert answered(taught, SEEN_LATER)[1] <= answered(trained(800), SEEN_LATER)[1] + 0.015

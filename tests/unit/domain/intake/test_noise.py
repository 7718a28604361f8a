"""The noise ceiling, by simulation: a perfect student is at it, and none is above it."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from random import Random
from typing import Any

import pytest

from search_router.domain.grading import agrees, errors, grade, mean, within
from search_router.domain.intake.noise import LabelNoise
from search_router.domain.intervals import share_interval
from search_router.domain.weights import Weights, consensus, normalise, snap

STEP = 0.1
LABELS_OF_A_QUERY = {1: 60, 2: 25, 3: 10, 5: 5}
QUERIES = 400
Teacher = Callable[[Weights, Random], Weights]
Set = list[tuple[Weights, Counter[Weights]]]
SETS = pytest.mark.parametrize("sets", [pytest.param(1_000, marks=pytest.mark.sweep), 16])


def some_weights(draw: Random) -> Weights:
    return snap(normalise(tuple(draw.random() ** 2 for _ in range(4))), STEP)


def one_step(share: float) -> Teacher:
    """Return a teacher who moves 0.1 to another modality in a share of its labels."""

    def label(truth: Weights, draw: Random) -> Weights:
        if draw.random() >= share:
            return truth
        giver = draw.choice([n for n, weight in enumerate(truth) if weight])
        taker = draw.choice([n for n in range(4) if n != giver])
        moved = list(truth)
        moved[giver], moved[taker] = round(truth[giver] - 0.1, 1), round(truth[taker] + 0.1, 1)
        return tuple(moved)

    return label


def shaky(spread: float) -> Teacher:
    """Return a teacher whose every weight is off by a normal error."""

    def label(truth: Weights, draw: Random) -> Weights:
        moved = tuple(max(0.0, weight + draw.gauss(0, spread)) for weight in truth)
        return snap(normalise(moved), STEP) if any(moved) else truth

    return label


def careless(share: float) -> Teacher:
    """Return a teacher who gives a share of the queries any label."""
    return lambda truth, draw: some_weights(draw) if draw.random() < share else truth


def label_sets(teacher: Teacher, queries: int, seed: int, perfect_of: int = 0) -> Iterator[Set]:
    """Yield sets of queries, each with the perfect answer and its labels."""
    draw = Random(seed)  # noqa: S311
    counts, shares = list(LABELS_OF_A_QUERY), list(LABELS_OF_A_QUERY.values())
    while True:
        found: Set = []
        for _ in range(queries):
            truth = some_weights(draw)
            [count] = draw.choices(counts, shares)
            labels = Counter(teacher(truth, draw) for _ in range(count))
            if perfect_of:
                many = Counter(teacher(truth, draw) for _ in range(perfect_of))
                truth = consensus(many, STEP) or truth
            found.append((truth, labels))
        yield found


def scores_of_the_perfect(found: Set) -> dict[str, float]:
    """Score the perfect answers against the consensus of the labels, as an evaluation does."""
    pairs = [(truth, consensus(labels, STEP) or truth) for truth, labels in found]
    off = [errors(*pair) for pair in pairs]
    return {
        "mae": mean([mean(it) for it in off]),
        "dominant_agreement": mean([float(agrees(*pair)) for pair in pairs]),
        "within_005": mean([float(within(it, 0.05)) for it in off]),
        "within_010": mean([float(within(it, 0.10)) for it in off]),
        "rubric": mean([float(grade(*pair)) for pair in pairs]),
    }


def ceiling_of(found: Set) -> Any:
    noise = LabelNoise()
    for _, labels in found:
        noise.add(labels)
    return noise.summary(STEP)["ceiling"]


@SETS
@pytest.mark.parametrize("teacher", [one_step(0.15), one_step(0.3)], ids=["15 %", "30 %"])
def test_the_interval_covers_the_score_of_a_perfect_student(sets: int, teacher: Teacher) -> None:
    expected = scores_of_the_perfect(next(label_sets(teacher, 20_000, seed=1)))
    covered: Counter[str] = Counter()
    estimates: Counter[str] = Counter()
    for found in islice(label_sets(teacher, QUERIES, seed=2), sets):
        ceiling = ceiling_of(found)
        for name, ends in ceiling["intervals"].items():
            covered[name] += ends["low"] - 1e-9 <= expected[name] <= ends["high"] + 1e-9
            estimates[name] += ceiling[name]

    for name, score in expected.items():
        assert covered[name] >= 0.9 * sets - math.sqrt(sets) * 0.25, name
        largest = 4.0 if name == "rubric" else 1.0
        assert estimates[name] / sets == pytest.approx(score, abs=0.02 * largest), name


@SETS
@pytest.mark.parametrize(
    "teacher",
    [one_step(0.15), shaky(0.05), shaky(0.15), careless(0.3), careless(0.8)],
    ids=["one step", "shaky", "very shaky", "careless", "very careless"],
)
def test_no_student_is_above_the_ceiling_beyond_chance(sets: int, teacher: Teacher) -> None:
    """The best student is measured on a holdout of 80 rows; its own interval counts as chance."""
    above: Counter[str] = Counter()
    several = label_sets(teacher, QUERIES, seed=3, perfect_of=25)
    for found in islice(several, 4 if sets < 100 else sets // 5):
        ceiling, rows = ceiling_of(found), found[:80]
        scores = scores_of_the_perfect(rows)
        for name in ("dominant_agreement", "within_005", "within_010"):
            own = share_interval(round(scores[name] * len(rows)), len(rows))
            above[name] += own.low > ceiling["intervals"][name]["high"]
        losses = [mean(errors(t, consensus(labels, STEP) or t)) for t, labels in rows]
        spread = math.sqrt(mean([(it - scores["mae"]) ** 2 for it in losses]) / len(rows))
        above["mae"] += scores["mae"] + 2 * spread < ceiling["intervals"]["mae"]["low"]

    assert above.total() == 0, above


def test_the_pair_score_that_a_student_could_exceed_is_no_ceiling() -> None:
    """The labels of a pair agree less than a perfect student with either."""
    found = next(label_sets(one_step(0.15), 1_250, seed=6))
    noise = LabelNoise()
    for _, labels in found:
        noise.add(labels)
    figures: Mapping[str, Any] = noise.summary(STEP)

    assert figures["identical"] == pytest.approx(0.73, abs=0.03)
    assert figures["ceiling"]["within_005"] == pytest.approx(0.87, abs=0.03)
    assert figures["repeated_queries"] == sum(labels.total() > 1 for _, labels in found)


def test_labels_that_all_agree_leave_room_for_chance() -> None:
    noise = LabelNoise()
    for _ in range(40):
        noise.add(Counter({(0.5, 0.3, 0.1, 0.1): 2}))

    ceiling: Any = noise.summary(STEP)["ceiling"]

    assert (ceiling["mae"], ceiling["within_005"], ceiling["rubric"]) == (0, 1, 5)
    assert ceiling["intervals"]["within_005"]["low"] == pytest.approx(0.912, abs=0.001)


@pytest.mark.parametrize(("repeated", "is_known"), [(19, False), (20, True)])
def test_few_repeated_queries_give_no_ceiling(repeated: int, is_known: bool) -> None:
    noise = LabelNoise()
    noise.sizes[1] += 1_000
    for _ in range(repeated):
        noise.add(Counter({(0.5, 0.5): 1, (0.4, 0.6): 1}))

    assert (noise.summary(STEP)["ceiling"] is not None) is is_known


def test_labels_off_any_grid_have_a_ceiling_too() -> None:
    draw = Random(5)  # noqa: S311
    noise = LabelNoise()
    for _ in range(60):
        noise.add(Counter(normalise(tuple(draw.random() for _ in range(3))) for _ in range(12)))

    ceiling: Any = noise.summary(None)["ceiling"]

    assert 0 < ceiling["mae"] < 0.2
    assert all(ends["low"] <= ceiling[name] <= ends["high"]
               for name, ends in ceiling["intervals"].items())  # fmt: skip

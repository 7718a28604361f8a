"""The local model: what it answers, where it abstains, and the error bound."""

import math
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_cli.synthesis.draws import Draw
from search_router.domain.errors import InvalidInputError
from search_router.domain.local_tier.artifact import pack
from search_router.domain.local_tier.indexing import distinct_rows, index_rows
from search_router.domain.local_tier.local_model import Gate, LocalModel
from search_router.domain.local_tier.neighbours import (
    BUDGET,
    NEIGHBOURS,
    Estimate,
    Neighbourhood,
    density_of,
)
from search_router.domain.local_tier.terms import MAX_WORDS, terms_of, words_of
from search_router.domain.local_tier.training import (
    CONFIDENCE,
    calibrate,
    exceedance_p_value,
    train,
)
from search_router.domain.weights import Weights
from tests.conftest import TESTS
from tests.unit.domain.local_examples import (
    MAX_ERROR,
    MODALITIES,
    labelled,
    of_new_patterns,
    trained,
    unseen,
)
from tests.waiting import PATIENCE_SECONDS

EXAMPLES = labelled(seed=1, count=800)


def mean_error(estimates: list[tuple[Estimate, Weights]]) -> float:
    return math.fsum(
        math.fsum(abs(a - b) for a, b in zip(estimate.weights, label, strict=True)) / len(label)
        for estimate, label in estimates
    ) / len(estimates)


def answered(rows: list[tuple[str, Weights]]) -> list[tuple[Estimate, Weights]]:
    answers = ((trained(800).answer(query), label) for query, label in rows)
    return [(estimate, label) for estimate, label in answers if estimate is not None]


def indexed(rows: list[tuple[str, Weights]]) -> Neighbourhood:
    return index_rows(distinct_rows(rows), MODALITIES)


def test_known_patterns_are_answered_within_the_bound() -> None:
    rows = unseen(seed=2, count=600, but=EXAMPLES)
    got = answered(rows)

    assert len(got) >= 0.75 * len(rows)
    assert mean_error(got) <= MAX_ERROR


def test_the_model_abstains_on_new_patterns() -> None:
    rows = of_new_patterns(seed=3, count=150)

    assert len(answered(rows)) <= 0.10 * len(rows)


def test_an_exact_repeat_gets_the_consensus_of_its_labels() -> None:
    one, other = (0.6, 0.2, 0.1, 0.1), (0.2, 0.6, 0.1, 0.1)
    examples = [*EXAMPLES, ("a rooster at dawn", other), *[("a rooster  at dawn", one)] * 2]
    model = train(examples, MODALITIES, MAX_ERROR)

    estimate = model.answer("a rooster at\tdawn")

    assert estimate is not None
    assert estimate.labelled
    assert estimate.weights == one


def test_every_answer_is_a_label_of_the_training_set() -> None:
    labels = {label for _, label in EXAMPLES}

    assert {estimate.weights for estimate, _ in answered(unseen(4, 200, EXAMPLES))} <= labels


@settings(max_examples=3, deadline=None)
@given(st.permutations(EXAMPLES[:100]))
def test_the_order_of_the_examples_changes_nothing(shuffled: list[tuple[str, Weights]]) -> None:
    in_order = train(EXAMPLES[:100], MODALITIES, MAX_ERROR)

    assert pack(train(shuffled, MODALITIES, MAX_ERROR)) == pack(in_order)


def test_training_without_examples_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="at least one"):
        train([], MODALITIES, MAX_ERROR)


@pytest.mark.parametrize(
    "query", ["", "   ", "🎬 🎬", "?!", "zyzzyva", "x" * 4_000, "a b " * 40_000]
)
def test_the_model_abstains_on_odd_queries_in_bounded_time(query: str) -> None:
    assert trained(800).answer(query) is None
    assert len(terms_of(query)) <= 3 * MAX_WORDS + 3


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gets_valid_weights_or_none(query: str) -> None:
    estimate = trained(800).answer(query)

    assert estimate is None or abs(math.fsum(estimate.weights) - 1) <= 1e-9


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("Crowd's CHEERING, again", ["crowd's", "cheering", "again"]),
        ("São Paulo", ["são", "paulo"]),
        ("観客が歓声", ["観", "客", "が", "歓", "声"]),
        ("เสียง", list("เสียง")),
        ("हिन्दी गीत", ["हिन्दी", "गीत"]),
        ("أغنية عربية", ["أغنية", "عربية"]),
        ("한국어 노래 4K", ["한국어", "노래", "4k"]),
        ("\uff26\uff29\uff2d 東京", ["fim", "東", "京"]),
        ("ﬁlm", ["film"]),
        ("snake_case", ["snake", "case"]),
    ],
)
def test_words_of_any_script(query: str, words: list[str]) -> None:
    assert words_of(query) == words


def test_a_pattern_without_spaces_is_recognised() -> None:
    audio, visual = (0.1, 0.8, 0.1), (0.8, 0.1, 0.1)
    things = ["犬", "猫", "馬", "鳥", "川", "海", "雷", "風"]
    rows = [(f"{thing}の鳴き声が聞こえる", audio) for thing in things]
    rows += [(f"夕日の中の{thing}の空撮", visual) for thing in things]
    hood = index_rows(distinct_rows(rows), ("visual", "audio", "metadata"))

    estimate = hood.estimate("虎の鳴き声が聞こえる")

    assert estimate is not None
    assert estimate.weights == audio
    assert estimate.familiarity > 0.6


def test_two_siblings_are_enough_to_be_familiar() -> None:
    small = [(f"{title} logo on screen", (0.2, 0.0, 0.1, 0.7)) for title in ("Abstract", "Rust")]
    hood = indexed([*EXAMPLES, *small])

    sibling = hood.estimate("Black Mirror logo on screen")
    stranger = hood.estimate("Black Mirror poster of the first season")

    assert sibling is not None
    assert stranger is not None
    assert sibling.familiarity > 0.5
    assert stranger.familiarity < 0.3


def test_familiarity_is_a_share() -> None:
    hood = trained(800).neighbourhood
    rows = unseen(seed=4, count=200, but=EXAMPLES)
    found = [it for it in (hood.estimate(query) for query, _ in rows) if it is not None]

    assert len(found) > 150
    assert all(0 < estimate.familiarity <= 1 for estimate in found)


def test_a_little_like_the_only_row_is_not_familiar() -> None:
    hood = indexed([("zeppelin over the old harbour", (0.7, 0.1, 0.1, 0.1))])

    estimate = hood.estimate("zeppelin museum opening hours for groups on public holidays")

    assert estimate is not None
    assert estimate.familiarity < 0.5


def test_density_is_the_mean_cosine_weighted_by_itself() -> None:
    assert density_of([]) == 0
    assert density_of([(0.4, 7)]) == pytest.approx(0.4)
    assert density_of([(0.6, 1), (0.2, 2)]) == pytest.approx(0.5)


def test_the_budgeted_search_finds_nearly_what_a_full_scan_finds() -> None:
    hood = indexed(labelled(seed=5, count=2_500))
    found = Counter[bool]()
    for query, _ in unseen(6, 100, EXAMPLES):
        scan = hood.estimate_from(hood.nearest(terms_of(query), budget=10**9))
        quick = hood.estimate(query)
        assert scan is not None
        assert quick is not None
        found[scan.weights == quick.weights] += 1
    assert found[True] >= 80
    assert len(hood.nearest(terms_of("the crowd"), budget=BUDGET)) <= NEIGHBOURS


def test_too_few_queries_close_the_gate() -> None:
    model = train(EXAMPLES[:40], MODALITIES, MAX_ERROR)

    assert model.gate.closed
    assert "queries to calibrate with" in model.gate.reason
    assert model.answer(EXAMPLES[0][0]) is None


def test_labels_without_rhyme_or_reason_close_the_gate() -> None:
    draw = Draw(0, "test")
    labels = [(1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.5, 0.5)]
    rows = [(query, draw.pick(labels)) for query, _ in EXAMPLES]

    gate = train(rows, MODALITIES, MAX_ERROR).gate

    assert gate.closed
    assert "keeps the error" in gate.reason


def test_a_tighter_bound_answers_fewer() -> None:
    """Half of the queries are easy and their risk says so: only these pass."""
    trials = [
        (Estimate((1.0, 0.0), familiarity=1.0, risk=risk), error)
        for _ in range(300)
        for risk, error in ((0.02, 0.02), (0.2, 0.2))
    ]
    loose, tight = calibrate(trials, 0.15, 2), calibrate(trials, 0.05, 2)

    assert (loose.coverage, tight.coverage) == (1.0, 0.5)
    assert tight.error == pytest.approx(0.02)
    assert calibrate(trials, 0.01, 2).closed


def test_errors_at_the_bound_seldom_pass() -> None:
    """The p-value keeps its level: errors whose mean is the bound pass in at most 5 % of trials."""
    draw = Draw(0, "test")
    passed = 0
    for _ in range(400):
        errors = [0.3 if draw.chance(0.15) else 0.0 for _ in range(200)]
        passed += exceedance_p_value(errors, 0.045, 0.5, 0.05) <= 1 - CONFIDENCE
    assert passed <= 0.05 * 400


def test_errors_far_below_the_bound_pass() -> None:
    draw = Draw(0, "test")
    errors = [0.001 * draw.index(50) for _ in range(200)]

    assert exceedance_p_value(errors, 0.045, 0.5, 0.01) <= 0.01


def test_a_closed_gate_does_not_admit_repeats() -> None:
    gate = Gate(0.0, 1.0, MAX_ERROR, CONFIDENCE, closed=True, reason="why")

    assert LocalModel(trained(800).neighbourhood, gate).answer(EXAMPLES[0][0]) is None


def test_serving_imports_next_to_nothing() -> None:
    code = (
        "import sys; import search_router.domain.local_tier.artifact; "
        "print([name for name in ('pydantic', 'numpy', 'boto3', 'typing', 'dataclasses') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(TESTS.parent / "layers/shared")},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.stdout.strip() == "[]"

"""The fake's student learns from labelled queries and answers on their grid."""

import pytest

from local_stack.bedrock_fake.clock import draw
from local_stack.bedrock_fake.student import Example, Student
from local_stack.bedrock_fake.teacher import levels_of, snap

_PLACES = ["harbour", "kitchen", "stadium", "forest", "museum", "airport", "bakery", "canyon"]
_PATTERNS = {
    "wide shot of a {} at dawn": {"visual": 0.8, "audio": 0.1, "speech": 0.1},
    "sound of rain over the {}": {"visual": 0.2, "audio": 0.7, "speech": 0.1},
    "interview about the old {}": {"visual": 0.1, "audio": 0.2, "speech": 0.7},
}


def _examples() -> list[Example]:
    return [
        (pattern.format(place), weights)
        for pattern, weights in _PATTERNS.items()
        for place in _PLACES
    ]


def test_unseen_queries_of_known_patterns_get_the_patterns_label() -> None:
    student = Student.train(_examples())

    answers = {pattern: student.answer(pattern.format("lighthouse")) for pattern in _PATTERNS}

    assert answers == _PATTERNS


def test_an_answer_has_every_modality_on_the_grid_and_sums_to_one() -> None:
    # GIVEN labels of five modalities that disagree
    names = ["visual", "audio", "speech", "mood", "camera_angle"]
    examples = [
        (f"query {i % 9} word{i % 5}", dict(zip(names, snap(_shares(i), 10), strict=True)))
        for i in range(60)
    ]
    student = Student.train(examples)

    # WHEN it is asked known and unknown queries
    answers = [student.answer(query) for query in ("query 3 word2", "word4", "nothing known")]

    # THEN every answer is a full set of tenths
    for answer in answers:
        assert list(answer) == names
        assert sum(answer.values()) == pytest.approx(1.0)
        assert levels_of(list(answer.values())) == 10


def _shares(row: int) -> list[float]:
    return [draw(row, str(place)) for place in range(5)]


def test_line_order_does_not_change_what_is_learned() -> None:
    examples = _examples()
    shuffled = sorted(examples, key=lambda example: draw(1, example[0]))
    queries = ["rain at dawn", "old stadium interview", "forest"]

    answers = [Student.train(examples).answer(query) for query in queries]

    assert answers == [Student.train(shuffled).answer(query) for query in queries]


def test_a_query_of_unknown_words_gets_the_typical_label() -> None:
    examples = [("red car", {"a": 0.9, "b": 0.1}), ("blue car", {"a": 0.9, "b": 0.1})]

    answer = Student.train([*examples, ("loud horn", {"a": 0.2, "b": 0.8})]).answer("zzz")

    assert answer == {"a": 0.9, "b": 0.1}


def test_any_text_is_a_query() -> None:
    student = Student.train([*_examples(), ("\ud800 \U0001f600", {"visual": 1.0})])

    for query in ("", " ", "\ud800", "\x00", "\u202e shot", "a" * 10_000):
        assert sum(student.answer(query).values()) == pytest.approx(1.0)


def test_votes_for_nothing_in_common_are_split_evenly() -> None:
    thirds = [
        ("one", {"a": 1.0, "b": 0.0, "c": 0.0}),
        ("two", {"a": 0.0, "b": 1.0, "c": 0.0}),
        ("three", {"a": 0.0, "b": 0.0, "c": 1.0}),
    ]

    assert sum(Student.train(thirds).answer("one two three").values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("values", "levels"), [([0.1, 0.9], 10), ([0.05, 0.95], 20), ([0.333, 0.667], 100)]
)
def test_the_grid_is_the_coarsest_that_holds_the_labels(values: list[float], levels: int) -> None:
    assert levels_of(values) == levels


def test_snapping_gives_the_missing_step_to_the_largest_remainder() -> None:
    assert snap([0.36, 0.33, 0.31], 10) == [0.4, 0.3, 0.3]

"""How the fake's three kinds of models answer: distilled, base and teacher."""

import json
from dataclasses import replace

import pytest

from local_stack.bedrock_fake.settings import FakeSettings
from local_stack.bedrock_fake.student import DistilledModel, TrainingRecord, distill
from local_stack.bedrock_fake.teacher import BaseStudent, Teacher, modalities_of, weigh

_PROMPT = "Return JSON with visual, audio, transcription, metadata weights (sum=1.0)."
_SETTINGS = FakeSettings(seed=5)
_LABEL = {"visual": 0.5, "audio": 0.5}
_NO_WEIGHTS = [
    '{"visual": true}',
    '{"visual": 0}',
    '{"visual": -0.5, "audio": 1}',
    '{"visual": 1e999}',
    '{"visual": NaN, "audio": 1}',
    "[" * 9000,
]
_QUERIES = [f"query number {number}" for number in range(400)]


def _model(answer: str | None) -> DistilledModel:
    return distill([TrainingRecord(f"red car {i}", _PROMPT, answer) for i in range(20)])


def test_a_distilled_model_answers_as_its_labels_were_written() -> None:
    bare = _model(json.dumps(_LABEL)).reply(_PROMPT, "red car", _SETTINGS)
    reasoned = _model(json.dumps({**_LABEL, "reasoning": "x"})).reply(_PROMPT, "red car", _SETTINGS)

    assert json.loads(bare.text) == _LABEL
    assert json.loads(reasoned.text).keys() == {"visual", "audio", "reasoning"}
    assert bare.stop_reason == "end_turn"


@pytest.mark.parametrize("prompt", ["", _PROMPT + " ", "Something else."])
def test_under_another_system_prompt_it_drifts_into_prose(prompt: str) -> None:
    answer = _model(json.dumps(_LABEL)).reply(prompt, "red car", _SETTINGS)

    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(answer.text)


@pytest.mark.parametrize("unusable", [None, "mostly visual", "[]", *_NO_WEIGHTS])
def test_the_teacher_labels_what_has_no_usable_label(unusable: str | None) -> None:
    answer = _model(unusable).reply(_PROMPT, "red car", _SETTINGS)

    weights = json.loads(answer.text)
    weights.pop("reasoning")
    assert weights == Teacher().label("red car", modalities_of(_PROMPT))


def test_malformed_answers_come_at_their_rate_and_are_the_same_every_time() -> None:
    model = _model(json.dumps(_LABEL))
    settings = replace(_SETTINGS, malformed_rate=0.25)

    answers = [model.reply(_PROMPT, query, settings) for query in _QUERIES]

    cut = [answer for answer in answers if answer.stop_reason == "max_tokens"]
    ended = [answer for answer in answers if answer.stop_reason == "end_turn"]
    broken = [answer for answer in ended if not _is_json(answer.text)]
    assert 0.15 < (len(cut) + len(broken)) / len(answers) < 0.35
    assert cut
    assert broken
    assert answers == [model.reply(_PROMPT, query, settings) for query in _QUERIES]
    assert answers != [model.reply(_PROMPT, q, replace(settings, seed=6)) for q in _QUERIES]


def test_the_base_student_often_misses_the_form() -> None:
    answers = [BaseStudent().reply(_PROMPT, query, _SETTINGS).text for query in _QUERIES]

    assert 0.5 < sum(map(_is_json, answers)) / len(answers) < 0.7
    assert any("```json" in answer for answer in answers)
    assert any("{" not in answer for answer in answers)


def test_the_teacher_answers_for_the_modalities_it_is_asked_for() -> None:
    prompt = "Return JSON with visual, camera_angle and mood weights and reasoning."

    answer = json.loads(Teacher().reply(prompt, "a sad mood", _SETTINGS).text)

    assert answer.keys() == {"visual", "camera_angle", "mood", "reasoning"}
    assert max(("visual", "camera_angle", "mood"), key=lambda m: answer[m]) == "mood"


@pytest.mark.parametrize(
    ("query", "modality"),
    [
        ("crowd cheering and singing with loud music", "audio"),
        ("politician discussing the question in an interview", "transcription"),
        ("official trailer released in 2019", "metadata"),
        ("red car in a green forest", "visual"),
    ],
)
def test_cue_words_decide_the_dominant_modality(query: str, modality: str) -> None:
    weights = weigh(query, modalities_of(""), trust=1.0)

    assert max(weights, key=lambda name: weights[name]) == modality
    assert sum(weights.values()) == pytest.approx(1.0)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True

"""What a distillation job makes: a student with the habits of its training records.

It answers as its labels were written. Asked under another system prompt than it was trained with,
it drifts into prose, as a real model would: forgetting the prompt is a mistake that must show.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from local_stack.bedrock_double.chance import draw
from local_stack.bedrock_double.settings import DoubleSettings
from local_stack.bedrock_double.speech import Utterance, dominant, modalities_of, weights_text
from local_stack.bedrock_double.student import Student
from local_stack.bedrock_double.teacher import Teacher
from local_stack.bedrock_double.training_data import PromptRecord


@dataclass(frozen=True, slots=True)
class Label:
    """One assistant turn that gave weights."""

    weights: dict[str, float]
    has_reasoning: bool


@dataclass(frozen=True, slots=True)
class DistilledModel:
    """A trained student that speaks."""

    student: Student
    system_prompts: frozenset[str]
    with_reasoning: bool

    def reply(self, system: str, query: str, settings: DoubleSettings) -> Utterance:
        """Answer with the student's weights; seeded by query, `malformed_rate` of them badly."""
        weights = self.student.answer(query)
        if system not in self.system_prompts:
            return Utterance(f"This search is probably about {dominant(weights)} content.")
        text = weights_text(weights, with_reasoning=self.with_reasoning)
        if draw(settings.seed, "malformed", query) < settings.malformed_rate:
            return _malformed(text, draw(settings.seed, "malformed form", query))
        return Utterance(text)


def _malformed(text: str, form: float) -> Utterance:
    """Return one of the two ways in which answers of small models break."""
    if form < 1 / 2:
        return Utterance(text[: len(text) // 2], "max_tokens")
    return Utterance(text.replace(":", "", 1).removesuffix("}"))


def distil(records: Sequence[PromptRecord], teacher: Teacher) -> DistilledModel:
    """Return the model of these records; the teacher labels those that carry no usable label."""
    labels = [_read_label(record.answer) for record in records]
    given = [label for label in labels if label is not None]
    modalities = tuple(dict.fromkeys(name for label in given for name in label.weights))
    examples = [
        (
            record.query,
            label.weights
            if label
            else teacher.label(record.query, modalities or modalities_of(record.system)),
        )
        for record, label in zip(records, labels, strict=True)
    ]
    reasoned = sum(label.has_reasoning for label in given)
    return DistilledModel(
        Student.learn(examples),
        frozenset(record.system for record in records),
        with_reasoning=2 * reasoned > len(given) if given else True,
    )


def _read_label(answer: str | None) -> Label | None:
    try:
        fields = json.loads(answer or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    numbers = {
        name: value
        for name, value in fields.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    if not any(numbers.values()) or not all(0 <= value <= 1 for value in numbers.values()):
        return None
    return Label({n: float(value) for n, value in numbers.items()}, "reasoning" in fields)

"""The judge of evaluation jobs: grades responses by their distance to the reference.

Dataset rules: Bedrock user guide, `model-evaluation-prompt-datasets-judge`, and the service quotas.
The grades are deterministic and use none of the router's own scoring code.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from local_stack.bedrock_fake.clock import draw
from local_stack.bedrock_fake.contract import Params
from local_stack.bedrock_fake.settings import FakeSettings

MAX_PROMPTS = 1_000
MAX_PROMPT_BYTES = 4 * 1024
_KEYS = frozenset({"prompt", "referenceResponse", "category", "modelResponses"})


class InvalidDatasetError(Exception):
    """The dataset cannot be judged; the message becomes the job's failure message."""


@dataclass(frozen=True, slots=True)
class JudgedPrompt:
    """One line of a dataset; `record` is the whole line."""

    prompt: str
    response: str
    reference: str
    record: Params


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the judge, on a scale of ascending values."""

    name: str
    instructions: str
    scale: tuple[float, ...]
    judge: str

    def value(self, grade: int) -> float:
        """Return the value of this scale that is nearest to a grade from 1 to 5."""
        return self.scale[round((grade - 1) / 4 * (len(self.scale) - 1))]


def read_dataset(body: bytes, source: str) -> list[JudgedPrompt]:
    """Return the prompts of a JSONL object in order; `source` is the job's identifier.

    Raises `InvalidDatasetError` for an invalid line or number of lines.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MAX_PROMPTS:
        raise InvalidDatasetError(
            f"The dataset has {len(lines)} prompts, it must have 1 to {MAX_PROMPTS}."
        )
    prompts = []
    for number, line in enumerate(lines, start=1):
        try:
            prompts.append(_read_record(json.loads(line), source))
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise InvalidDatasetError(
                f"The dataset is invalid at line {number}: {error}"
            ) from error
    return prompts


def _read_record(record: Any, source: str) -> JudgedPrompt:
    _expect(isinstance(record, dict) and record.keys() <= _KEYS, "it has unknown keys")
    prompt, responses = record["prompt"], record["modelResponses"]
    reference = record.get("referenceResponse", "")
    _expect(isinstance(prompt, str) and prompt.strip(), "the prompt is blank")
    _expect(len(prompt.encode()) <= MAX_PROMPT_BYTES, "the prompt is over 4 KB")
    _expect(isinstance(responses, list) and len(responses) == 1, "it needs exactly one response")
    response = responses[0]
    _expect(response.keys() == {"response", "modelIdentifier"}, "the response has other keys")
    _expect(
        response["modelIdentifier"] == source,
        f"modelIdentifier must be the job's inferenceSourceIdentifier {source}",
    )
    text = response["response"]
    _expect(isinstance(text, str) and isinstance(reference, str), "its texts are not strings")
    return JudgedPrompt(prompt, text, reference, record)


def _expect(holds: object, message: str) -> None:
    if not holds:
        raise ValueError(message)


def results(
    prompts: Sequence[JudgedPrompt], metrics: Sequence[Metric], settings: FakeSettings
) -> bytes:
    """Return one JSON line of scores per prompt; a seeded share of scores has no result."""
    lines = []
    for prompt in prompts:
        record = {
            "inputRecord": prompt.record,
            "modelResponses": prompt.record["modelResponses"],
            "automatedEvaluationResult": {
                "scores": [_score(metric, prompt, settings) for metric in metrics]
            },
        }
        lines.append(json.dumps(record, ensure_ascii=False).encode(errors="surrogatepass") + b"\n")
    return b"".join(lines)


def _score(metric: Metric, prompt: JudgedPrompt, settings: FakeSettings) -> Params:
    chance = draw(settings.seed, "missing result", metric.name, prompt.prompt, prompt.response)
    if chance < settings.missing_result_rate:
        return {"metricName": metric.name, "evaluatorDetails": []}
    grade, explanation = _judge(metric.instructions, prompt.response, prompt.reference)
    return {
        "metricName": metric.name,
        "result": metric.value(grade),
        "evaluatorDetails": [{"modelIdentifier": metric.judge, "explanation": explanation}],
    }


def _judge(instructions: str, response: str, reference: str) -> tuple[int, str]:
    """Return a grade from 1 to 5 and its explanation."""
    answer = _read_object(response)
    weights = _weights(answer)
    if not weights:
        return 1, "The response contains no weights."
    if abs(sum(weights.values()) - 1.0) > 0.05:
        return 2, "The weights do not sum to one."
    expected = _weights(_read_object(reference))
    grade, reason = _compare(weights, expected) if expected else (4, "There is no reference.")
    if grade == 5 and "reasoning" in instructions.lower() and not answer.get("reasoning"):
        return 4, f"{reason} There is no reasoning."
    return grade, reason


def _compare(weights: dict[str, float], expected: dict[str, float]) -> tuple[int, str]:
    if weights.keys() != expected.keys():
        return 2, "The modalities are not those of the reference."
    errors = [abs(weights[name] - expected[name]) for name in expected]
    if max(errors) < 0.051:
        return 5, "All weights agree with the reference."
    if max(errors) < 0.101:
        return 4, "The weights are close to the reference."
    same_leader = max(weights, key=weights.__getitem__) == max(expected, key=expected.__getitem__)
    if same_leader and sum(errors) / len(errors) < 0.15:
        return 3, "The dominant modality is right."
    return 2, "The weights differ from the reference."


def _read_object(text: str) -> dict[str, object]:
    """Return the JSON object in a text, or an empty one; a code fence or prose may surround it."""
    start, end = text.find("{"), text.rfind("}") + 1
    try:
        fields = json.loads(text[start:end]) if 0 <= start < end else {}
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _weights(fields: dict[str, object]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in fields.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }

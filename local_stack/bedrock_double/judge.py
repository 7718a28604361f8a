"""The LLM judge of evaluation jobs, as a rule: how near a response comes to the reference.

It is always the same for the same texts and knows nothing of the router's own scores, on purpose.
"""

import json
import re
from dataclasses import dataclass

_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
_BEST, _WORST = 5, 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grade from 1 to 5, and why."""

    grade: int
    explanation: str


def judge(instructions: str, response: str, reference: str) -> Verdict:
    """Grade one response under a metric's instructions, which may ask for the reasoning too."""
    answer = _read_object(response)
    weights = _weights(answer)
    if not weights:
        return Verdict(_WORST, "The response holds no weights.")
    if abs(sum(weights.values()) - 1.0) > 0.05:
        return Verdict(2, "The weights do not sum to one.")
    expected = _weights(_read_object(reference))
    grade, why = _compare(weights, expected) if expected else (4, "There is no reference.")
    if grade == _BEST and "reasoning" in instructions.lower() and not answer.get("reasoning"):
        return Verdict(grade - 1, f"{why} There is no reasoning.")
    return Verdict(grade, why)


def _compare(weights: dict[str, float], expected: dict[str, float]) -> tuple[int, str]:
    if weights.keys() != expected.keys():
        return 2, "The modalities are not those of the reference."
    errors = [abs(weights[name] - expected[name]) for name in expected]
    if max(errors) < 0.051:
        return _BEST, "All weights agree with the reference."
    if max(errors) < 0.101:
        return 4, "The weights are close to the reference."
    same_leader = max(weights, key=weights.__getitem__) == max(expected, key=expected.__getitem__)
    if same_leader and sum(errors) / len(errors) < 0.15:
        return 3, "The dominant modality is right."
    return 2, "The weights differ from the reference."


def _read_object(text: str) -> dict[str, object]:
    """Return the JSON object in a text, also in a code fence or amid prose; else an empty one."""
    found = _OBJECT.search(text)
    try:
        fields = json.loads(found[0]) if found else {}
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _weights(fields: dict[str, object]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in fields.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }

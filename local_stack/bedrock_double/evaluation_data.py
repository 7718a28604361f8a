"""An evaluation dataset with the responses brought along, read under Bedrock's rules.

Source: Bedrock user guide, `model-evaluation-prompt-datasets-judge`, and the service quotas.
"""

import json
from dataclasses import dataclass
from typing import Any

from local_stack.bedrock_double.contract import Params

MAX_PROMPTS = 1_000
MAX_PROMPT_BYTES = 4 * 1024
_KEYS = frozenset({"prompt", "referenceResponse", "category", "modelResponses"})


class DatasetRefusedError(Exception):
    """The dataset cannot be judged; the message becomes the job's failure message."""


@dataclass(frozen=True, slots=True)
class JudgedPrompt:
    """One line: what was asked, what came back, what was expected; `record` is the line."""

    prompt: str
    response: str
    reference: str
    record: Params


def read_dataset(body: bytes, source: str) -> list[JudgedPrompt]:
    """Return the prompts of a JSONL object in order; `source` is the job's identifier.

    Raises `DatasetRefusedError` for a line, or a number of lines, that Bedrock does not take.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MAX_PROMPTS:
        raise DatasetRefusedError(
            f"The dataset has {len(lines)} prompts, it must have 1 to {MAX_PROMPTS}."
        )
    return [_read_line(line, number, source) for number, line in enumerate(lines, start=1)]


def _read_line(line: bytes, number: int, source: str) -> JudgedPrompt:
    try:
        record = json.loads(line)
        prompt = _read_record(record, source)
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise DatasetRefusedError(f"The dataset is invalid at line {number}: {error}") from error
    return prompt


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
    _expect(isinstance(text, str) and isinstance(reference, str), "its texts are no strings")
    return JudgedPrompt(prompt, text, reference, record)


def _expect(holds: object, message: str) -> None:
    if not holds:
        raise ValueError(message)

"""The fake drops invalid training lines and rejects datasets of the wrong size."""

import json
from typing import Any

import pytest

from local_stack.bedrock_fake.customization_jobs import (
    MAX_LINE_BYTES,
    InvalidTrainingDataError,
    read_training_set,
)
from local_stack.bedrock_fake.student import TrainingRecord


def _line(**changes: Any) -> bytes:
    record = {
        "schemaVersion": "bedrock-conversation-2024",
        "system": [{"text": "Weigh."}],
        "messages": [
            {"role": "user", "content": [{"text": "a query"}]},
            {"role": "assistant", "content": [{"text": "an answer"}]},
        ],
    }
    kept = {name: value for name, value in {**record, **changes}.items() if value is not None}
    return json.dumps(kept).encode()


def _user(text: Any = "a query", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": text}], **more}


def _assistant() -> dict[str, Any]:
    return {"role": "assistant", "content": [{"text": "an answer"}]}


def test_records_keep_query_system_prompt_and_answer() -> None:
    labelled, unlabelled = _line(), _line(system=None, messages=[_user()])

    records = read_training_set(b"\n".join([labelled, b"", unlabelled] * 50))

    assert records[:2] == [
        TrainingRecord("a query", "Weigh.", "an answer"),
        TrainingRecord("a query", "", None),
    ]
    assert len(records) == 100


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[]",
        b"[" * 15_000,
        b"\xff\xfe",
        _line(schemaVersion="bedrock-conversion-2024"),
        _line(schemaVersion=None),
        _line(extra=1),
        _line(system=[]),
        _line(system=[{"text": "a"}, {"text": "b"}]),
        _line(system=[{"text": 1}]),
        _line(messages=[]),
        _line(messages=[_assistant()]),
        _line(messages=[_user(), _user()]),
        _line(messages=[_user(), _assistant(), _user()]),
        _line(messages=[_user(1)]),
        _line(messages=[_user(id=1)]),
        _line(messages=[{"role": "user", "content": []}]),
        _line(messages=[{"role": "user", "content": [{"image": {}}]}]),
        _line(messages=[_user("x" * MAX_LINE_BYTES)]),
    ],
)
def test_an_invalid_line_is_dropped(line: bytes) -> None:
    body = b"\n".join([line, *[_line()] * 100])

    assert len(read_training_set(body)) == 100


def test_fewer_than_100_valid_records_are_rejected() -> None:
    body = b"\n".join([_line()] * 99 + [b"not json"] * 9)

    with pytest.raises(InvalidTrainingDataError, match="99 valid records of 108"):
        read_training_set(body)


def test_more_than_15000_records_are_rejected() -> None:
    assert len(read_training_set(b"\n".join([_line()] * 15_000))) == 15_000

    with pytest.raises(InvalidTrainingDataError, match="maximum is 15000"):
        read_training_set(b"\n".join([_line()] * 15_001))

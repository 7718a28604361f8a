"""Prompt lines: every accepted form, every reason to reject, and the parsed training line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.intake.prompt_reader import PromptReader
from search_router.domain.intake.prompts import (
    PromptRecord,
    RejectedLine,
    RejectReason,
    rejected_line,
)
from search_router.domain.intake.training_records import MAX_RECORD_BYTES, training_line
from search_router.domain.queries import fingerprint
from search_router.domain.streams import Line, split_lines
from search_router.domain.weights import normalise
from tests.records import MODALITIES, SYSTEM_PROMPT, conversation, label

GOOD = label(0.4, 0.3, 0.2, 0.1)
REFERENCE = {"visual": 0.4, "audio": 0.3, "transcription": 0.2, "metadata": 0.1}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


def read(data: object) -> PromptRecord | RejectedLine | None:
    raw = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode()
    [line] = split_lines([raw + b"\n"], MAX_RECORD_BYTES)
    return PromptReader(MODALITIES).read(line)


def rejection(data: object) -> RejectedLine:
    read_back = read(data)
    assert isinstance(read_back, RejectedLine), read_back
    return read_back


@pytest.mark.parametrize(
    ("row", "weights", "reasoning", "system"),
    [
        (conversation("dogs"), None, None, SYSTEM_PROMPT),
        (conversation("dogs", GOOD), (0.4, 0.3, 0.2, 0.1), None, SYSTEM_PROMPT),
        ({k: v for k, v in conversation("dogs").items() if k != "system"}, None, None, None),
        (conversation("dogs", system=[{"text": "Other."}]), None, None, "Other."),
        (conversation("dogs", system=[{"type": "text", "text": "x"}]), None, None, "x"),
        ({"query": "dogs"}, None, None, None),
        ({"prompt": "dogs"}, None, None, None),
        ({"query": "dogs", "reference": REFERENCE}, (0.4, 0.3, 0.2, 0.1), None, None),
        ({"query": "dogs", "reference": GOOD}, (0.4, 0.3, 0.2, 0.1), None, None),
        (
            {"query": "dogs", "reference": {**REFERENCE, "reasoning": "barks"}},
            (0.4, 0.3, 0.2, 0.1),
            "barks",
            None,
        ),
    ],
)
def test_every_dialect_is_accepted(
    row: dict[str, Any],
    weights: tuple[float, ...] | None,
    reasoning: str | None,
    system: str | None,
) -> None:
    assert read(row) == PromptRecord(1, "dogs", weights, reasoning, system)


USER = {"role": "user", "content": [{"text": "dogs"}]}
ASSISTANT = {"role": "assistant", "content": [{"text": GOOD}]}


# The default system prompt makes its record too long.
_REASONED = json.dumps({**json.loads(label(0.4, 0.3, 0.2, 0.1)), "reasoning": "r" * 15_700})
WITHOUT_SYSTEM = {k: v for k, v in conversation("dogs", _REASONED).items() if k != "system"}
REJECTED: list[tuple[object, RejectReason]] = [
    (b"x" * 16_001, RejectReason.LINE_TOO_LONG),
    (WITHOUT_SYSTEM, RejectReason.LINE_TOO_LONG),
    ({"query": "q" * 4_001}, RejectReason.QUERY_TOO_LONG),
    (conversation("ü" * 2_001), RejectReason.QUERY_TOO_LONG),
    (b'{"query": "\xff"}', RejectReason.NOT_UTF8),
    (b'{"query": "\\ud800"}', RejectReason.NOT_UTF8),
    (b'{"query": "dogs"', RejectReason.INVALID_JSON),
    (b'{"query": NaN}', RejectReason.INVALID_JSON),
    (b'{"query": ' + b"[" * 65 + b"]" * 65 + b"}", RejectReason.INVALID_JSON),
    (b'{"query": "dogs", "query": "cats"}', RejectReason.DUPLICATE_KEY),
    (b'"dogs"', RejectReason.NOT_A_RECORD),
    (b"[]", RejectReason.NOT_A_RECORD),
    ({}, RejectReason.NOT_A_RECORD),
    ({"query": 7}, RejectReason.NOT_A_RECORD),
    ({"query": "dogs", "prompt": "dogs"}, RejectReason.NOT_A_RECORD),
    ({"query": "dogs", "source": "log"}, RejectReason.NOT_A_RECORD),
    ({"prompt": "dogs", "reference": REFERENCE}, RejectReason.NOT_A_RECORD),
    (conversation("dogs", source="log"), RejectReason.NOT_A_RECORD),
    (conversation("dogs", schemaVersion="2023"), RejectReason.WRONG_SCHEMA_VERSION),
    ({"messages": [USER]}, RejectReason.WRONG_SCHEMA_VERSION),
    (conversation("dogs", system=[]), RejectReason.WRONG_SYSTEM),
    (conversation("dogs", system="Return JSON"), RejectReason.WRONG_SYSTEM),
    (conversation("dogs", system=[{"text": "a"}, {"text": "b"}]), RejectReason.WRONG_SYSTEM),
    (conversation("dogs", system=[{"text": " "}]), RejectReason.WRONG_SYSTEM),
    (conversation("dogs", system=None), RejectReason.WRONG_SYSTEM),
    (conversation("dogs", messages=[]), RejectReason.WRONG_MESSAGES),
    (conversation("dogs", messages=None), RejectReason.WRONG_MESSAGES),
    (conversation("dogs", messages=[USER, ASSISTANT, USER]), RejectReason.WRONG_MESSAGES),
    (conversation("dogs", messages=[ASSISTANT]), RejectReason.WRONG_MESSAGES),
    (conversation("dogs", messages=[USER, USER]), RejectReason.WRONG_MESSAGES),
    (conversation("dogs", messages=[{**USER, "name": "x"}]), RejectReason.WRONG_MESSAGES),
    (conversation("dogs", messages=["dogs"]), RejectReason.WRONG_MESSAGES),
    (
        conversation("dogs", messages=[{"role": "user", "content": [{"image": {}}]}]),
        RejectReason.WRONG_MESSAGES,
    ),
    (
        conversation("dogs", messages=[{"role": "user", "content": [{"text": None}]}]),
        RejectReason.WRONG_MESSAGES,
    ),
    ({"query": ""}, RejectReason.BLANK_QUERY),
    ({"query": " \t\u00a0\u2003\u3000\n"}, RejectReason.BLANK_QUERY),
    (conversation(" "), RejectReason.BLANK_QUERY),
    (conversation("dogs", "visual mostly"), RejectReason.INVALID_LABEL),
    (conversation("dogs", label(0.5, 0.5, 0.5, 0.5)), RejectReason.INVALID_LABEL),
    (conversation("dogs", ""), RejectReason.INVALID_LABEL),
    (conversation("dogs", f"```json\n{GOOD}\n```"), RejectReason.INVALID_LABEL),
    (conversation("dogs", '{"visual": 1, "visual": 1}'), RejectReason.INVALID_LABEL),
    ({"query": "dogs", "reference": [0.4, 0.3, 0.2, 0.1]}, RejectReason.INVALID_LABEL),
    ({"query": "dogs", "reference": None}, RejectReason.INVALID_LABEL),
    (
        {"query": "dogs", "reference": {**REFERENCE, "reasoning": 7}},
        RejectReason.INVALID_LABEL,
    ),
]


@pytest.mark.parametrize(("row", "reason"), REJECTED)
def test_every_reason_to_reject_a_line(row: object, reason: RejectReason) -> None:
    rejected = rejection(row)

    assert rejected.reason is reason
    assert rejected.detail.endswith("."), "the cause, then the remedy"


def test_every_reason_has_a_line_above() -> None:
    assert {reason for _, reason in REJECTED} == set(RejectReason) - {RejectReason.GOLDEN}


@pytest.mark.parametrize("blank", [b"", b"  ", b"\t\r"])
def test_a_blank_line_is_neither_accepted_nor_rejected(blank: bytes) -> None:
    assert read(blank) is None


def test_a_rejection_has_location_text_and_remedy() -> None:
    lines = split_lines([b'{"query": "a"}\n', b"caf\xe9 & more\r\n"], MAX_RECORD_BYTES)

    rejected = [PromptReader(MODALITIES).read(line) for line in lines][1]

    assert isinstance(rejected, RejectedLine)
    assert json.loads(rejected_line("prompts/a.jsonl", rejected)) == {
        "file": "prompts/a.jsonl",
        "line_number": 2,
        "byte_offset": 15,
        "reason": "not_utf8",
        "detail": "not UTF-8 at byte 3. Save the file as UTF-8.",
        "text": "caf\\xe9 & more",
    }


def test_a_line_over_the_limit_keeps_its_location_but_not_its_text() -> None:
    rejected = PromptReader(MODALITIES).read(Line(3, 100, None, 20_000))

    detail = "20000 bytes, the limit is 16000. Shorten the line."
    assert rejected == RejectedLine(3, 100, RejectReason.LINE_TOO_LONG, detail, None)


@given(
    query=TEXTS.filter(lambda text: bool(text.strip())),
    weights=st.none() | st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(tuple),
    reasoning=st.none() | TEXTS,
)
def test_a_training_line_reads_back_as_the_record_it_was_made_of(
    query: str, weights: tuple[float, ...] | None, reasoning: str | None
) -> None:
    weights = None if weights is None else normalise(weights)
    reasoning = None if weights is None else reasoning

    raw = training_line(query, SYSTEM_PROMPT, MODALITIES, weights, reasoning)

    assert raw.count(b"\n") == 1
    assert read(raw[:-1]) == PromptRecord(1, query, weights, reasoning, SYSTEM_PROMPT)


@given(TEXTS, st.sampled_from(['"', "\\", "\n", "\x00", "/", "é", "\N{GRINNING FACE}"]))
def test_no_accepted_line_makes_a_training_line_over_the_limit(text: str, filler: str) -> None:
    reference = {**REFERENCE, "reasoning": text + filler * 3_900}
    record = read({"query": "dogs", "reference": reference})

    if isinstance(record, RejectedLine):
        assert record.reason is RejectReason.LINE_TOO_LONG
    else:
        assert record is not None
        line = training_line(
            record.query, SYSTEM_PROMPT, MODALITIES, record.weights, record.reasoning
        )
        assert len(line) - 1 <= MAX_RECORD_BYTES


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dogs  barking", " dogs barking "),
        ("café", "cafe\u0301"),
        ("a\u00a0b", "a b"),
    ],
)
def test_a_fingerprint_ignores_composition_and_white_space(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


@given(st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=20))
def test_the_ascii_short_cut_agrees_with_the_long_way(text: str) -> None:
    assert fingerprint(text) == fingerprint(f"{text}\u00a0")


def test_a_fingerprint_keeps_case() -> None:
    assert fingerprint("Friends") != fingerprint("friends")


@given(TEXTS, TEXTS)
def test_different_words_have_different_fingerprints(one: str, other: str) -> None:
    if one.split() != other.split() and one.isascii() and other.isascii():
        assert fingerprint(one) != fingerprint(other)
    assert len(fingerprint(one)) == 16

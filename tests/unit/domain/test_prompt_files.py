"""Whole prompt files: one pass, any chunks, and a manifest that says what a person must know."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake import IntakeBuilder, Selection
from search_router.domain.prompt_files import manifest, survey_prompts
from search_router.domain.prompts import RejectedLine
from search_router.domain.uploads import ObjectRef
from tests.records import MODALITIES, SYSTEM_PROMPT, conversation, jsonl, label

BOM = b"\xef\xbb\xbf"
GOOD = jsonl([conversation(f"query {n}", label(0.4, 0.3, 0.2, 0.1)) for n in range(3)])


def read(chunks: list[bytes], *, packed: bool = False) -> tuple[Selection, list[RejectedLine]]:
    builder = IntakeBuilder(MODALITIES, SYSTEM_PROMPT, 0.1)
    rejected = list(survey_prompts(chunks, packed, builder, MODALITIES))
    return builder.select(), rejected


@given(
    st.lists(st.sampled_from([GOOD, b"broken\n", b"\n", b"\r\n", BOM, b"x" * 16_001 + b"\n"])),
    st.sampled_from([1, 2, 3, 1_000]),
    st.booleans(),
)
def test_any_chunks_packed_or_not_give_the_same_intake(
    pieces: list[bytes], size: int, packed: bool
) -> None:
    body = BOM + b"".join(pieces)
    sent = gzip.compress(body) if packed else body
    chunks = [sent[start : start + size] for start in range(0, len(sent), size)]

    intake, rejected = read(chunks, packed=packed)
    expected, expected_rejected = read([body])

    assert intake == expected
    assert rejected == expected_rejected
    assert intake.counts.rejected == len(rejected)
    for line in rejected:
        there = body[line.byte_offset :].removeprefix(b"" if line.byte_offset else BOM)
        assert line.text is None or there.startswith(line.text.encode())


def test_a_mark_is_only_dropped_where_the_file_begins() -> None:
    intake, rejected = read([BOM + GOOD + BOM + GOOD])

    assert (intake.counts.accepted, [line.line_number for line in rejected]) == (5, [4])


def test_damage_far_into_a_file_refuses_the_file_after_its_good_lines() -> None:
    builder = IntakeBuilder(MODALITIES, SYSTEM_PROMPT, 0.1)

    with pytest.raises(InvalidInputError, match="truncated"):
        list(survey_prompts([gzip.compress(GOOD)[:-4]], True, builder, MODALITIES))


def test_the_manifest_adds_up_and_is_json() -> None:
    intake, _ = read([GOOD + b"broken\n"])

    described = json.loads(json.dumps(manifest(intake, ObjectRef("b", "k", "v"), "0" * 64)))

    assert described["source"] == {"bucket": "b", "key": "k", "version_id": "v"}
    assert (described["counts"]["rows_in"], described["counts"]["accepted"]) == (4, 3)
    assert "Bedrock needs at least 100" in described["refusal"]
    assert described["modalities"] == list(MODALITIES)
    assert sum(described["balance"].values()) == described["counts"]["training"]

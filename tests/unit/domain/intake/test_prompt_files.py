"""Whole prompt files: one pass, any chunks, and a manifest that says what a person must know."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.datasets import DatasetFile
from search_router.domain.intake.manifests import manifest
from search_router.domain.intake.prompt_files import PromptFile, select, survey
from search_router.domain.intake.prompts import RejectedLine
from search_router.domain.intake.selection import IntakeBuilder, IntakeRules, Selection
from search_router.domain.uploads import ObjectRef
from tests.records import MODALITIES, conversation, gzipped, jsonl, label

BOM = b"\xef\xbb\xbf"
GOOD = jsonl([conversation(f"query {n}", label(0.4, 0.3, 0.2, 0.1)) for n in range(3)])


RULES = IntakeRules(MODALITIES, 0.1)


def a_file(chunks: list[bytes], *, packed: bool = False, name: str = "a.jsonl") -> PromptFile:
    return PromptFile(name, packed, lambda: chunks)


def read(*files: PromptFile) -> tuple[Selection, list[RejectedLine]]:
    builder = IntakeBuilder(RULES)
    rejected = [line for _, line in survey(files, builder)]
    return select(files, builder)[0], rejected


@given(
    st.lists(st.sampled_from([GOOD, b"broken\n", b"\n", b"\r\n", BOM, b"x" * 16_001 + b"\n"])),
    st.sampled_from([1, 2, 3, 1_000]),
    st.booleans(),
)
def test_any_chunks_packed_or_not_give_the_same_intake(
    pieces: list[bytes], size: int, packed: bool
) -> None:
    body = BOM + b"".join(pieces)
    sent = gzipped(body) if packed else body
    chunks = [sent[start : start + size] for start in range(0, len(sent), size)]

    intake, rejected = read(a_file(chunks, packed=packed))
    expected, expected_rejected = read(a_file([body]))

    assert intake == expected
    assert rejected == expected_rejected
    assert intake.counts.rejected == len(rejected)
    for line in rejected:
        there = body[line.byte_offset :].removeprefix(b"" if line.byte_offset else BOM)
        assert line.text is None or there.startswith(line.text.encode())


def test_a_mark_is_only_dropped_where_the_file_begins() -> None:
    intake, rejected = read(a_file([BOM + GOOD + BOM + GOOD]))

    assert (intake.counts.accepted, [line.line_number for line in rejected]) == (5, [4])


def test_damage_far_into_a_file_refuses_the_file_after_its_good_lines() -> None:
    with pytest.raises(InvalidInputError, match="truncated"):
        read(a_file([gzipped(GOOD)[:-4]], packed=True))


def test_the_manifest_adds_up_and_is_json() -> None:
    intake, _ = read(a_file([GOOD + b"broken\n"]))
    file = DatasetFile(key="k", version_id="v", size=7)

    described = json.loads(json.dumps(manifest(intake, ObjectRef("b", "k", "v"), [file], "0" * 64)))

    assert described["source"] == {"bucket": "b", "key": "k", "version_id": "v"}
    assert described["files"] == [
        {"key": "k", "version_id": "v", "size": 7, "rows_in": 4, "rejected": 1}
    ]
    assert (described["counts"]["rows_in"], described["counts"]["accepted"]) == (4, 3)
    assert "Bedrock needs at least 100" in described["refusal"]
    assert described["modalities"] == list(MODALITIES)
    assert sum(described["balance"].values()) == described["counts"]["training"]

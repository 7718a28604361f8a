"""Whole prompt files: any chunks, byte order marks, damaged files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.prompt_files import PromptFile, select_rows
from search_router.domain.intake.prompts import RejectedLine
from search_router.domain.intake.selection import IntakeRules, Selection
from tests.records import MODALITIES, conversation, gzipped, jsonl, label

BOM = b"\xef\xbb\xbf"
GOOD = jsonl([conversation(f"query {n}", label(0.4, 0.3, 0.2, 0.1)) for n in range(3)])


RULES = IntakeRules(MODALITIES, 0.1)


def a_file(chunks: list[bytes], *, name: str = "a.jsonl") -> PromptFile:
    return PromptFile(name, lambda: chunks)


def read(*files: PromptFile) -> tuple[Selection, list[RejectedLine]]:
    rejected: list[RejectedLine] = []
    selection = select_rows(files, RULES, lambda _file, line: rejected.append(line))
    return selection, rejected


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

    intake, rejected = read(a_file(chunks))
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


def test_damage_far_into_a_file_rejects_the_file_after_its_good_lines() -> None:
    with pytest.raises(InvalidInputError, match="truncated"):
        read(a_file([gzipped(GOOD)[:-4]]))

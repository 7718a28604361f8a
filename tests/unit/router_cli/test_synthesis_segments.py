"""The generated catalogue: valid rows, the same for the same seed, with answers to its queries."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from router_cli import synthesis
from router_cli.__main__ import main
from search_router.domain.search.segments import SegmentRow, read_segment
from search_router.domain.streams import Line
from tests.records import MODALITIES, jsonl

ROWS = list(synthesis.segment_rows(20_261_120, 300))  # as in the demo


def test_every_row_is_a_valid_segment() -> None:
    offset = 0
    for row in ROWS:
        data = jsonl([row]).rstrip(b"\n")
        read = read_segment(Line(1, offset, data, len(data)), MODALITIES, 4)
        assert isinstance(read, SegmentRow), read
        assert read.segment is not None
        assert read.segment.texts["metadata"]
        offset += len(data) + 1
    assert len({row["segment_id"] for row in ROWS}) == len(ROWS)


def test_segments_of_a_video_follow_each_other_and_share_attributes() -> None:
    for before, after in pairwise(ROWS):
        if before["video_id"] == after["video_id"]:
            assert before["end"] == after["start"] < after["end"]
            assert before["attributes"] == after["attributes"]
        else:
            assert after["start"] == 0


def test_the_same_seed_gives_the_same_rows() -> None:
    assert list(synthesis.segment_rows(20_261_120, 300)) == ROWS
    assert list(synthesis.segment_rows(4, 300)) != ROWS


@pytest.mark.parametrize(
    ("modality", "words"),
    [
        ("visual", "juggling oranges"),
        ("audio", "hum of a chainsaw"),
        ("transcription", "about night trains"),
    ],
)
def test_the_example_queries_have_answers(modality: str, words: str) -> None:
    assert words in synthesis.EXAMPLE_QUERIES[modality]
    assert any(words in row["texts"].get(modality, "") for row in ROWS)


@pytest.mark.parametrize("word", ["juggling oranges", "chainsaw", "goalkeeper", "Orbit TV"])
def test_words_of_the_example_queries_occur_in_several_modalities(word: str) -> None:
    modalities = {m for row in ROWS for m, text in row["texts"].items() if word in text}
    modalities |= {"metadata" for row in ROWS if word in row["attributes"]["channel"]}

    assert len(modalities) > 1


def test_the_verb_writes_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "segments.jsonl"

    assert (
        main(["generate", "segments", "--count", "9", "--seed", "20261120", "--out", str(out)]) == 0
    )

    assert [json.loads(line) for line in out.read_text("utf-8").splitlines()] == ROWS[:9]
    assert "9 rows written" in capsys.readouterr().err

"""The quick reader of usual lines says nothing that the strict reader would not say."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from search_router.domain import prompts
from search_router.domain.lines import Line
from search_router.domain.prompts import PromptRecord, canonical_record, read_record
from tests.records import MODALITIES, conversation, label

LABELS = [
    None,
    label(0.4, 0.3, 0.2, 0.1),
    label(0.33, 0.33, 0.33, 0.01),
    label(1, 0, 0, 0),
    '{"visual": 0.4, "audio": 0.3, "transcription": 0.2, "metadata": 0.1, "reasoning": "b\\u00e9"}',
    '{"reasoning": "first", "visual": 0.4, "audio": 0.3, "transcription": 0.2, "metadata": 0.1}',
    '{"visual": 0.4, "audio": 0.3, "transcription": 0.2, "metadata": 0.1, "reasoning": 7}',
    '{"visual": 0.4, "audio": 0.3, "visual": 0.3, "transcription": 0.2, "metadata": 0.1}',
    '{"visual": NaN, "audio": 0.3, "transcription": 0.2, "metadata": 0.1}',
    '{"visual": 0.9, "audio": 0.3, "transcription": 0.2, "metadata": 0.1}',
    ' {"visual": 0.4, "audio": 0.3, "transcription": 0.2, "metadata": 0.1} ',
]
QUERIES = st.sampled_from(["dogs", " ", "", 'a "quoted" \\ query', "São\u2028Paulo", "\x00", "😀"])
CHARACTERS = list(b'{}[]",: \\u08dD\n\x00\xff')


def strictly(line: Line) -> PromptRecord | None:
    """What the reader says without its quick way."""
    quick = prompts.canonical_record
    try:
        prompts.canonical_record = lambda *_: None
        record = read_record(line, MODALITIES)
    finally:
        prompts.canonical_record = quick
    return record if isinstance(record, PromptRecord) else None


@st.composite
def usual_lines(draw: st.DrawFn) -> bytes:
    """Lines as `json.dumps` writes them, some of them damaged in one place."""
    record: dict[str, Any] = conversation(
        draw(QUERIES | st.text(max_size=20)), draw(st.sampled_from(LABELS))
    )
    if draw(st.booleans()):
        del record["system"]
    separators = draw(st.sampled_from([(", ", ": "), (",", ":")]))
    text = json.dumps(record, ensure_ascii=draw(st.booleans()), separators=separators)
    data = bytearray(text.encode("utf-8", errors="surrogatepass"))
    if draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.sampled_from(CHARACTERS))
    return bytes(data)


@given(usual_lines())
@example(json.dumps(conversation("\ud800")).encode())
@example(json.dumps(conversation("x" * 9_000)).encode())
def test_whatever_it_accepts_the_strict_reader_reads_the_same(data: bytes) -> None:
    record = canonical_record(1, data, MODALITIES)

    assert record is None or record == strictly(Line(1, 0, data, len(data)))


def test_it_accepts_what_is_usual() -> None:
    accepted = [
        canonical_record(1, json.dumps(conversation("dogs", text)).encode(), MODALITIES)
        for text in LABELS[:5]
    ]

    assert all(accepted)
    assert [record.reasoning for record in accepted if record] == [None, None, None, None, "bé"]

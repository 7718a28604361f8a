"""The quick reader of usual lines says nothing that the strict reader would not say."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_router.domain.intake import prompt_reader
from search_router.domain.intake.prompt_reader import PromptReader
from search_router.domain.intake.prompts import PromptRecord, read_strictly
from search_router.domain.streams import Line
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


def line_of(data: bytes) -> Line:
    return Line(1, 0, data, len(data))


@given(st.lists(usual_lines(), min_size=1, max_size=6))
@example([json.dumps(conversation("\ud800")).encode()])
@example([json.dumps(conversation("x" * 9_000)).encode()])
def test_every_line_is_read_as_the_strict_reader_reads_it(lines: list[bytes]) -> None:
    """Whatever came before: the reader remembers how the last usual line was framed."""
    reader = PromptReader(MODALITIES)
    reader.read(line_of(json.dumps(conversation("cats", LABELS[4])).encode()))

    for data in lines:
        assert reader.read(line_of(data)) == read_strictly(line_of(data), MODALITIES)


FRAMED = json.dumps(conversation("a QUERY", label(0.4, 0.3, 0.2, 0.1)[:-1] + "END")).encode()
REASONING = b'\\"reasoning\\": \\"'
PIECES = st.sampled_from(
    [
        b"dogs",
        b'"',
        b"\\",
        b'\\"',
        b"}",
        b", ",
        REASONING,
        b"\x00",
        b"\xff",
        b"\\ud83d",
    ]
)


@given(st.lists(PIECES, max_size=6).map(b"".join), st.lists(PIECES, max_size=6).map(b"".join))
@example(b"dogs", b', \\"reasoning\\": \\"because\\"}')
@example(b"dogs", b"}")
def test_whatever_stands_in_a_known_frame_is_read_strictly(query: bytes, end: bytes) -> None:
    reader = PromptReader(MODALITIES)
    reader.read(line_of(json.dumps(conversation("cats", LABELS[1])).encode()))
    data = FRAMED.replace(b"a QUERY", query).replace(b"END", end)

    assert reader.read(line_of(data)) == read_strictly(line_of(data), MODALITIES)


def test_what_is_usual_takes_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_reader, "read_strictly", lambda *_: pytest.fail("the slow way"))
    reader = PromptReader(MODALITIES)

    records = [
        reader.read(line_of(json.dumps(conversation(query, text)).encode()))
        for text in LABELS[:5]
        for query in ("dogs", 'a "quoted" \\ query', "Zürich")
    ]

    assert len([record for record in records if isinstance(record, PromptRecord)]) == 15


@pytest.mark.parametrize("escapes", [True, False])
def test_a_known_frame_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch, escapes: bool) -> None:
    reader = PromptReader(MODALITIES)
    text = label(0.4, 0.3, 0.2, 0.1)
    first, second = (
        json.dumps(conversation(query, text), ensure_ascii=escapes).encode()
        for query in ("dogs", 'the "second" one')
    )
    reader.read(line_of(first))
    monkeypatch.setattr(prompt_reader, "_CANONICAL", None)

    record = reader.read(line_of(second))

    assert isinstance(record, PromptRecord)
    assert (record.query, record.weights) == ('the "second" one', (0.4, 0.3, 0.2, 0.1))

"""Query logs: every row in exactly one split, wherever the cuts fall, and what a row may be."""

import json
import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_router.domain import query_logs
from search_router.domain.errors import InvalidInputError
from search_router.domain.lines import Line
from search_router.domain.query_logs import (
    LOG_PREDECESSORS,
    MAX_ROW_BYTES,
    MAX_SPLIT_BYTES,
    MIN_SPLIT_BYTES,
    Dialect,
    LogFormat,
    LogPlan,
    LogRow,
    LogState,
    RejectedRow,
    SplitMessage,
    detect_dialect,
    plan_splits,
    read_row,
    read_split,
    rejected_row,
    split_messages,
)
from tests.records import JSONL, TEXT, jsonl

ROW_LIMIT = 40
BOM = b"\xef\xbb\xbf"
PIECES = [
    b'{"query":"dogs"}',
    '{"query":"caf\u00e9 \N{GRINNING FACE}"}'.encode(),
    b"\xc3",
    b"not json",
    b"x" * (ROW_LIMIT + 1),
    b"y" * 200,
    b"\n",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b" ",
]
BODIES = st.tuples(st.sampled_from([b"", BOM]), st.lists(st.sampled_from(PIECES), max_size=14)).map(
    lambda parts: parts[0] + b"".join(parts[1])
)


def rows_of(body: bytes, cuts: list[int], dialect: Dialect) -> list[LogRow | RejectedRow]:
    """Read a body split by split, each with only the bytes that a worker fetches."""
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    rows: list[LogRow | RejectedRow] = []
    for start, end in pairwise(places):
        fetched = body[max(0, start - 1) : end + ROW_LIMIT + 1]
        chunks = [fetched[place : place + 7] for place in range(0, len(fetched), 7)]
        rows.extend(read_split(chunks, start, end, dialect))
    return rows


@given(BODIES, st.lists(st.integers(0, 400), max_size=8), st.sampled_from([JSONL, TEXT]))
@example(b"a" * ROW_LIMIT + b"\r\nb\r\n", [1, 2, 40, 41, 42, 43], TEXT)
@example(b"a\n" + b"b" * ROW_LIMIT + b"\r\nc", [2, 3], TEXT)
@example(b"a\n" + b"b" * 300 + b"\nc", [3, 50, 100, 150, 301, 302, 303], TEXT)
@example(b"\xc3\xa9\xc3\xa9\n\xc3\xa9", [1, 2, 3, 4, 5, 6], TEXT)
@example(BOM + b"dogs\n", [1, 2, 3, 4, 7], TEXT)
def test_every_row_is_in_exactly_one_split(body: bytes, cuts: list[int], dialect: Dialect) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query_logs, "MAX_ROW_BYTES", ROW_LIMIT)

        assert rows_of(body, cuts, dialect) == rows_of(body, [], dialect)


def test_every_single_byte_may_be_a_split_of_its_own() -> None:
    body = BOM + b'{"query":"a"}\r\n\r\n\n{"query":"\xc3\xa9"}\nbroken\n{"query":"b"}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query_logs, "MAX_ROW_BYTES", ROW_LIMIT)

        rows = rows_of(body, list(range(len(body))), JSONL)

    assert [row.byte_offset for row in rows] == [0, 21, 36, 43]
    assert [row.query for row in rows if isinstance(row, LogRow)] == ["a", "é", "b"]


@given(
    size=st.integers(1, 3 * 10**7),
    row_bytes=st.integers(2, 5_000),
    requests_per_minute=st.integers(1, 100_000),
    workers=st.integers(1, 50),
)
@example(size=1, row_bytes=100, requests_per_minute=1_600, workers=50)
def test_a_plan_covers_the_log_without_gap_or_overlap(
    size: int, row_bytes: int, requests_per_minute: int, workers: int
) -> None:
    sample = (b"x" * (row_bytes - 1) + b"\n") * (10_000 // row_bytes + 1)

    split_bytes, splits = plan_splits(size, sample, requests_per_minute, workers)

    messages = list(split_messages(a_plan(size=size, split_bytes=split_bytes, splits=splits)))
    assert [message.split for message in messages] == list(range(splits))
    assert (messages[0].start, messages[-1].end) == (0, size)
    assert all(one.end == other.start for one, other in pairwise(messages))
    share = 0.5 * 15 * requests_per_minute / workers * row_bytes
    limit = min(MAX_SPLIT_BYTES, max(MIN_SPLIT_BYTES, math.floor(share)))
    assert all(0 < message.end - message.start <= limit for message in messages)


def test_a_split_takes_half_of_what_a_worker_may_ask_in_its_time() -> None:
    sample = b"x" * 79 + b"\n"

    assert plan_splits(10**9, sample, 1_600, 2)[0] == pytest.approx(6_000 * 80, rel=0.001)
    assert plan_splits(10**9, sample, 100_000, 2)[0] <= MAX_SPLIT_BYTES
    assert plan_splits(10**9, sample, 1, 50)[0] == pytest.approx(MIN_SPLIT_BYTES, rel=0.001)


def test_a_small_log_is_spread_over_the_workers_but_not_into_crumbs() -> None:
    sample = b"x" * 79 + b"\n"

    assert plan_splits(200_000, sample, 1_600, 2) == (100_000, 2)
    assert plan_splits(MIN_SPLIT_BYTES, sample, 1_600, 2) == (MIN_SPLIT_BYTES, 1)
    assert plan_splits(1, b"x", 1_600, 2) == (1, 1)


def test_the_same_plan_gives_the_same_messages_and_never_the_text() -> None:
    plan = a_plan(size=100, split_bytes=34, splits=3)

    assert list(split_messages(plan)) == list(split_messages(plan))
    assert [(m.start, m.end) for m in split_messages(plan)] == [(0, 34), (34, 68), (68, 100)]
    assert all(message.source == plan.source for message in split_messages(plan))
    assert all(len(message.model_dump_json()) < 512 for message in split_messages(plan))


def a_plan(**changes: int) -> LogPlan:
    plan = LogPlan(
        log_id="log-0123456789ab",
        bucket="uploads",
        key="query-logs/a.jsonl",
        version_id="v1",
        size=0,
        dialect=JSONL,
        champion_version=1,
        split_bytes=1,
        splits=1,
    )
    return plan.model_copy(update=changes)


@pytest.mark.parametrize(
    ("key", "sample", "found"),
    [
        ("a.txt", b'{"query": "dogs"}', (LogFormat.TEXT, "query")),
        ("a.jsonl", b'{"query": "dogs"}\n', (LogFormat.JSONL, "query")),
        ("a.jsonl", b'{"ts": 1, "q": "dogs"}', (LogFormat.JSONL, "q")),
        ("a.jsonl", b'{"q": "x", "query": "y"}', (LogFormat.JSONL, "query")),
        ("a.jsonl", b'{"query": 7, "user_query": "y"}', (LogFormat.JSONL, "user_query")),
        ("a.jsonl", BOM + b'{"search_query": "x"}\r\n', (LogFormat.JSONL, "search_query")),
        ("a.jsonl", b'\n \nbroken\n[]\n{"url_query":"x"}', (LogFormat.JSONL, "url_query")),
        ("a.jsonl", b'{"query": "x"}\n{"query": "cut of', (LogFormat.JSONL, "query")),
    ],
)
def test_the_dialect_is_found_from_the_key_and_the_first_rows(
    key: str, sample: bytes, found: tuple[LogFormat, str]
) -> None:
    assert detect_dialect(key, sample) == Dialect(format=found[0], query_field=found[1])


@pytest.mark.parametrize("sample", [b"", b"dogs\ncats\n", b'{"text": "dogs"}', b'{"query": null}'])
def test_a_log_without_a_query_field_is_refused_with_what_was_looked_for(sample: bytes) -> None:
    with pytest.raises(InvalidInputError, match="looked for query, q, user_query"):
        detect_dialect("a.jsonl", sample)


@pytest.mark.parametrize(
    ("data", "dialect", "reason"),
    [
        (b'{"query": ', JSONL, "Expecting value"),
        (b'"dogs"', JSONL, "not a JSON object"),
        (b'{"q": "dogs"}', JSONL, "no query text"),
        (b'{"query": ["dogs"]}', JSONL, "no query text"),
        (b'{"query": " \\u00a0 "}', JSONL, "the query is blank"),
        (b'{"query": "a", "query": "b"}', JSONL, "names a key twice"),
        (b'{"query": "\\ud800"}', JSONL, "half of a surrogate pair"),
        (b'{"query": "\xff"}', JSONL, "not UTF-8 at byte 11"),
        (jsonl([{"query": "q" * 4_001}])[:-1], JSONL, "longer than 4000 bytes"),
        (jsonl([{"query": "é" * 2_001}])[:-1], JSONL, "longer than 4000 bytes"),
        (b"caf\xe9", TEXT, "not UTF-8 at byte 3"),
        (b"q" * 4_001, TEXT, "longer than 4000 bytes"),
        ("\u3000".encode(), TEXT, "the query is blank"),
    ],
)
def test_a_row_without_a_usable_query_is_rejected_with_its_text_but_no_quote(
    data: bytes, dialect: Dialect, reason: str
) -> None:
    row = read_row(Line(2, 77, data, len(data)), dialect)

    assert isinstance(row, RejectedRow)
    assert reason in row.reason
    assert row.byte_offset == 77
    assert row.text == data.decode("utf-8", errors="backslashreplace")
    assert json.loads(rejected_row(row)) == row._asdict()


def test_a_row_over_the_limit_is_rejected_without_its_text() -> None:
    row = read_row(Line(1, 5, None, 10**6), JSONL)

    assert row == RejectedRow(5, "longer than 65536 bytes", None)
    assert json.loads(rejected_row(RejectedRow(5, "x", None)))["text"] is None


def test_a_query_of_the_greatest_length_is_accepted_and_all_columns_are_kept() -> None:
    columns = {"query": "q" * 4_000, "ts": 1.5, "user": None, "tags": ["a", {"b": True}]}
    data = jsonl([columns])[:-1]

    assert read_row(Line(1, 0, data, len(data)), JSONL) == LogRow(0, "q" * 4_000, columns)


def test_only_the_very_first_row_may_start_with_a_byte_order_mark() -> None:
    data = BOM + b'{"query": "dogs"}'

    assert isinstance(read_row(Line(1, 0, data, len(data)), JSONL), LogRow)
    assert isinstance(read_row(Line(2, 50, data, len(data)), JSONL), RejectedRow)
    assert read_row(Line(1, 0, BOM, 3), TEXT) is None


def test_a_log_only_moves_forward_and_its_end_is_the_end() -> None:
    moves = {(before, after) for after, all_of in LOG_PREDECESSORS.items() for before in all_of}

    assert moves == {
        (LogState.PLANNED, LogState.ROUTING),
        (LogState.PLANNED, LogState.ROUTED),
        (LogState.ROUTING, LogState.ROUTED),
        (LogState.PLANNED, LogState.FAILED),
        (LogState.ROUTING, LogState.FAILED),
    }


def test_a_message_that_newer_code_sent_can_be_read_after_a_rollback() -> None:
    [message] = split_messages(a_plan(size=1))
    newer = {**message.model_dump(mode="json"), "added_later": 1}

    assert SplitMessage.model_validate(newer) == message


def test_a_row_may_be_as_long_as_a_sample_at_least() -> None:
    assert query_logs.SAMPLE_BYTES >= MAX_ROW_BYTES

"""Query logs: exact counts of distinct queries, a Zipf head, known and unknown queries mixed."""

import hashlib
import json
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_cli.synthesis import (
    query_log_rows,
    record_query,
    training_records,
    write_jsonl,
)
from router_cli.synthesis.draws import Draw, Rotation, zipf_positions
from search_router.domain.errors import InvalidInputError
from search_router.domain.queries import fingerprint


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(), rows=st.integers(0, 400), distinct=st.integers(1, 120))
def test_a_log_has_exactly_the_rows_and_distinct_queries_asked_for(
    seed: int, rows: int, distinct: int
) -> None:
    log = list(query_log_rows(seed, rows, distinct))
    assert len(log) == rows
    assert len({row["query_id"] for row in log}) == rows
    assert len({fingerprint(row["query"]) for row in log}) == min(rows, distinct)


def test_20000_rows_of_1500_queries_have_a_zipf_head_and_long_tail() -> None:
    counts = Counter(row["query"] for row in query_log_rows(1, 20_000, 1_500))
    popular = [count for _, count in counts.most_common()]
    assert len(popular) == 1_500
    assert 0.50 < sum(popular[:75]) / 20_000 < 0.65  # 18,500 * H(75)/H(1500) + 75 = 0.58
    assert 1.7 < popular[0] / popular[1] < 2.3
    assert 2.4 < popular[0] / popular[2] < 3.7


def test_known_held_out_and_new_queries_are_mixed_as_asked() -> None:
    # GIVEN a training set
    trained = [record_query(record) for record in training_records(1, 1_000)]
    known = {fingerprint(query) for query in trained}

    # WHEN a log draws half of its queries from it
    log = list(query_log_rows(1, 5_000, 400, known=trained, known_share=0.5, held_out_share=0.25))

    # THEN exactly half of the queries are known, in the head and in the tail
    ranked = [query for query, _ in Counter(row["query"] for row in log).most_common()]
    is_known = [fingerprint(query) in known for query in ranked]
    assert sum(is_known) == 200
    assert 25 < sum(is_known[:100]) < 75


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 120)])
def test_a_log_can_be_all_new_or_all_known(share: float, expected: int) -> None:
    trained = [record_query(record) for record in training_records(1, 300)]
    log = query_log_rows(2, 500, 120, known=trained, known_share=share, held_out_share=0.0)
    assert sum(query in set(trained) for query in {row["query"] for row in log}) == expected


def test_new_queries_replace_missing_known_ones() -> None:
    log = query_log_rows(
        1, 300, 100, known=["a query", "A  QUERY", "another"], known_share=1.0, held_out_share=0.0
    )
    queries = {row["query"] for row in log}
    assert len(queries) == 100
    assert {"a query", "another"} <= queries


def test_rows_hold_an_id_a_query_and_mostly_a_locale() -> None:
    log = list(query_log_rows(1, 2_000, 50))
    assert {tuple(row) for row in log} == {
        ("query_id", "query", "user_locale"),
        ("query_id", "query"),
    }
    assert 0.08 < sum("user_locale" not in row for row in log) / 2_000 < 0.17


@pytest.mark.parametrize(
    ("rows", "distinct", "known_share", "message"),
    [
        (-1, 5, 0.5, "rows is negative"),
        (5, -1, 0.5, "distinct is negative"),
        (5, 0, 0.5, "at least one distinct query"),
        (5, 5, 0.95, "sum to at most 1"),
        (5, 5, -0.1, "sum to at most 1"),
        (5, 5, float("nan"), "sum to at most 1"),
    ],
)
def test_impossible_logs_are_rejected_before_the_first_row(
    rows: int, distinct: int, known_share: float, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        query_log_rows(1, rows, distinct, known_share=known_share)


def test_logs_are_the_same_bytes_on_every_python(tmp_path: Path) -> None:
    trained = [record_query(record) for record in training_records(2024, 500)]
    rows = query_log_rows(2024, 3_000, 400, known=trained)
    assert write_jsonl(tmp_path / "log.jsonl", rows) == 3_000
    data = (tmp_path / "log.jsonl").read_bytes()
    assert (
        hashlib.sha256(data).hexdigest()
        == "74d8a3c72cc7c070b26d928f47a1f70ebb4670acf7d6ef1dcf5dc9d94cee2893"
    )


def test_written_lines_are_utf8_and_one_row_each(tmp_path: Path) -> None:
    rows = [{"query": "京都 夜景\u2028next"}, {"query": 'a "b"\n'}]
    assert write_jsonl(tmp_path / "rows.jsonl", rows) == 2
    lines = (tmp_path / "rows.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line) for line in lines] == rows
    assert "京都".encode() in lines[0]


def test_generation_is_fast() -> None:
    start = time.process_time()
    trained = [record_query(record) for record in training_records(1, 2_000)]
    assert sum(1 for _ in query_log_rows(1, 20_000, 1_500, known=trained)) == 20_000
    assert time.process_time() - start < 1.0  # measured 0.15 s; the target is 0.5 s


@given(seed=st.integers(), count=st.integers(1, 200), distinct=st.integers(1, 60))
def test_zipf_positions_cover_every_position(seed: int, count: int, distinct: int) -> None:
    distinct = min(count, distinct)
    positions = list(zipf_positions(Draw(seed, "test"), count, distinct))
    assert len(positions) == count
    assert set(positions) == set(range(distinct))


@given(seed=st.integers(), size=st.integers(1, 30), rounds=st.integers(1, 5))
def test_a_rotation_returns_every_item_once_per_round(seed: int, size: int, rounds: int) -> None:
    rotation = Rotation(range(size), Draw(seed, "test"))
    for _ in range(rounds):
        assert sorted(rotation.deal() for _ in range(size)) == list(range(size))


def test_streams_and_seeds_are_independent() -> None:
    starts = {Draw(seed, stream).fraction() for seed in (-1, 0, 1) for stream in ("a", "b")}
    assert len(starts) == 6

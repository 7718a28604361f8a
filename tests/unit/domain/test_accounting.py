"""Accounting starts at zero, and samples have the size that they say."""

import gzip
import json
import random

from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.intake.selection import IntakeBuilder, IntakeRules
from search_router.domain.lifecycle.judging import (
    METRIC,
    RATINGS,
    JudgeJob,
    judged,
    on_our_scale,
    read_grades,
)
from search_router.domain.lifecycle.teacher import teacher_prompt
from search_router.domain.logs.results import (
    PartBuilder,
    PartStats,
    bucket_latency,
    latency_bucket,
)
from search_router.domain.splits.plan import plan_splits
from search_router.domain.streams import gunzip
from search_router.measurements import LATENCY_VALUES
from search_router.use_cases.log_parts import MAX_ABSTAINED
from tests.records import MODALITIES


def test_a_part_without_rows_counts_nothing() -> None:
    marker = PartBuilder("log-0123456789ab", MODALITIES).marker(0)

    assert not any(value for value in PartStats().model_dump().values())
    assert (marker.rows, marker.size) == (0, 0)
    assert (marker.stats.rows_in, marker.stats.interrupted, marker.stats.cost_usd) == (0, 0, 0)


def test_the_shortest_latency_is_one_millisecond() -> None:
    assert bucket_latency(latency_bucket(0)) == 1.0
    assert bucket_latency(latency_bucket(1)) == 1.0
    assert bucket_latency(latency_bucket(2)) == 1.9  # 1.1 ** 7


def test_a_rejection_shows_20_lines() -> None:
    builder = IntakeBuilder(IntakeRules(MODALITIES, 0.1))
    builder.begin("")
    records = {n: PromptRecord(n, f"query {n}", None, None, f"prompt {n}") for n in range(1, 22)}
    for n, record in records.items():
        builder.add(record, n)

    rejection = builder.select(lambda chosen: ((n, records[n]) for n in chosen)).rejection

    lines = ", ".join(f"line {n}" for n in range(1, 21))
    assert f"first seen at {lines}. Use" in rejection


def test_samples_and_scales_have_their_sizes() -> None:
    assert LATENCY_VALUES == 50, "CloudWatch takes at most 100 values of a metric in a line"
    assert MAX_ABSTAINED == 500
    assert [value for value, _ in RATINGS] == [5, 4, 3, 2, 1]


def test_a_split_has_at_most_2_mib() -> None:
    size, splits = plan_splits(10**9, 80, 375_000, 2)

    assert 2 * 1024 * 1024 - 5_000 < size <= 2 * 1024 * 1024
    assert size * splits >= 10**9


def test_a_packed_file_may_refer_back_32_kib() -> None:
    block = random.Random(7).randbytes(31 * 1024)  # noqa: S311
    packed = gzip.compress(block * 2, mtime=0)
    assert len(packed) < 1.1 * len(block)

    assert b"".join(gunzip([packed], 10**6)) == block * 2


def graded(*grades: float) -> bytes:
    scores = [{"metricName": METRIC, "result": grade} for grade in grades]
    return json.dumps({"automatedEvaluationResult": {"scores": scores}}).encode()


def test_a_grade_that_cannot_be_read_loses_no_other() -> None:
    lines = [graded(4), b"no JSON", graded(1), b"{}", graded(5), graded(3)]

    assert read_grades(lines) == [4, 1, 5, 3]


def test_grades_outside_both_scales_are_no_grades() -> None:
    assert on_our_scale([4, 0.99]) == on_our_scale([5, 5.01]) == on_our_scale([1, 1]) == []
    assert on_our_scale([0, 0.75, 1]) == [1, 4, 5]


def test_grades_are_counted_against_what_was_asked() -> None:
    job = JudgeJob(name="candidate", judge="judge", folder="runs/run-1/judge", asked=5)

    some = judged(job, [4, 1, 5, 4])
    more = judged(job, [4, 1, 5, 4, 1, 1, 1])
    none = judged(job, [])

    assert (some.missing, some.mean, some.grades) == (1, 3.5, {"1": 1, "4": 2, "5": 1})
    assert (more.missing, more.mean) == (0, 3)
    assert (none.missing, none.mean, none.grades) == (5, None, {})


def test_a_teacher_is_shown_a_reasoning_that_names_the_signal() -> None:
    examples = teacher_prompt(MODALITIES, with_reasoning=True)

    assert '"reasoning": "It asks for what can be heard and is no speech."}' in examples
    assert '"reasoning"' not in teacher_prompt(MODALITIES, with_reasoning=False)

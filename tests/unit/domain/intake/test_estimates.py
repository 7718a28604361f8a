"""Estimates: the right order of magnitude, and the price of a reasoning."""

import pytest

from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.intake.selection import IntakeBuilder, IntakeRules, Selection
from search_router.domain.lifecycle.estimates import estimate_costs
from tests.records import MODALITIES, STUDENT, TEACHER

LABEL = (0.4, 0.3, 0.2, 0.1)


def selected(
    rows: int, *, labelled: bool, reasoning: str | None = None, keep_reasoning: bool = True
) -> Selection:
    builder = IntakeBuilder(IntakeRules(MODALITIES, 0.1, keep_reasoning=keep_reasoning))
    builder.begin("a.jsonl")
    label = LABEL if labelled else None
    records = [
        PromptRecord(n, f"a query of about forty characters no {n:05d}", label, reasoning, None)
        for n in range(rows)
    ]
    for n, record in enumerate(records):
        builder.add(record, n)
    return builder.select(lambda positions: ((n, records[n]) for n in positions))


def test_the_router_of_the_reference_post_costs_about_four_or_twelve_dollars_per_million() -> None:
    """Published: 121 characters of prompt, 42 of query, 60 of weights, 173 of reasoning."""
    estimate = estimate_costs(selected(1_000, labelled=True), TEACHER, STUDENT)

    assert estimate.serving_usd_per_million_without_reasoning == pytest.approx(4, abs=1)
    assert estimate.serving_usd_per_million_with_reasoning == pytest.approx(11, abs=2)


def test_only_rows_without_a_label_need_the_teacher() -> None:
    labelled = estimate_costs(selected(500, labelled=True), TEACHER, STUDENT)
    unlabelled = estimate_costs(selected(500, labelled=False), TEACHER, STUDENT)

    assert labelled.teacher_usd == 0
    assert 0.05 < unlabelled.teacher_usd < 0.5


def test_training_grows_with_rows_and_with_what_they_hold() -> None:
    few, many = (estimate_costs(selected(n, labelled=True), TEACHER, STUDENT) for n in (500, 5_000))
    long = estimate_costs(selected(500, labelled=True, reasoning="x" * 400), TEACHER, STUDENT)

    stripped = estimate_costs(
        selected(500, labelled=True, reasoning="x" * 400, keep_reasoning=False), TEACHER, STUDENT
    )

    assert stripped.training_tokens < few.training_tokens
    assert many.training_tokens == pytest.approx(10 * few.training_tokens, rel=0.1)
    assert long.training_tokens > 2 * few.training_tokens
    assert few.training_usd == pytest.approx(few.training_tokens * 1e-6, abs=1e-4)

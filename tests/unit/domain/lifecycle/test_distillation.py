"""Checks before a job: the teacher and student pair, and the lifecycle of both models."""

from datetime import datetime, timedelta

import pytest

from search_router.domain.errors import InvalidInputError
from search_router.domain.lifecycle.distillation import (
    STUDENTS,
    ModelLifecycle,
    check_lifecycle,
    check_pair,
)
from search_router.domain.prices import is_priced
from tests.fakes import START
from tests.records import STUDENT, TEACHER


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        (TEACHER, STUDENT),
        (TEACHER, "amazon.nova-lite-v1:0:300k"),
        ("us.amazon.nova-premier-v1:0", STUDENT),
        ("amazon.nova-premier-v1:0", "amazon.nova-pro-v1:0:300k"),
    ],
)
def test_a_supported_pair_is_accepted(teacher: str, student: str) -> None:
    check_pair(teacher, student)


@pytest.mark.parametrize(
    ("teacher", "student", "reason"),
    [
        ("amazon.nova-micro-v1:0", STUDENT, "not a teacher: amazon.nova-micro-v1:0. Use one"),
        ("anthropic.claude-3-5-sonnet", STUDENT, "not a teacher"),
        (TEACHER, "amazon.nova-pro-v1:0:300k", "not a student of amazon.nova-pro-v1:0"),
        (TEACHER, "amazon.nova-micro-v1:0", "Use one of amazon.nova-lite-v1:0:300k, amazon.nova-m"),
    ],
)  # fmt: skip
def test_another_pair_is_rejected_with_alternatives(
    teacher: str, student: str, reason: str
) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        check_pair(teacher, student)

    assert reason in str(refusal.value)


@pytest.mark.parametrize("end", [None, START + timedelta(seconds=1)])
def test_an_active_model_is_accepted(end: datetime | None) -> None:
    check_lifecycle(ModelLifecycle(TEACHER, "ACTIVE", end), START)


def test_a_retired_teacher_is_rejected_with_its_date_and_an_alternative() -> None:
    retired = ModelLifecycle("amazon.nova-premier-v1:0", "LEGACY", START)

    with pytest.raises(InvalidInputError) as refusal:
        check_lifecycle(retired, START)

    assert str(refusal.value) == (
        "model retired on 2026-12-01: amazon.nova-premier-v1:0. "
        "Use another teacher, such as amazon.nova-pro-v1:0."
    )


def test_a_legacy_model_is_rejected() -> None:
    legacy = ModelLifecycle(TEACHER, "LEGACY", START + timedelta(days=30))

    with pytest.raises(InvalidInputError, match="lifecycle state LEGACY"):
        check_lifecycle(legacy, START)


def test_every_teacher_and_student_has_a_price() -> None:
    models = {*STUDENTS, *(student for students in STUDENTS.values() for student in students)}

    assert all(is_priced(model) for model in models)

"""Distillation jobs: their parameters, Bedrock's replies and the checks before a job starts.

Teacher and student pairs: Bedrock user guide, "Prerequisites for model distillation" (October
2026). Nova models can be distilled in us-east-1 only.
"""

from dataclasses import dataclass
from datetime import datetime

from search_router.domain.errors import InvalidInputError
from search_router.domain.lifecycle.teacher import MAX_LABEL_TOKENS
from search_router.domain.naming import foundation_model_id

MAX_TEACHER_RESPONSE_TOKENS = MAX_LABEL_TOKENS  # the teacher's answers are billed by the token

_SMALL_STUDENTS = frozenset({"amazon.nova-lite-v1:0:300k", "amazon.nova-micro-v1:0:128k"})
STUDENTS = {
    "amazon.nova-pro-v1:0": _SMALL_STUDENTS,
    "amazon.nova-premier-v1:0": _SMALL_STUDENTS | {"amazon.nova-pro-v1:0:300k"},
}


@dataclass(frozen=True, slots=True)
class DistillationJob:
    """The parameters of one customization job."""

    name: str
    teacher: str
    student: str
    role_arn: str
    training_uri: str
    output_uri: str
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as Bedrock reports it; `model_arn` is empty until the job is Completed."""

    name: str
    arn: str
    status: str
    model_arn: str
    failure: str


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """A deployment as Bedrock reports it."""

    arn: str
    status: str
    failure: str


@dataclass(frozen=True, slots=True)
class ModelLifecycle:
    """A foundation model's lifecycle; Bedrock marks a retired model by its date only."""

    model_id: str
    status: str
    end_of_life: datetime | None


def check_pair(teacher: str, student: str) -> None:
    """Raise InvalidInputError unless Bedrock distils this student from this teacher."""
    allowed = STUDENTS.get(foundation_model_id(teacher))
    if allowed is None:
        raise InvalidInputError(f"not a teacher: {teacher}. Use one of {', '.join(STUDENTS)}.")
    if student not in allowed:
        raise InvalidInputError(
            f"not a student of {teacher}: {student}. Use one of {', '.join(sorted(allowed))}."
        )


def check_lifecycle(model: ModelLifecycle, now: datetime) -> None:
    """Raise InvalidInputError for a retired or a legacy model.

    Bedrock starts no customization job on a model in Legacy state (user guide,
    "model-lifecycle-legacy").
    """
    if model.end_of_life is not None and model.end_of_life <= now:
        raise InvalidInputError(
            f"model retired on {model.end_of_life:%Y-%m-%d}: {model.model_id}. "
            "Use another teacher, such as amazon.nova-pro-v1:0."
        )
    if model.status != "ACTIVE":
        raise InvalidInputError(
            f"model in lifecycle state {model.status}: {model.model_id}. "
            "Bedrock starts no customization job on it; use another model."
        )

"""What is asked of Bedrock to distil a model, and what must be true before it is asked.

Teacher and student pairs: Bedrock user guide, "Prerequisites for model distillation" (October
2026). Nova distillation exists in us-east-1 only.
"""

from dataclasses import dataclass
from datetime import datetime

from search_router.domain.errors import InvalidInputError
from search_router.domain.naming import foundation_model_id

MAX_TEACHER_RESPONSE_TOKENS = 1_000
DISTILLATION_REGION = "us-east-1"

_NOVA_STUDENTS = frozenset({"amazon.nova-lite-v1:0:300k", "amazon.nova-micro-v1:0:128k"})
STUDENTS = {
    "amazon.nova-pro-v1:0": _NOVA_STUDENTS,
    "amazon.nova-premier-v1:0": _NOVA_STUDENTS | {"amazon.nova-pro-v1:0:300k"},
}


@dataclass(frozen=True, slots=True)
class DistillationJob:
    """One customization job, named after what it buys."""

    name: str
    teacher: str
    student: str
    role_arn: str
    training_uri: str
    output_uri: str
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as Bedrock reports it; `status` is Bedrock's own word, known to us or not."""

    name: str
    arn: str
    status: str
    model_arn: str
    failure: str


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """A deployment as Bedrock reports it; `status` is Bedrock's own word."""

    arn: str
    status: str
    failure: str


@dataclass(frozen=True, slots=True)
class ModelLifecycle:
    """A foundation model's lifecycle; Bedrock has no status for "retired", only the date."""

    model_id: str
    status: str
    end_of_life: datetime | None


def check_pair(teacher: str, student: str) -> None:
    """Refuse a pair that Bedrock does not distil; raises InvalidInputError."""
    allowed = STUDENTS.get(foundation_model_id(teacher))
    if allowed is None:
        raise InvalidInputError(f"{teacher} is not a teacher; known are {', '.join(STUDENTS)}")
    if student not in allowed:
        raise InvalidInputError(
            f"{teacher} cannot teach {student}; it teaches {', '.join(sorted(allowed))}"
        )


def check_lifecycle(model: ModelLifecycle, now: datetime) -> None:
    """Refuse a model past its end of life, and a legacy one for new jobs.

    Bedrock starts no new customization jobs on a model in Legacy state (user guide,
    "model-lifecycle-legacy"). Raises InvalidInputError.
    """
    if model.end_of_life is not None and model.end_of_life <= now:
        raise InvalidInputError(
            f"{model.model_id} is retired: it reached its end of life on "
            f"{model.end_of_life:%Y-%m-%d}; choose another teacher, such as amazon.nova-pro-v1:0"
        )
    if model.status != "ACTIVE":
        raise InvalidInputError(
            f"{model.model_id} is in lifecycle state {model.status}: Bedrock starts no new "
            "customization jobs on it; choose another model"
        )

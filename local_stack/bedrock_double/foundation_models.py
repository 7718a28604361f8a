"""Bedrock's own models that a router meets: their lifecycle and who may teach whom."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from local_stack.bedrock_double.api import Operation
from local_stack.bedrock_double.clock import Clock
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.errors import BedrockError
from local_stack.bedrock_double.identifiers import Arns

NOVA_MICRO = "amazon.nova-micro-v1:0"
_MICRO_STUDENT = "amazon.nova-micro-v1:0:128k"
_LITE_STUDENT = "amazon.nova-lite-v1:0:300k"
_PRO_STUDENT = "amazon.nova-pro-v1:0:300k"
_NOVA_RELEASE = datetime(2024, 12, 3, tzinfo=UTC)

# `amazon.x`, `us.amazon.x`, and the ARNs of foundation models and system inference profiles.
_ANY_FORM = re.compile(
    r"(?:arn:aws:bedrock:[a-z0-9-]+:\d*:(?:foundation-model|inference-profile)/)?"
    r"(?:(?:us|eu|apac|global)\.)?(?P<model_id>amazon\..+)"
)


@dataclass(frozen=True, slots=True)
class FoundationModel:
    """One model of the catalogue; `students` are what it may be distilled into."""

    model_id: str
    name: str
    released: datetime = _NOVA_RELEASE
    legacy_from: datetime | None = None
    end_of_life: datetime | None = None
    on_demand: bool = True
    students: frozenset[str] = frozenset()

    def is_retired(self, now: datetime) -> bool:
        """Tell whether requests to this model fail by now."""
        return self.end_of_life is not None and now >= self.end_of_life

    def lifecycle(self, now: datetime) -> Params:
        """Return the `modelLifecycle` of GetFoundationModel, which has no word for retired."""
        legacy = self.legacy_from is not None and now >= self.legacy_from
        dates = {
            "startOfLifeTime": self.released,
            "legacyTime": self.legacy_from,
            "endOfLifeTime": self.end_of_life,
        }
        known = {name: date for name, date in dates.items() if date is not None}
        return {"status": "LEGACY" if legacy else "ACTIVE", **known}


_CATALOGUE = (
    FoundationModel(
        "amazon.nova-pro-v1:0", "Nova Pro", students=frozenset({_LITE_STUDENT, _MICRO_STUDENT})
    ),
    FoundationModel(NOVA_MICRO, "Nova Micro"),
    FoundationModel(_MICRO_STUDENT, "Nova Micro", on_demand=False),
    FoundationModel(_LITE_STUDENT, "Nova Lite", on_demand=False),
    FoundationModel(_PRO_STUDENT, "Nova Pro", on_demand=False),
    FoundationModel(
        "amazon.nova-premier-v1:0",
        "Nova Premier",
        released=datetime(2025, 4, 30, tzinfo=UTC),
        legacy_from=datetime(2026, 3, 13, tzinfo=UTC),
        end_of_life=datetime(2026, 9, 14, tzinfo=UTC),
        students=frozenset({_LITE_STUDENT, _MICRO_STUDENT, _PRO_STUDENT}),
    ),
)


class FoundationModels:
    """The catalogue at the clock's date."""

    def __init__(self, arns: Arns, clock: Clock) -> None:
        self._arns = arns
        self._clock = clock
        self._by_id = {model.model_id: model for model in _CATALOGUE}

    def operations(self) -> Mapping[str, Operation]:
        """Return what callers can ask of this room."""
        return {"GetFoundationModel": self.get}

    def find(self, identifier: str) -> FoundationModel | None:
        """Return the model meant by an id, a system inference profile or either's ARN."""
        form = _ANY_FORM.fullmatch(identifier)
        return self._by_id.get(form["model_id"]) if form else None

    def get(self, params: Params) -> Params:
        """Answer GetFoundationModel; inference profiles are no foundation models."""
        model_id = params["modelIdentifier"].rpartition("/")[2]
        model = self._by_id.get(model_id)
        if model is None:
            raise BedrockError(
                "ResourceNotFoundException",
                "Could not resolve the foundation model from the provided model identifier.",
            )
        return {"modelDetails": self._details(model)}

    def check_pair(self, teacher_identifier: str, student_identifier: str) -> FoundationModel:
        """Return the student's model when the teacher may be distilled into it today."""
        teacher = self.find(teacher_identifier)
        if teacher is None or not teacher.students:
            raise _invalid(f"The model {teacher_identifier} is not supported as a teacher model.")
        if teacher.is_retired(self._clock.now()):
            raise _invalid(f"The teacher model {teacher_identifier} has reached its end of life.")
        student = self.find(student_identifier)
        if student is None or student.model_id not in teacher.students:
            raise _invalid(
                f"The model {student_identifier} is not supported as a student model of the "
                f"teacher model {teacher_identifier}."
            )
        return student

    def _details(self, model: FoundationModel) -> Params:
        return {
            "modelArn": self._arns.foundation_model(model.model_id),
            "modelId": model.model_id,
            "modelName": model.name,
            "providerName": "Amazon",
            "inputModalities": ["TEXT"],
            "outputModalities": ["TEXT"],
            "responseStreamingSupported": True,
            "customizationsSupported": [] if model.on_demand else ["FINE_TUNING", "DISTILLATION"],
            "inferenceTypesSupported": ["ON_DEMAND" if model.on_demand else "PROVISIONED"],
            "modelLifecycle": model.lifecycle(self._clock.now()),
        }


def _invalid(message: str) -> BedrockError:
    return BedrockError("ValidationException", message)

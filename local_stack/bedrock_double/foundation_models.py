"""Bedrock's own models that a router meets: their lifecycle and who may teach whom."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from local_stack.bedrock_double.api import Operation
from local_stack.bedrock_double.clock import Clock
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.errors import BedrockError, NotPlayedError
from local_stack.bedrock_double.identifiers import Arns
from local_stack.bedrock_double.settings import LiveSettings

NOVA_MICRO = "amazon.nova-micro-v1:0"
_MICRO_STUDENT = "amazon.nova-micro-v1:0:128k"
_LITE_STUDENT = "amazon.nova-lite-v1:0:300k"
_PRO_STUDENT = "amazon.nova-pro-v1:0:300k"
_NOVA_RELEASE = datetime(2024, 12, 3, tzinfo=UTC)
# Where Nova can be distilled and its students be deployed (AWS user guide, 2026-10).
HOME_REGION = "us-east-1"
# Models made LEGACY or retired by the settings have been so for this long.
_LEGACY_FOR, _RETIRED_FOR = timedelta(days=180), timedelta(days=1)

# `amazon.x`, `us.amazon.x`, and the ARNs of foundation models and system inference profiles.
_ANY_FORM = re.compile(
    r"(?:arn:aws:bedrock:[a-z0-9-]+:\d*:(?:foundation-model|inference-profile)/)?"
    r"(?P<profile>(?:us|eu|apac|global)\.)?(?P<model_id>(?:amazon|anthropic)\..+)"
)


@dataclass(frozen=True, slots=True)
class FoundationModel:
    """One model of the catalogue; `students` are what it may be distilled into.

    Without `on_demand` it can be customized and not asked; with `profile_only` it can be asked, but
    only under an inference profile's id.
    """

    model_id: str
    name: str
    released: datetime = _NOVA_RELEASE
    legacy_from: datetime | None = None
    end_of_life: datetime | None = None
    on_demand: bool = True
    profile_only: bool = False
    judges: bool = False
    students: frozenset[str] = frozenset()

    @property
    def provider(self) -> str:
        """Company that made it."""
        return self.model_id.partition(".")[0].capitalize()

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
        "amazon.nova-pro-v1:0",
        "Nova Pro",
        students=frozenset({_LITE_STUDENT, _MICRO_STUDENT}),
        judges=True,
    ),
    FoundationModel(NOVA_MICRO, "Nova Micro", judges=True),
    FoundationModel(
        "amazon.nova-2-lite-v1:0",
        "Nova 2 Lite",
        released=datetime(2025, 12, 2, tzinfo=UTC),
        profile_only=True,
        judges=True,
    ),
    FoundationModel(
        "anthropic.claude-haiku-4-5-20251001-v1:0",
        "Claude Haiku 4.5",
        released=datetime(2025, 10, 15, tzinfo=UTC),
        profile_only=True,
        judges=True,
    ),
    FoundationModel(
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "Claude Sonnet 4.5",
        released=datetime(2025, 9, 29, tzinfo=UTC),
        profile_only=True,
        judges=True,
    ),
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

    def __init__(self, arns: Arns, clock: Clock, settings: LiveSettings) -> None:
        self._arns = arns
        self._clock = clock
        self._settings = settings
        self._by_id = {model.model_id: model for model in _CATALOGUE}

    def operations(self) -> Mapping[str, Operation]:
        """Return what callers can ask of this room."""
        return {"GetFoundationModel": self.get, "ListFoundationModels": self.list_models}

    def find(self, identifier: str) -> FoundationModel | None:
        """Return the model meant by an id, a system inference profile or either's ARN."""
        form = _ANY_FORM.fullmatch(identifier)
        return self._today(form["model_id"]) if form else None

    def serving(self, identifier: str) -> FoundationModel:
        """Return the model that answers under this identifier today.

        Raises `BedrockError`: ValidationException for none, ResourceNotFoundException when retired.
        """
        form = _ANY_FORM.fullmatch(identifier)
        model = self._today(form["model_id"]) if form else None
        if form is None or model is None:
            raise _invalid("The provided model identifier is invalid.")
        if model.is_retired(self._clock.now()):
            raise BedrockError(
                "ResourceNotFoundException",
                "This model version has reached the end of its life. Please refer to the AWS "
                "documentation for more details.",
            )
        if not model.on_demand or (model.profile_only and not form["profile"]):
            raise _invalid(
                f"Invocation of model ID {identifier} with on-demand throughput isn't supported. "
                "Retry your request with the ID or ARN of an inference profile that contains this "
                "model."
            )
        return model

    def get(self, params: Params) -> Params:
        """Answer GetFoundationModel; inference profiles are no foundation models."""
        model_id = params["modelIdentifier"].rpartition("/")[2]
        model = self._today(model_id)
        if model is None:
            raise BedrockError(
                "ResourceNotFoundException",
                "Could not resolve the foundation model from the provided model identifier.",
            )
        return {"modelDetails": self._details(model)}

    def list_models(self, params: Params) -> Params:
        """Answer ListFoundationModels; of its filters only the provider is played."""
        if params.keys() - {"byProvider"}:
            raise NotPlayedError("ListFoundationModels with filters other than byProvider")
        today = [model for name in self._by_id if (model := self._today(name))]
        wanted = params.get("byProvider", "").lower()
        return {
            "modelSummaries": [
                self._details(model) for model in today if wanted in model.provider.lower()
            ]
        }

    def check_pair(self, teacher_identifier: str, student_identifier: str) -> FoundationModel:
        """Return the student's model when the teacher may be distilled into it here and today."""
        if self._settings.current.region != HOME_REGION:
            raise _invalid(
                f"Model distillation of these models is available in {HOME_REGION} only."
            )
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
        if student.lifecycle(self._clock.now())["status"] == "LEGACY":
            raise _invalid(f"The model {student_identifier} is LEGACY and cannot be customized.")
        return student

    def _today(self, model_id: str) -> FoundationModel | None:
        """Return a model as the settings have it now."""
        model = self._by_id.get(model_id)
        settings, now = self._settings.current, self._clock.now()
        if model is None:
            return None
        if model_id in _names(settings.retired_models):
            return replace(model, legacy_from=now - _LEGACY_FOR, end_of_life=now - _RETIRED_FOR)
        if model_id in _names(settings.legacy_models):
            return replace(model, legacy_from=now - _LEGACY_FOR, end_of_life=now + _LEGACY_FOR)
        return model

    def _details(self, model: FoundationModel) -> Params:
        return {
            "modelArn": self._arns.foundation_model(model.model_id),
            "modelId": model.model_id,
            "modelName": model.name,
            "providerName": model.provider,
            "inputModalities": ["TEXT"],
            "outputModalities": ["TEXT"],
            "responseStreamingSupported": True,
            "customizationsSupported": [] if model.on_demand else ["FINE_TUNING", "DISTILLATION"],
            "inferenceTypesSupported": ["ON_DEMAND" if model.on_demand else "PROVISIONED"],
            "modelLifecycle": model.lifecycle(self._clock.now()),
        }


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(","))


def _invalid(message: str) -> BedrockError:
    return BedrockError("ValidationException", message)

"""Foundation models: the catalogue, their lifecycle, and which of them can be distilled."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from local_stack.bedrock_fake.contract import Params, invalid, not_found
from local_stack.bedrock_fake.resources import Account
from search_router.domain.lifecycle.distillation import STUDENTS

NOVA_MICRO = "amazon.nova-micro-v1:0"
NOVA_EMBEDDINGS = "amazon.nova-2-multimodal-embeddings-v1:0"
_NOVA_RELEASE = datetime(2024, 12, 3, tzinfo=UTC)
# Where Nova can be distilled and its students be deployed (AWS user guide, 2026-10).
DISTILLATION_REGION = "us-east-1"
# Ages of the LEGACY and end-of-life states that the settings give to a model.
_LEGACY_FOR, _RETIRED_FOR = timedelta(days=180), timedelta(days=1)

# `amazon.x`, `us.amazon.x`, and the ARNs of foundation models and system inference profiles.
_IDENTIFIER = re.compile(
    r"(?:arn:aws:bedrock:[a-z0-9-]+:\d*:(?:foundation-model|inference-profile)/)?"
    r"(?P<profile>(?:us|eu|apac|global)\.)?(?P<model_id>(?:amazon|anthropic)\..+)"
)


@dataclass(frozen=True, slots=True)
class FoundationModel:
    """One model of the catalogue.

    A model that is not `on_demand` can be customized but not invoked. One that is `profile_only`
    can be invoked only by the id of an inference profile.
    """

    model_id: str
    name: str
    released: datetime = _NOVA_RELEASE
    legacy_from: datetime | None = None
    end_of_life: datetime | None = None
    on_demand: bool = True
    profile_only: bool = False
    can_judge: bool = False
    output: str = "TEXT"

    @property
    def students(self) -> frozenset[str]:
        """The models that this model can be distilled into."""
        return frozenset(STUDENTS.get(self.model_id, ()))

    def is_retired(self, now: datetime) -> bool:
        """Return whether the model is past its end of life."""
        return self.end_of_life is not None and now >= self.end_of_life

    def lifecycle(self, now: datetime) -> Params:
        """Return the `modelLifecycle` of GetFoundationModel, which has no status for retired."""
        legacy = self.legacy_from is not None and now >= self.legacy_from
        dates = {
            "startOfLifeTime": self.released,
            "legacyTime": self.legacy_from,
            "endOfLifeTime": self.end_of_life,
        }
        known = {name: date for name, date in dates.items() if date is not None}
        return {"status": "LEGACY" if legacy else "ACTIVE", **known}


def _by_profile(model_id: str, name: str, year: int, month: int, day: int) -> FoundationModel:
    released = datetime(year, month, day, tzinfo=UTC)
    return FoundationModel(model_id, name, released, profile_only=True, can_judge=True)


_CATALOGUE = (
    FoundationModel("amazon.nova-pro-v1:0", "Nova Pro", can_judge=True),
    FoundationModel(NOVA_MICRO, "Nova Micro", can_judge=True),
    FoundationModel("amazon.nova-micro-v1:0:128k", "Nova Micro", on_demand=False),
    FoundationModel("amazon.nova-lite-v1:0:300k", "Nova Lite", on_demand=False),
    FoundationModel("amazon.nova-pro-v1:0:300k", "Nova Pro", on_demand=False),
    _by_profile("amazon.nova-2-lite-v1:0", "Nova 2 Lite", 2025, 12, 2),
    _by_profile("anthropic.claude-haiku-4-5-20251001-v1:0", "Claude Haiku 4.5", 2025, 10, 15),
    _by_profile("anthropic.claude-sonnet-4-5-20250929-v1:0", "Claude Sonnet 4.5", 2025, 9, 29),
    FoundationModel(
        NOVA_EMBEDDINGS,
        "Nova Multimodal Embeddings",
        released=datetime(2025, 10, 28, tzinfo=UTC),
        output="EMBEDDING",
    ),
    FoundationModel(
        "amazon.nova-premier-v1:0",
        "Nova Premier",
        released=datetime(2025, 4, 30, tzinfo=UTC),
        legacy_from=datetime(2026, 3, 13, tzinfo=UTC),
        end_of_life=datetime(2026, 9, 14, tzinfo=UTC),
    ),
)


class FoundationModels:
    """The catalogue at the current date."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._by_id = {model.model_id: model for model in _CATALOGUE}

    def find(self, identifier: str) -> FoundationModel | None:
        """Return the model of an id, a system inference profile or the ARN of either."""
        form = _IDENTIFIER.fullmatch(identifier)
        return self._current(form["model_id"]) if form else None

    def serving(self, identifier: str, output: str = "TEXT") -> FoundationModel:
        """Return the model that answers under this identifier; it must have this output.

        Raises `BedrockError`: ValidationException for none, ResourceNotFoundException if retired.
        """
        form = _IDENTIFIER.fullmatch(identifier)
        model = self.find(identifier)
        if form is None or model is None:
            raise invalid("The provided model identifier is invalid.")
        if model.is_retired(self._account.now()):
            raise not_found(
                "This model version has reached the end of its life. Please refer to the AWS "
                "documentation for more details."
            )
        if self._is_locked(model):
            raise not_found("Model use case details have not been submitted for this account.")
        if model.output != output:
            raise invalid("This action doesn't support the model that you provided. Try again.")
        if not model.on_demand or (model.profile_only and not form["profile"]):
            raise invalid(
                f"Invocation of model ID {identifier} with on-demand throughput isn't supported. "
                "Retry your request with the ID or ARN of an inference profile that contains this "
                "model."
            )
        return model

    def can_judge(self, identifier: str) -> bool:
        """Return whether the model can be the evaluator of an evaluation job."""
        model = self.find(identifier)
        return model is not None and model.can_judge and not model.is_retired(self._account.now())

    def get(self, params: Params) -> Params:
        """Answer GetFoundationModel, which does not accept inference profiles."""
        model = self._current(params["modelIdentifier"].rpartition("/")[2])
        if model is None:
            raise not_found(
                "Could not resolve the foundation model from the provided model identifier."
            )
        details = {
            "modelArn": self._account.foundation_model_arn(model.model_id),
            "modelId": model.model_id,
            "modelName": model.name,
            "providerName": model.model_id.partition(".")[0].capitalize(),
            "inputModalities": ["TEXT"],
            "outputModalities": [model.output],
            "responseStreamingSupported": model.output == "TEXT",
            "customizationsSupported": [] if model.on_demand else ["FINE_TUNING", "DISTILLATION"],
            "inferenceTypesSupported": ["ON_DEMAND" if model.on_demand else "PROVISIONED"],
            "modelLifecycle": model.lifecycle(self._account.now()),
        }
        return {"modelDetails": details}

    def availability(self, params: Params) -> Params:
        """Answer GetFoundationModelAvailability."""
        model = self._current(params["modelId"])
        if model is None:
            raise not_found("The provided model identifier is invalid.")
        agreement = "NOT_AVAILABLE" if self._is_locked(model) else "AVAILABLE"
        return {
            "modelId": model.model_id,
            "agreementAvailability": {"status": agreement},
            "authorizationStatus": "AUTHORIZED",
            "entitlementAvailability": "AVAILABLE",
            "regionAvailability": "AVAILABLE",
        }

    def _is_locked(self, model: FoundationModel) -> bool:
        return model.model_id in _names(self._account.settings.locked_models)

    def check_pair(self, teacher_identifier: str, student_identifier: str) -> FoundationModel:
        """Return the student; raises `BedrockError` if this teacher cannot be distilled into it."""
        if self._account.settings.region != DISTILLATION_REGION:
            raise invalid(
                f"Model distillation of these models is available in {DISTILLATION_REGION} only."
            )
        teacher = self.find(teacher_identifier)
        if teacher is None or not teacher.students:
            raise invalid(f"The model {teacher_identifier} is not supported as a teacher model.")
        if teacher.is_retired(self._account.now()):
            raise invalid(f"The teacher model {teacher_identifier} has reached its end of life.")
        student = self.find(student_identifier)
        if student is None or student.model_id not in teacher.students:
            raise invalid(
                f"The model {student_identifier} is not supported as a student model of the "
                f"teacher model {teacher_identifier}."
            )
        if student.lifecycle(self._account.now())["status"] == "LEGACY":
            raise invalid(f"The model {student_identifier} is LEGACY and cannot be customized.")
        return student

    def _current(self, model_id: str) -> FoundationModel | None:
        """Return a model with the lifecycle that the settings give it."""
        model = self._by_id.get(model_id)
        settings, now = self._account.settings, self._account.now()
        if model is None:
            return None
        if model_id in _names(settings.retired_models):
            return replace(model, legacy_from=now - _LEGACY_FOR, end_of_life=now - _RETIRED_FOR)
        if model_id in _names(settings.legacy_models):
            return replace(model, legacy_from=now - _LEGACY_FOR, end_of_life=now + _LEGACY_FOR)
        return model


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(","))

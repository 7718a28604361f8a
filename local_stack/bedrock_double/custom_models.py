"""Custom models: what completed jobs leave behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from local_stack.bedrock_double.api import Operation
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.errors import BedrockError
from local_stack.bedrock_double.speech import Speaker


@dataclass(frozen=True, slots=True)
class CustomModel:
    """One model, ready from its creation on; `provenance` is its job as GetCustomModel tells it."""

    arn: str
    name: str
    created_at: datetime
    provenance: Params
    speaker: Speaker


class CustomModels:
    """The account's custom models by ARN and by name."""

    def __init__(self) -> None:
        self._models: dict[str, CustomModel] = {}

    def operations(self) -> Mapping[str, Operation]:
        """Return what callers can ask of this room."""
        return {"GetCustomModel": self.get}

    def add(self, model: CustomModel) -> None:
        """Keep a model that a job has made."""
        self._models[model.arn] = self._models[model.name] = model

    def is_named(self, name: str) -> bool:
        """Tell whether a model has this name."""
        return name in self._models

    def find(self, identifier: str) -> CustomModel:
        """Return the model of an ARN or name; `BedrockError` if there is none."""
        model = self._models.get(identifier)
        if model is None:
            raise BedrockError(
                "ResourceNotFoundException", "The provided model identifier is not a custom model."
            )
        return model

    def get(self, params: Params) -> Params:
        """Answer GetCustomModel."""
        model = self.find(params["modelIdentifier"])
        return {
            "modelArn": model.arn,
            "modelName": model.name,
            "creationTime": model.created_at,
            "modelStatus": "Active",
            **model.provenance,
        }

"""Custom models: what completed jobs leave behind, billed until somebody deletes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from local_stack.bedrock_double.api import Operation
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.errors import BedrockError
from local_stack.bedrock_double.listing import is_listed, one_page
from local_stack.bedrock_double.speech import Speaker
from local_stack.bedrock_double.tags import Tags


@dataclass(frozen=True, slots=True)
class CustomModel:
    """One model, ready from its creation on; `provenance` is its job as GetCustomModel tells it."""

    arn: str
    name: str
    created_at: datetime
    provenance: Params
    speaker: Speaker


QUOTA = 100


class CustomModels:
    """The account's custom models by ARN, oldest first; their rooms' locks guard them."""

    def __init__(self, tags: Tags, account: str) -> None:
        self._tags = tags
        self._account = account
        self._models: dict[str, CustomModel] = {}

    def operations(self) -> Mapping[str, Operation]:
        """Return what callers can ask of this room."""
        return {"GetCustomModel": self.get, "ListCustomModels": self.list_models}

    def add(self, model: CustomModel, tags: Sequence[Mapping[str, str]]) -> None:
        """Keep a model that a job has made."""
        self._models[model.arn] = model
        self._tags.attach(model.arn, tags)

    def remove(self, model: CustomModel) -> None:
        """Forget a model."""
        del self._models[model.arn]
        self._tags.forget(model.arn)

    def is_named(self, name: str) -> bool:
        """Tell whether a model has this name."""
        return any(model.name == name for model in self._all())

    @property
    def number(self) -> int:
        """How many models the account has."""
        return len(self._models)

    def find(self, identifier: str) -> CustomModel:
        """Return the model of an ARN or name; `BedrockError` if there is none."""
        for model in self._all():
            if identifier in (model.arn, model.name):
                return model
        raise BedrockError(
            "ResourceNotFoundException", "The provided model identifier is not a custom model."
        )

    def list_models(self, params: Params) -> Params:
        """Answer ListCustomModels."""
        found = [self._summarise(model) for model in self._all() if self._is_listed(model, params)]
        return one_page(found, params, "modelSummaries")

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

    def _is_listed(self, model: CustomModel, params: Params) -> bool:
        base = model.provenance["baseModelArn"]
        return is_listed(
            params,
            model.name,
            model.created_at,
            modelStatus="Active",
            isOwned=True,
            baseModelArnEquals=base,
            foundationModelArnEquals=base,
        )

    def _summarise(self, model: CustomModel) -> Params:
        base = model.provenance["baseModelArn"]
        return {
            "modelArn": model.arn,
            "modelName": model.name,
            "creationTime": model.created_at,
            "baseModelArn": base,
            "baseModelName": base.rpartition("/")[2].partition(":")[0],
            "customizationType": model.provenance["customizationType"],
            "ownerAccountId": self._account,
            "modelStatus": "Active",
        }

    def _all(self) -> tuple[CustomModel, ...]:
        return tuple(self._models.values())

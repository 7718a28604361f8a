"""Custom models and their on-demand deployments."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from local_stack.bedrock_fake.contract import (
    BedrockError,
    Params,
    check_quota,
    conflict,
    invalid,
    not_found,
)
from local_stack.bedrock_fake.resources import Account, RequestTokens, is_listed, one_page
from local_stack.bedrock_fake.teacher import AnsweringModel

MODEL_QUOTA = 100
DEPLOYMENT_QUOTA = 10
IN_PROGRESS_QUOTA = 2


@dataclass(frozen=True, slots=True)
class CustomModel:
    """One custom model; `provenance` holds the fields of its job that GetCustomModel returns."""

    arn: str
    name: str
    created_at: datetime
    provenance: Params
    model: AnsweringModel


class CustomModels:
    """The custom models of the account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._models: dict[str, CustomModel] = {}  # by ARN, oldest first

    def add(self, model: CustomModel, tags: Sequence[Mapping[str, str]]) -> None:
        """Store a new model."""
        self._models[model.arn] = model
        self._account.tags.attach(model.arn, tags)

    def remove(self, model: CustomModel) -> None:
        """Delete a model."""
        del self._models[model.arn]
        self._account.tags.forget(model.arn)

    def all(self) -> tuple[CustomModel, ...]:
        """Return all models, oldest first."""
        return tuple(self._models.values())

    def find(self, identifier: str) -> CustomModel:
        """Return the model of an ARN or name; raises `BedrockError` if there is none."""
        for model in self.all():
            if identifier in (model.arn, model.name):
                return model
        raise not_found("The provided model identifier is not a custom model.")

    def list_models(self, params: Params) -> Params:
        """Answer ListCustomModels."""
        found = []
        for model in self.all():
            base = model.provenance["baseModelArn"]
            summary = {
                "modelArn": model.arn,
                "modelName": model.name,
                "creationTime": model.created_at,
                "baseModelArn": base,
                "baseModelName": base.rpartition("/")[2].partition(":")[0],
                "customizationType": model.provenance["customizationType"],
                "ownerAccountId": self._account.settings.account,
                "modelStatus": "Active",
            }
            filters = {
                "modelStatus": "Active",
                "isOwned": True,
                "baseModelArnEquals": base,
                "foundationModelArnEquals": base,
            }
            if is_listed(params, model.name, model.created_at, **filters):
                found.append(summary)
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


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment, whose status depends on the time only."""

    arn: str
    name: str
    model: CustomModel
    created_at: datetime
    ready_at: datetime
    description: str
    failure_message: str

    def status(self, now: datetime) -> str:
        """Return Bedrock's status of the deployment."""
        if now < self.ready_at:
            return "Creating"
        return "Failed" if self.failure_message else "Active"

    def describe(self, now: datetime) -> Params:
        """Return the fields that Get and List share."""
        failed = self.status(now) == "Failed"
        return {
            "customModelDeploymentArn": self.arn,
            "modelArn": self.model.arn,
            "createdAt": self.created_at,
            "status": self.status(now),
            "lastUpdatedAt": min(now, self.ready_at),
            **({"failureMessage": self.failure_message} if failed else {}),
        }


class Deployments:
    """The deployments of the account. A model with a deployment cannot be deleted."""

    def __init__(self, account: Account, models: CustomModels) -> None:
        self._account = account
        self._models = models
        self._deployments: dict[str, Deployment] = {}  # by ARN, oldest first
        self._generations: Counter[str] = Counter()
        self._tokens = RequestTokens(mismatch_code="ValidationException")
        self._lock = threading.Lock()

    def serving(self, arn: str) -> CustomModel:
        """Return the model of an Active deployment.

        Raises `BedrockError`: ResourceNotFoundException, ModelNotReadyException while Creating,
        ValidationException when Failed.
        """
        deployment = self._deployments.get(arn)
        if deployment is None:
            raise _deployment_not_found()
        status = deployment.status(self._account.now())
        if status == "Creating":
            raise BedrockError(
                "ModelNotReadyException", "The model is not ready for inference. Try again later."
            )
        if status != "Active":
            raise invalid("The custom model deployment is not active.")
        return deployment.model

    def create(self, params: Params) -> Params:
        """Answer CreateCustomModelDeployment."""
        with self._lock:
            reply = self._tokens.get(params)
            if reply is not None:
                return reply
            model = self._models.find(params["modelArn"])
            self._check_quotas(params["modelDeploymentName"])
            deployment = self._new_deployment(params, model)
            self._account.tags.attach(deployment.arn, params.get("tags", []))
            self._deployments[deployment.arn] = deployment
            return self._tokens.put(params, {"customModelDeploymentArn": deployment.arn})

    def get(self, params: Params) -> Params:
        """Answer GetCustomModelDeployment for an ARN or name."""
        with self._lock:
            deployment = self._find(params["customModelDeploymentIdentifier"])
        described = deployment.describe(self._account.now())
        description = {"description": deployment.description} if deployment.description else {}
        return {**described, "modelDeploymentName": deployment.name, **description}

    def list_deployments(self, params: Params) -> Params:
        """Answer ListCustomModelDeployments, whose key for the name differs from Get's."""
        now = self._account.now()
        with self._lock:
            found = [
                {**deployment.describe(now), "customModelDeploymentName": deployment.name}
                for deployment in self._deployments.values()
                if is_listed(
                    params,
                    deployment.name,
                    deployment.created_at,
                    statusEquals=deployment.status(now),
                    modelArnEquals=deployment.model.arn,
                )
            ]
        return one_page(found, params, "modelDeploymentSummaries")

    def delete(self, params: Params) -> Params:
        """Answer DeleteCustomModelDeployment, which keeps the model."""
        with self._lock:
            deployment = self._find(params["customModelDeploymentIdentifier"])
            if deployment.status(self._account.now()) == "Creating":
                raise conflict("The deployment is still being created.")
            del self._deployments[deployment.arn]
            self._account.tags.forget(deployment.arn)
            return {}

    def delete_model(self, params: Params) -> Params:
        """Answer DeleteCustomModel."""
        with self._lock:
            model = self._models.find(params["modelIdentifier"])
            if any(found.model.arn == model.arn for found in self._deployments.values()):
                raise conflict("The custom model has a custom model deployment.")
            self._models.remove(model)
            return {}

    def _check_quotas(self, name: str) -> None:
        if any(deployment.name == name for deployment in self._deployments.values()):
            # The service model lists no ConflictException for this operation.
            raise invalid("The provided deployment name is currently in use.")
        now = self._account.now()
        creating = sum(found.status(now) == "Creating" for found in self._deployments.values())
        check_quota(len(self._deployments), DEPLOYMENT_QUOTA, "custom model deployments")
        check_quota(creating, IN_PROGRESS_QUOTA, "deployments in progress")

    def _new_deployment(self, params: Params, model: CustomModel) -> Deployment:
        name = params["modelDeploymentName"]
        self._generations[name] += 1  # AWS never reuses an ARN
        now, settings = self._account.now(), self._account.settings
        return Deployment(
            arn=self._account.arn("custom-model-deployment", f"{name}#{self._generations[name]}"),
            name=name,
            model=model,
            created_at=now,
            ready_at=now + timedelta(seconds=settings.deployment_seconds),
            description=params.get("description", ""),
            failure_message=settings.deployment_failure,
        )

    def _find(self, identifier: str) -> Deployment:
        for deployment in self._deployments.values():
            if identifier in (deployment.arn, deployment.name):
                return deployment
        raise _deployment_not_found()


def _deployment_not_found() -> BedrockError:
    return not_found("The provided custom model deployment was not found.")

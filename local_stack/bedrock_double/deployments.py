"""On-demand deployments of custom models: Creating, then Active or Failed, until deleted."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from local_stack.bedrock_double.api import Operation
from local_stack.bedrock_double.clock import Clock
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.custom_models import CustomModel, CustomModels
from local_stack.bedrock_double.errors import BedrockError
from local_stack.bedrock_double.idempotency import TokenLedger
from local_stack.bedrock_double.identifiers import Arns
from local_stack.bedrock_double.listing import is_listed, one_page
from local_stack.bedrock_double.settings import LiveSettings
from local_stack.bedrock_double.tags import Tags

QUOTA = 10
IN_PROGRESS_QUOTA = 2


@dataclass(frozen=True, slots=True)
class Update:
    """A change of the model behind a deployment, which keeps its ARN."""

    model: CustomModel
    done_at: datetime

    def status(self, now: datetime) -> str:
        """Return Bedrock's word for the update's state."""
        return "UpdateCompleted" if now >= self.done_at else "Updating"


@dataclass(slots=True)
class Deployment:
    """One deployment; its status is a matter of time alone."""

    arn: str
    name: str
    first_model: CustomModel
    created_at: datetime
    ready_at: datetime
    description: str
    failure_message: str
    update: Update | None = None

    def status(self, now: datetime) -> str:
        """Return Bedrock's word for the deployment's state."""
        if now < self.ready_at:
            return "Creating"
        return "Failed" if self.failure_message else "Active"

    def model(self, now: datetime) -> CustomModel:
        """Return the model that answers: the old one until an update is done."""
        if self.update and now >= self.update.done_at:
            return self.update.model
        return self.first_model

    def needs(self, now: datetime) -> set[str]:
        """Return the ARNs of the models that answer, or are about to."""
        coming = {self.update.model.arn} if self.update else set()
        return {self.model(now).arn} | coming

    def facts(self, now: datetime) -> Params:
        """Return what Get and List tell alike."""
        changed = self.update.done_at if self.update else self.ready_at
        failed = self.status(now) == "Failed"
        return {
            "customModelDeploymentArn": self.arn,
            "modelArn": self.model(now).arn,
            "createdAt": self.created_at,
            "status": self.status(now),
            "lastUpdatedAt": min(now, changed),
            **({"failureMessage": self.failure_message} if failed else {}),
        }

    def describe(self, now: datetime) -> Params:
        """Return the deployment as GetCustomModelDeployment tells it."""
        described: Params = {**self.facts(now), "modelDeploymentName": self.name}
        if self.description:
            described["description"] = self.description
        if self.update:
            described["updateDetails"] = {
                "modelArn": self.update.model.arn,
                "updateStatus": self.update.status(now),
            }
        return described


class Deployments:
    """The account's deployments, and the end of models, which none of them may need any more."""

    def __init__(
        self,
        arns: Arns,
        clock: Clock,
        settings: LiveSettings,
        models: CustomModels,
        tags: Tags,
    ) -> None:
        self._arns = arns
        self._clock = clock
        self._settings = settings
        self._models = models
        self._tags = tags
        self._deployments: dict[str, Deployment] = {}  # by ARN, oldest first
        self._generations: Counter[str] = Counter()
        self._tokens = TokenLedger(mismatch_code="ValidationException")
        self._lock = threading.Lock()

    def operations(self) -> Mapping[str, Operation]:
        """Return what callers can ask of this room."""
        return {
            "CreateCustomModelDeployment": self.create,
            "GetCustomModelDeployment": self.get,
            "ListCustomModelDeployments": self.list_deployments,
            "UpdateCustomModelDeployment": self.change_model,
            "DeleteCustomModelDeployment": self.delete,
            "DeleteCustomModel": self.delete_model,
        }

    def serving(self, arn: str) -> CustomModel:
        """Return the model behind an Active deployment.

        Raises `BedrockError`: ResourceNotFoundException, ModelNotReadyException while Creating,
        ValidationException when Failed.
        """
        deployment = self._deployments.get(arn)  # no lock: the way of every Converse
        if deployment is None:
            raise _not_found()
        now = self._clock.now()
        status = deployment.status(now)
        if status == "Creating":
            raise BedrockError(
                "ModelNotReadyException", "The model is not ready for inference. Try again later."
            )
        if status != "Active":
            raise BedrockError("ValidationException", "The custom model deployment is not active.")
        return deployment.model(now)

    def create(self, params: Params) -> Params:
        """Answer CreateCustomModelDeployment."""
        with self._lock:
            answer = self._tokens.get_many(params)
            if answer is not None:
                return answer
            model = self._models.find(params["modelArn"])
            self._refuse_one_too_many(params["modelDeploymentName"])
            deployment = self._new_deployment(params, model)
            self._tags.attach(deployment.arn, params.get("tags", []))
            self._deployments[deployment.arn] = deployment
            return self._tokens.put_many(params, {"customModelDeploymentArn": deployment.arn})

    def get(self, params: Params) -> Params:
        """Answer GetCustomModelDeployment for an ARN or name."""
        with self._lock:
            deployment = self._find(params["customModelDeploymentIdentifier"])
            return deployment.describe(self._clock.now())

    def list_deployments(self, params: Params) -> Params:
        """Answer ListCustomModelDeployments, where the name has another key than in Get."""
        now = self._clock.now()
        with self._lock:
            found = [
                {**deployment.facts(now), "customModelDeploymentName": deployment.name}
                for deployment in self._deployments.values()
                if is_listed(
                    params,
                    deployment.name,
                    deployment.created_at,
                    statusEquals=deployment.status(now),
                    modelArnEquals=deployment.model(now).arn,
                )
            ]
        return one_page(found, params, "modelDeploymentSummaries")

    def change_model(self, params: Params) -> Params:
        """Answer UpdateCustomModelDeployment: another model behind the same ARN, after a while."""
        now = self._clock.now()
        with self._lock:
            deployment = self._find(params["customModelDeploymentIdentifier"])
            model = self._models.find(params["modelArn"])
            updating = deployment.update and deployment.update.status(now) == "Updating"
            if deployment.status(now) != "Active" or updating:
                # The service model lists no ConflictException for this operation.
                raise BedrockError("ValidationException", "The deployment cannot be updated now.")
            deployment.first_model = deployment.model(now)
            deployment.update = Update(model, now + self._takes())
            return {"customModelDeploymentArn": deployment.arn}

    def delete(self, params: Params) -> Params:
        """Answer DeleteCustomModelDeployment; the model stays."""
        with self._lock:
            deployment = self._find(params["customModelDeploymentIdentifier"])
            if deployment.status(self._clock.now()) == "Creating":
                raise BedrockError("ConflictException", "The deployment is still being created.")
            del self._deployments[deployment.arn]
            self._tags.forget(deployment.arn)
            return {}

    def delete_model(self, params: Params) -> Params:
        """Answer DeleteCustomModel; one that a deployment needs stays."""
        with self._lock:
            model = self._models.find(params["modelIdentifier"])
            now = self._clock.now()
            for deployment in self._deployments.values():
                if model.arn in deployment.needs(now):
                    raise BedrockError(
                        "ConflictException", "The custom model has a custom model deployment."
                    )
            self._models.remove(model)
            return {}

    def _refuse_one_too_many(self, name: str) -> None:
        if any(deployment.name == name for deployment in self._deployments.values()):
            # The service model lists no ConflictException for this operation.
            raise BedrockError(
                "ValidationException", "The provided deployment name is currently in use."
            )
        if len(self._deployments) >= QUOTA:
            raise BedrockError(
                "ServiceQuotaExceededException",
                f"The account has its maximum of {QUOTA} custom model deployments.",
            )
        now = self._clock.now()
        statuses = Counter(deployment.status(now) for deployment in self._deployments.values())
        if statuses["Creating"] >= IN_PROGRESS_QUOTA:
            raise BedrockError(
                "ServiceQuotaExceededException",
                f"The account has its maximum of {IN_PROGRESS_QUOTA} deployments in progress.",
            )

    def _new_deployment(self, params: Params, model: CustomModel) -> Deployment:
        name = params["modelDeploymentName"]
        self._generations[name] += 1
        now = self._clock.now()
        return Deployment(
            arn=self._arns.deployment(name, self._generations[name]),
            name=name,
            first_model=model,
            created_at=now,
            ready_at=now + self._takes(),
            description=params.get("description", ""),
            failure_message=self._settings.current.deployment_failure,
        )

    def _takes(self) -> timedelta:
        return timedelta(seconds=self._settings.current.deployment_seconds)

    def _find(self, identifier: str) -> Deployment:
        for deployment in self._deployments.values():
            if identifier in (deployment.arn, deployment.name):
                return deployment
        raise _not_found()


def _not_found() -> BedrockError:
    return BedrockError(
        "ResourceNotFoundException", "The provided custom model deployment was not found."
    )

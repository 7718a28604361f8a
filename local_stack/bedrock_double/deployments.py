"""On-demand deployments of custom models: Creating for a while, then Active until deleted."""

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
from local_stack.bedrock_double.listing import one_page
from local_stack.bedrock_double.settings import LiveSettings

QUOTA = 10


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment; its status is a matter of time alone."""

    arn: str
    name: str
    model: CustomModel
    created_at: datetime
    active_at: datetime
    description: str

    def status(self, now: datetime) -> str:
        """Return Bedrock's word for the deployment's state."""
        return "Active" if now >= self.active_at else "Creating"

    def facts(self, now: datetime) -> Params:
        """Return what Get and List tell alike."""
        return {
            "customModelDeploymentArn": self.arn,
            "modelArn": self.model.arn,
            "createdAt": self.created_at,
            "status": self.status(now),
            "lastUpdatedAt": min(now, self.active_at),
        }


class Deployments:
    """The account's deployments."""

    def __init__(
        self, arns: Arns, clock: Clock, settings: LiveSettings, models: CustomModels
    ) -> None:
        self._arns = arns
        self._clock = clock
        self._settings = settings
        self._models = models
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
            "DeleteCustomModelDeployment": self.delete,
        }

    def serving(self, arn: str) -> CustomModel:
        """Return the model behind an Active deployment.

        Raises `BedrockError`: ResourceNotFoundException, or ModelNotReadyException while Creating.
        """
        deployment = self._deployments.get(arn)  # no lock: the way of every Converse
        if deployment is None:
            raise _not_found()
        if deployment.status(self._clock.now()) != "Active":
            raise BedrockError(
                "ModelNotReadyException", "The model is not ready for inference. Try again later."
            )
        return deployment.model

    def create(self, params: Params) -> Params:
        """Answer CreateCustomModelDeployment."""
        with self._lock:
            answer = self._tokens.recall(params)
            if answer is not None:
                return answer
            model = self._models.find(params["modelArn"])
            self._refuse_one_too_many(params["modelDeploymentName"])
            deployment = self._new_deployment(params, model)
            self._deployments[deployment.arn] = deployment
            return self._tokens.remember(params, {"customModelDeploymentArn": deployment.arn})

    def get(self, params: Params) -> Params:
        """Answer GetCustomModelDeployment for an ARN or name."""
        with self._lock:
            deployment = self._find(params["customModelDeploymentIdentifier"])
        described = {"description": deployment.description} if deployment.description else {}
        return {
            **deployment.facts(self._clock.now()),
            "modelDeploymentName": deployment.name,
            **described,
        }

    def list_deployments(self, params: Params) -> Params:
        """Answer ListCustomModelDeployments, where the name has another key than in Get."""
        now = self._clock.now()
        with self._lock:
            found = [
                {**deployment.facts(now), "customModelDeploymentName": deployment.name}
                for deployment in self._deployments.values()
                if _is_listed(deployment, params, now)
            ]
        return one_page(found, params, "modelDeploymentSummaries")

    def delete(self, params: Params) -> Params:
        """Answer DeleteCustomModelDeployment; the model stays."""
        with self._lock:
            deployment = self._find(params["customModelDeploymentIdentifier"])
            if deployment.status(self._clock.now()) == "Creating":
                raise BedrockError("ConflictException", "The deployment is still being created.")
            del self._deployments[deployment.arn]
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

    def _new_deployment(self, params: Params, model: CustomModel) -> Deployment:
        name = params["modelDeploymentName"]
        self._generations[name] += 1
        now = self._clock.now()
        return Deployment(
            arn=self._arns.deployment(name, self._generations[name]),
            name=name,
            model=model,
            created_at=now,
            active_at=now + timedelta(seconds=self._settings.current.deployment_seconds),
            description=params.get("description", ""),
        )

    def _find(self, identifier: str) -> Deployment:
        for deployment in self._deployments.values():
            if identifier in (deployment.arn, deployment.name):
                return deployment
        raise _not_found()


def _is_listed(deployment: Deployment, params: Params, now: datetime) -> bool:
    status = deployment.status(now)
    return (
        params.get("nameContains", "") in deployment.name
        and params.get("statusEquals", status) == status
        and params.get("modelArnEquals", deployment.model.arn) == deployment.model.arn
        and params.get("createdAfter", deployment.created_at) <= deployment.created_at
        and params.get("createdBefore", deployment.created_at) >= deployment.created_at
    )


def _not_found() -> BedrockError:
    return BedrockError(
        "ResourceNotFoundException", "The provided custom model deployment was not found."
    )

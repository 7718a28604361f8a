"""Bedrock's on-demand deployments of custom models.

A repeated create call finds its name taken and adopts what has it. The request token is the SDK's
own, which only joins the SDK's retries, because a name that was torn down must be free to be
deployed again.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.domain.errors import ConflictError, InvalidInputError, NotFoundError
from search_router.domain.lifecycle.distillation import DeploymentView
from search_router.domain.naming import NAME_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient


class BedrockDeployments:
    """Makes, follows and deletes deployments."""

    def __init__(self, client: "BedrockClient") -> None:
        self._client = client

    def deploy(self, deployment_name: str, model_arn: str) -> str:
        """Deploy a custom model on demand, or adopt the deployment of that name; return its ARN."""
        try:
            with aws_errors("deploy the model"):
                reply = self._client.create_custom_model_deployment(
                    modelDeploymentName=deployment_name,
                    modelArn=model_arn,
                    tags=[{"key": "UseCase", "value": NAME_PREFIX}],
                )
        except (ConflictError, InvalidInputError):
            with suppress(NotFoundError):  # a name that is taken has no error code of its own
                return self.deployment(deployment_name).arn
            raise
        return reply["customModelDeploymentArn"]

    def deployment(self, identifier: str) -> DeploymentView:
        """Read a deployment by name or ARN."""
        with aws_errors("read the deployment"):
            reply = self._client.get_custom_model_deployment(
                customModelDeploymentIdentifier=identifier
            )
        return DeploymentView(
            arn=reply["customModelDeploymentArn"],
            status=reply["status"],
            failure=reply.get("failureMessage", ""),
        )

    def arns(self) -> Iterator[str]:
        """Yield the ARN of every deployment of the account, ours or not."""
        pages = self._client.get_paginator("list_custom_model_deployments").paginate()
        with aws_errors("list the deployments"):
            for page in pages:
                for summary in page.get("modelDeploymentSummaries", []):
                    yield summary["customModelDeploymentArn"]

    def tear_down(self, deployment_arn: str) -> None:
        """Delete a deployment, never the model; one that is gone is fine."""
        try:
            with aws_errors("delete the deployment"):
                self._client.delete_custom_model_deployment(
                    customModelDeploymentIdentifier=deployment_arn
                )
        except NotFoundError:
            return

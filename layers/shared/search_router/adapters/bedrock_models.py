"""Bedrock's catalogue of foundation models."""

from typing import TYPE_CHECKING

from search_router.adapters.aws_errors import aws_errors
from search_router.domain.lifecycle.distillation import ModelLifecycle
from search_router.domain.naming import foundation_model_id

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient


class BedrockFoundationModels:
    """Looks models up."""

    def __init__(self, client: "BedrockClient") -> None:
        self._client = client

    def lifecycle(self, model_id: str) -> ModelLifecycle:
        """Read a foundation model's lifecycle; profile ids are looked up by their model."""
        plain_id = foundation_model_id(model_id)
        with aws_errors(f"look up the model {plain_id}"):
            reply = self._client.get_foundation_model(modelIdentifier=plain_id)
        lifecycle = reply["modelDetails"].get("modelLifecycle")
        return ModelLifecycle(
            model_id=model_id,
            status=lifecycle["status"] if lifecycle else "ACTIVE",
            end_of_life=lifecycle.get("endOfLifeTime") if lifecycle else None,
        )

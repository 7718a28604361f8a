"""The champion: everything that serving needs of the model in use, fixed when it was promoted.

Serving takes all of it from here and never from settings: what was trained is what is served, also
after a rollback. A version is written once; the pointer names the version in use.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from search_router.domain.weights import Modalities, Weights


class Champion(BaseModel):
    """One promoted model; `version` counts promotions from 1 and is part of every cache key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    run_id: str
    deployment_arn: str
    system_prompt: str
    modalities: Modalities
    max_output_tokens: int
    prior: Weights
    student_model_id: str
    promoted_at: datetime


class ServingModel(BaseModel):
    """What one model is asked with: a deployment or base model, its prompt and its bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_id: str
    priced_as: str
    system_prompt: str
    modalities: Modalities
    max_output_tokens: int
    prior: Weights


def serving_model(champion: Champion) -> ServingModel:
    """Return how the champion is to be asked."""
    return ServingModel(
        model_id=champion.deployment_arn,
        priced_as=champion.student_model_id,
        system_prompt=champion.system_prompt,
        modalities=champion.modalities,
        max_output_tokens=champion.max_output_tokens,
        prior=champion.prior,
    )

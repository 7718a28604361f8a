"""The champion: the model in use and everything that serving needs of it, fixed at its promotion.

Serving reads none of this from settings, so it always matches the training, also after a rollback.
A version is written once and its number is never reused; the pointer names the version in use.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from search_router.domain.errors import NotFoundError
from search_router.domain.records import Record
from search_router.domain.weights import Modalities, Weights


class ServingModel(Record):
    """A model and the parameters it is asked with.

    `model_id` is a deployment ARN or a foundation model's id, and `priced_as` the foundation model
    whose token prices apply. `prior` is the mean training label, and `training_histograms` counts
    the labels per modality and bin, to measure drift against. `local_model` is the version of the
    local tier's artifact, trained on the same labels.
    """

    model_id: str
    priced_as: str
    system_prompt: str
    modalities: Modalities
    max_output_tokens: int
    prior: Weights
    training_histograms: Mapping[str, list[int]] = {}
    local_model: str = ""


class Champion(Record):
    """One promoted model; `version` counts promotions from 1 and is part of every cache key.

    `previous_version` is the one this model replaced, the default target of a rollback.
    """

    version: int
    run_id: str
    serving: ServingModel
    promoted_at: datetime
    previous_version: int | None = None


class ChampionMove(Record):
    """One move of the pointer, by a promotion or a rollback."""

    moved_at: datetime
    from_version: int | None
    to_version: int
    reason: str


class ChampionVersions(Protocol):
    """Reads champions by version."""

    def version(self, version: int) -> Champion | None:
        """Return one champion, in use or not."""


def required_champion(champions: ChampionVersions, version: int) -> Champion:
    """Return the champion of a version; raises NotFoundError if there is none."""
    champion = champions.version(version)
    if champion is None:
        raise NotFoundError(f"champion version {version} does not exist")
    return champion

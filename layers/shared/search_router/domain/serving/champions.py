"""The champion: everything that serving needs of the model in use, fixed when it was promoted.

Serving takes all of it from here and never from settings: what was trained is what is served, also
after a rollback. A version is written once and its number is never used again; the pointer names
the version in use.
"""

from collections.abc import Mapping
from datetime import datetime

from search_router.domain.records import Record
from search_router.domain.weights import Modalities, Weights


class ServingModel(Record):
    """What one model is asked with.

    `model_id` is a deployment ARN or a foundation model's id, `priced_as` the foundation model that
    its tokens are billed as, `prior` the mean training label. Answers are compared with
    `training_histograms`, the labels per modality and bin; a record of an older version has none.
    `local_model` is the version of the local tier's artifact that was trained on the same labels.
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

    `previous_version` served until this one was promoted: where a rollback leads.
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

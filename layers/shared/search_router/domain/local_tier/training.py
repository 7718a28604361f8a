"""Labelled queries become a local model: calibrated on folds, then trained on all of them."""

from collections.abc import Iterable

from search_router.domain.local_tier.calibration import calibrate, trials_of
from search_router.domain.local_tier.indexing import LabelledQuery, index_queries
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.weights import Modalities


def train(
    examples: Iterable[LabelledQuery], modalities: Modalities, max_error: float
) -> LocalModel:
    """Train a local model whose gate is to keep the mean error per weight within `max_error`.

    A pure function of the set of examples. Raises InvalidInputError if there is none.
    """
    known = list(examples)
    neighbourhood = index_queries(known, modalities)
    gate = calibrate(trials_of(known, modalities), max_error, len(modalities))
    return LocalModel(neighbourhood, gate)

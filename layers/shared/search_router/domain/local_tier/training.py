"""Labelled queries become a local model: calibrated on folds, then trained on all of them."""

from collections.abc import Iterable, Sequence

from search_router.domain.local_tier.calibration import calibrate, trials_of
from search_router.domain.local_tier.indexing import LabelledQuery, index_queries
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.neighbours import known_key
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


def with_answers(
    model: LocalModel, labelled: Sequence[LabelledQuery], answers: Iterable[LabelledQuery]
) -> tuple[LocalModel, int]:
    """Let a distilled model's answers speak where the labels, which `model` is made of, do not.

    Only answers to queries that `model` refuses are taken, so that they hardly change what labels
    know; return also how many. The gate stays the one that labels made: how far the answers are
    from the teacher's is not known. Without an open gate there is nothing that they could open.
    """
    if model.gate.closed:
        return model, 0
    new = [(query, weights) for query, weights in answers if model.answer(query) is None]
    if not new:
        return model, 0
    neighbourhood = index_queries([*labelled, *new], model.neighbourhood.modalities)
    return LocalModel(neighbourhood, model.gate), len({known_key(query) for query, _ in new})

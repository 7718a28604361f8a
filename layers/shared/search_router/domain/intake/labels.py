"""Labels as text: what a teacher writes, a training record holds and a student is to answer."""

import json
import re
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined]  # public, not in the stubs

from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.weights import (
    REASONING_KEY,
    Modalities,
    Weights,
    normalise,
    weights_from_object,
)

Label = tuple[Weights, str | None]

_REASONING = re.compile(rf', ?"{REASONING_KEY}": ?"')


def parse_label(text: str, modalities: Modalities) -> Label:
    """Read a label's JSON text: weights, scaled to sum 1, and the reasoning if there is one.

    Nothing is repaired: text around the object, or anything outside the weight contract, raises
    InvalidInputError.
    """
    usual = _read_usual(text, modalities)
    if usual is not None:
        return usual
    try:
        return label_from_object(strict_json.loads(text.encode("utf-8")), modalities)
    except UnicodeEncodeError:
        raise InvalidInputError("the label is not valid Unicode") from None


def label_from_object(value: object, modalities: Modalities) -> Label:
    """Read a label that is parsed already; raises InvalidInputError."""
    weights = normalise(weights_from_object(value, modalities))
    reasoning = value.get(REASONING_KEY) if isinstance(value, dict) else None
    if reasoning is not None and not isinstance(reasoning, str):
        raise InvalidInputError("the reasoning is not a text")
    return weights, reasoning


def render_label(modalities: Modalities, weights: Weights, reasoning: str | None) -> str:
    """Write a label the way a model is to answer: one JSON object, weights first."""
    label: dict[str, object] = dict(zip(modalities, weights, strict=True))
    if reasoning is not None:
        label[REASONING_KEY] = reasoning
    return json.dumps(label, ensure_ascii=False)


@lru_cache(maxsize=4096)
def plain_weights(text: str, modalities: Modalities) -> Weights:
    """Read a label without reasoning; raises InvalidInputError for any other.

    A teacher uses few different weights, so their texts are parsed once.
    """
    value = strict_json.loads(text.encode("utf-8"))
    if isinstance(value, dict) and REASONING_KEY in value:
        raise InvalidInputError("the label has a reasoning")
    return normalise(weights_from_object(value, modalities))


def _read_usual(text: str, modalities: Modalities) -> Label | None:
    """Read weights, then perhaps a reasoning, in this order; None for any other label."""
    cut = _REASONING.search(text)
    try:
        if cut is None:
            return plain_weights(text, modalities), None
        reasoning, end = scanstring(text, cut.end())
        if text[end:] != "}" or strict_json.may_hold_half_a_surrogate(text.encode("utf-8")):
            return None
        return plain_weights(text[: cut.start()] + "}", modalities), reasoning
    except (ValueError, InvalidInputError):
        return None

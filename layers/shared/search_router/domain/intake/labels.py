"""Labels as JSON text: parsed from files and training records, rendered for the student."""

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
    """Parse a label: its weights, scaled to sum to 1, and its reasoning, if any.

    Nothing is repaired. Raises InvalidInputError for text around the object and for anything
    outside the weight contract.
    """
    canonical = _parse_canonical(text, modalities)
    if canonical is not None:
        return canonical
    try:
        value = strict_json.loads(text.encode("utf-8"))
    except (UnicodeEncodeError, InvalidInputError) as error:
        problem = "half of a surrogate pair" if isinstance(error, UnicodeEncodeError) else error
        raise InvalidInputError(
            f"not JSON: {problem}. Write the label as one JSON object."
        ) from None
    return label_from_object(value, modalities)


def label_from_object(value: object, modalities: Modalities) -> Label:
    """Check a label that is already parsed; raises InvalidInputError."""
    weights = normalise(weights_from_object(value, modalities))
    reasoning = value.get(REASONING_KEY) if isinstance(value, dict) else None
    if reasoning is not None and not isinstance(reasoning, str):
        raise InvalidInputError(f"{REASONING_KEY} is not a string. Quote it or remove it.")
    return weights, reasoning


def render_label(modalities: Modalities, weights: Weights, reasoning: str | None) -> str:
    """Render a label as the student is trained to answer: one JSON object, weights first."""
    label: dict[str, object] = dict(zip(modalities, weights, strict=True))
    if reasoning is not None:
        label[REASONING_KEY] = reasoning
    return json.dumps(label, ensure_ascii=False)


@lru_cache(maxsize=4096)
def plain_weights(text: str, modalities: Modalities) -> Weights:
    """Parse a label without reasoning; raises InvalidInputError for any other.

    A teacher uses few distinct weights, so each text is parsed once.
    """
    value = strict_json.loads(text.encode("utf-8"))
    if isinstance(value, dict) and REASONING_KEY in value:
        raise InvalidInputError("unexpected reasoning")
    return normalise(weights_from_object(value, modalities))


def _parse_canonical(text: str, modalities: Modalities) -> Label | None:
    """Parse weights followed by an optional reasoning; return None for any other label."""
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

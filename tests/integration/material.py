"""Files that users upload: labelled prompts that can be learnt, query logs that ask about them."""

import json
from collections.abc import Iterable, Sequence
from functools import cache

from search_router.domain.local_tier.indexing import LabelledQuery
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Modalities
from tests.records import MODALITIES

OPENINGS = ("wide shot of", "sound of", "somebody says", "uploaded in 2019 with")
SUBJECTS = ("the harbour", "a red car", "the last goal", "an empty street", "two dogs", "rain")


def query(number: int) -> str:
    """Return a query whose opening gives its dominant modality away."""
    return f"{OPENINGS[number % 4]} {SUBJECTS[number % 6]} {number}"


def weights(number: int) -> dict[str, float]:
    """Return the label of that query."""
    return {name: 0.7 if place == number % 4 else 0.1 for place, name in enumerate(MODALITIES)}


def labelled(number: int = 300) -> bytes:
    """Return a prompt file of so many labelled queries."""
    return lines([{"query": query(n), "reference": weights(n)} for n in range(number)])


def mislabelled(number: int = 300) -> bytes:
    """Return a prompt file whose labels have nothing to do with its queries."""
    return lines([{"query": query(n), "reference": weights(n // 4 + n)} for n in range(number)])


def lines(rows: Sequence[object]) -> bytes:
    """Write rows as JSON Lines."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def rows(body: bytes) -> list[dict[str, object]]:
    """Read JSON Lines."""
    return [json.loads(line) for line in body.split(b"\n") if line]


def trained_once(
    examples: Iterable[LabelledQuery], modalities: Modalities, max_error: float
) -> LocalModel:
    """Train each local model once for all tests: it is pure, and a third of a model's life."""
    return _trained(tuple(examples), modalities, max_error)


@cache
def _trained(
    examples: tuple[LabelledQuery, ...], modalities: Modalities, max_error: float
) -> LocalModel:
    return train(examples, modalities, max_error)

"""Labelled queries for the local tier's tests, from the generator's seed."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from router_cli import synthesis
from search_router.domain.local_tier.local_model import LocalModel
from search_router.domain.local_tier.training import train
from search_router.domain.weights import Weights

MODALITIES = synthesis.DEFAULT_MODALITIES
MAX_ERROR = 0.045


def labelled(seed: int, count: int) -> list[tuple[str, Weights]]:
    """Return training queries with their labels."""
    return [
        (
            synthesis.record_query(record),
            tuple(json.loads(record["messages"][1]["content"][0]["text"])[m] for m in MODALITIES),
        )
        for record in synthesis.training_records(seed, count)
    ]


@cache
def trained(count: int) -> LocalModel:
    """Return the model of that many queries of seed 1, trained once in each process.

    A call instead of a module constant: training takes seconds, and collecting tests must not.
    """
    return train(labelled(seed=1, count=count), MODALITIES, MAX_ERROR)


def unseen(seed: int, count: int, but: list[tuple[str, Weights]]) -> list[tuple[str, Weights]]:
    """Return labelled queries of known patterns that are not among others."""
    return _rows(synthesis.evaluation_rows(seed, count, [query for query, _ in but]))


def of_new_patterns(seed: int, count: int) -> list[tuple[str, Weights]]:
    """Return labelled queries of patterns that no training query follows."""
    return _rows(synthesis.evaluation_rows(seed, count, held_out_templates=True))


def _rows(rows: Iterable[dict[str, Any]]) -> list[tuple[str, Weights]]:
    return [
        (row["query"], tuple(json.loads(row["reference"])[m] for m in MODALITIES)) for row in rows
    ]

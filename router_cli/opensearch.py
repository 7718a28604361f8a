"""Weights for OpenSearch: a hybrid query with one sub-query for each modality, and a pipeline.

A `normalization-processor` scales the scores of each sub-query to [0, 1] and adds them up by
`weights`, in the order of the sub-queries. OpenSearch wants as many weights as sub-queries, at
most five, decimals in [0, 1], and a sum within 0.01 of 1 in single precision
(opensearch-project/neural-search: ScoreCombinationUtil.java, HybridQueryBuilder.java;
docs.opensearch.org: normalization processor, hybrid query).
"""

import json
import struct
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from router_cli.console import CommandError
from search_router.domain import strict_json
from search_router.domain.errors import InvalidInputError
from search_router.domain.weights import Modalities, Weights, snap

MAX_SUB_QUERIES = 5
PLACEHOLDER = "{query}"
_SUM_TOLERANCE = 0.01

SubQueries = Mapping[str, Mapping[str, Any]]


def default_sub_queries(modalities: Modalities) -> SubQueries:
    """Return a match clause for each modality, on a text field of its name."""
    return {name: {"match": {name: {"query": PLACEHOLDER}}} for name in modalities}


def read_sub_queries(text: bytes, modalities: Modalities) -> SubQueries:
    """Return one query clause for each modality, with `{query}` in place of the query's text.

    Raises CommandError for anything else.
    """
    try:
        value = strict_json.loads(text)
    except InvalidInputError as error:
        raise CommandError(f"--sub-queries: {error}.") from None
    if not isinstance(value, dict) or set(value) != set(modalities):
        raise CommandError(f"--sub-queries: expected exactly the keys {', '.join(modalities)}.")
    for name, clause in value.items():
        if not isinstance(clause, dict) or len(clause) != 1:
            raise CommandError(
                f'--sub-queries: {name}: expected one query clause, as in {{"match": {{…}}}}.'
            )
    return value


def check_modalities(modalities: Modalities) -> None:
    """Raise CommandError if a hybrid query cannot hold that many sub-queries."""
    if len(modalities) > MAX_SUB_QUERIES:
        raise CommandError(
            f"a hybrid query of OpenSearch has at most {MAX_SUB_QUERIES} sub-queries, one for each "
            f"modality, but there are {len(modalities)} modalities: {', '.join(modalities)}."
        )


def rounded(weights: Weights, step: float) -> Weights:
    """Round weights to multiples of `step` that sum to 1; check them as OpenSearch does."""
    on_grid = snap(weights, step)
    single = [struct.unpack("f", struct.pack("f", weight))[0] for weight in on_grid]
    total = list(accumulate(single, lambda a, b: struct.unpack("f", struct.pack("f", a + b))[0]))
    if not all(0.0 <= weight <= 1.0 for weight in single) or abs(total[-1] - 1) > _SUM_TOLERANCE:
        raise CommandError(f"OpenSearch would reject these weights: {on_grid}.")
    return on_grid


def pipeline_name(weights: Weights) -> str:
    """Return a pipeline's name, made of its weights in percent."""
    return "-".join(["search-router", *(str(round(weight * 100)) for weight in weights)])


def pipeline(weights: Weights) -> dict[str, Any]:
    """Return the search pipeline; OpenSearch wants weights as decimals, 1.0 and not 1."""
    return {
        "phase_results_processors": [
            {
                "normalization-processor": {
                    "normalization": {"technique": "min_max"},
                    "combination": {
                        "technique": "arithmetic_mean",
                        "parameters": {"weights": [float(weight) for weight in weights]},
                    },
                }
            }
        ]
    }


def put_pipeline(weights: Weights, modalities: Modalities) -> str:
    """Return the request that creates a pipeline, for Dev Tools."""
    described = ", ".join(
        f"{name} {weight:g}" for name, weight in zip(modalities, weights, strict=True)
    )
    body = {"description": described, **pipeline(weights)}
    return f"PUT /_search/pipeline/{pipeline_name(weights)}\n{json.dumps(body, indent=2)}\n"


def search_body(
    query: str, weights: Weights, modalities: Sequence[str], sub_queries: SubQueries
) -> dict[str, Any]:
    """Return a search body that contains its pipeline, so that none must be created."""
    clauses = [_filled(sub_queries[name], query) for name in modalities]
    return {"query": {"hybrid": {"queries": clauses}}, "search_pipeline": pipeline(weights)}


def _filled(value: Any, query: str) -> Any:
    """Replace the placeholder in every string value, where the text cannot become other JSON."""
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, query)
    if isinstance(value, dict):
        return {key: _filled(inner, query) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, query) for inner in value]
    return value

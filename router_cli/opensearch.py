"""Weights as OpenSearch takes them: one hybrid query, one sub-query per modality, one pipeline.

A `normalization-processor` scales the scores of each sub-query to [0, 1] and adds them up by
`weights`, in the order of the sub-queries. OpenSearch refuses other numbers of weights than of
sub-queries, weights that are no decimals in [0, 1], a sum off 1 by over 0.01 in single precision,
and more than five sub-queries (opensearch-project/neural-search: ScoreCombinationUtil.java,
HybridQueryBuilder.java; docs.opensearch.org: normalization processor, hybrid query).
"""

import json
import struct
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from router_cli.failures import CommandError
from search_router.domain.weights import Modalities, Weights, snap

MAX_SUB_QUERIES = 5
PLACEHOLDER = "{query}"
_SUM_TOLERANCE = 0.01

SubQueries = Mapping[str, Mapping[str, Any]]


def default_sub_queries(modalities: Modalities) -> SubQueries:
    """Match the query in a text field that is called like the modality."""
    return {name: {"match": {name: {"query": PLACEHOLDER}}} for name in modalities}


def read_sub_queries(text: str, modalities: Modalities) -> SubQueries:
    """Read one query clause per modality, with `{query}` where the query's text goes.

    Raises CommandError saying what is missing or too much.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CommandError(f"the sub-queries are not JSON: {error}") from None
    if not isinstance(value, dict) or set(value) != set(modalities):
        raise CommandError(f"the sub-queries need exactly the keys {', '.join(modalities)}")
    for name, clause in value.items():
        if not isinstance(clause, dict) or len(clause) != 1:
            raise CommandError(f'{name}: expected one query clause, as in {{"match": {{…}}}}')
    return value


def check_modalities(modalities: Modalities) -> None:
    """Raise CommandError when a hybrid query cannot hold that many sub-queries."""
    if len(modalities) > MAX_SUB_QUERIES:
        raise CommandError(
            f"OpenSearch takes at most {MAX_SUB_QUERIES} sub-queries in a hybrid query; this log "
            f"has {len(modalities)} modalities: {', '.join(modalities)}"
        )


def rounded(weights: Weights, step: float) -> Weights:
    """Round weights to multiples of `step` that sum to 1, and check them as OpenSearch does."""
    on_grid = snap(weights, step)
    single = [struct.unpack("f", struct.pack("f", weight))[0] for weight in on_grid]
    total = list(accumulate(single, lambda a, b: struct.unpack("f", struct.pack("f", a + b))[0]))
    if not all(0.0 <= weight <= 1.0 for weight in single) or abs(total[-1] - 1) > _SUM_TOLERANCE:
        raise CommandError(f"OpenSearch would refuse these weights: {on_grid}")
    return on_grid


def pipeline_name(weights: Weights) -> str:
    """Name a pipeline by its weights in per cent: equal weights have one name for ever."""
    return "-".join(["search-router", *(str(round(weight * 100)) for weight in weights)])


def pipeline(weights: Weights) -> dict[str, Any]:
    """Return the search pipeline; weights are written as decimals, 1.0 and not 1."""
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
    """Return the request that creates a pipeline, as one pastes it into Dev Tools."""
    described = ", ".join(
        f"{name} {weight:g}" for name, weight in zip(modalities, weights, strict=True)
    )
    body = {"description": described, **pipeline(weights)}
    return f"PUT /_search/pipeline/{pipeline_name(weights)}\n{json.dumps(body, indent=2)}\n"


def search_body(
    query: str, weights: Weights, modalities: Sequence[str], sub_queries: SubQueries
) -> dict[str, Any]:
    """Return a search that brings its pipeline with it, so that none needs to be created."""
    clauses = [_filled(sub_queries[name], query) for name in modalities]
    return {"query": {"hybrid": {"queries": clauses}}, "search_pipeline": pipeline(weights)}


def _filled(value: Any, query: str) -> Any:
    """Put the query's text into every string value; it can become no other part of the JSON."""
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, query)
    if isinstance(value, dict):
        return {key: _filled(inner, query) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, query) for inner in value]
    return value

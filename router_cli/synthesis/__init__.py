"""Synthetic training prompts, query logs, evaluation sets and segments from a seed."""

from router_cli.synthesis.catalogue import BUILT_IN, Catalogue, read_catalogue
from router_cli.synthesis.generator import (
    DEFAULT_MODALITIES,
    evaluation_rows,
    query_log_rows,
    record_query,
    training_records,
    write_jsonl,
)
from router_cli.synthesis.segments import EXAMPLE_QUERIES, segment_rows

__all__ = [
    "BUILT_IN",
    "DEFAULT_MODALITIES",
    "EXAMPLE_QUERIES",
    "Catalogue",
    "evaluation_rows",
    "query_log_rows",
    "read_catalogue",
    "record_query",
    "segment_rows",
    "training_records",
    "write_jsonl",
]

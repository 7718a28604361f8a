"""Synthetic queries, made from a seed: training prompts, query logs and evaluation sets."""

from router_cli.synthesis.catalogue import BUILT_IN, Catalogue, read_catalogue
from router_cli.synthesis.generator import (
    evaluation_rows,
    query_log_rows,
    record_query,
    training_records,
    write_jsonl,
)
from router_cli.synthesis.templates import DEFAULT_MODALITIES

__all__ = [
    "BUILT_IN",
    "DEFAULT_MODALITIES",
    "Catalogue",
    "evaluation_rows",
    "query_log_rows",
    "read_catalogue",
    "record_query",
    "training_records",
    "write_jsonl",
]

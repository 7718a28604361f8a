"""Synthetic training prompts, query logs and evaluation sets from a seed."""

from router_cli.synthesis.catalogue import BUILT_IN, Catalogue, read_catalogue
from router_cli.synthesis.generator import (
    DEFAULT_MODALITIES,
    evaluation_rows,
    query_log_rows,
    record_query,
    training_records,
    write_jsonl,
)

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

"""`search-router generate`: synthetic files from a seed."""

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from router_cli import synthesis
from router_cli.console import CommandError, print_json, say
from router_cli.outputs import is_stdout
from router_cli.prompt_files import read_queries
from search_router.domain.weights import Modalities, parse_modalities

_MAX_PROMPTS = 15_000  # training rows of one distillation job


def prompts(arguments: argparse.Namespace) -> int:
    """Write training prompts."""
    modalities, catalogue = _settings(arguments)
    records = synthesis.training_records(
        arguments.seed,
        arguments.count,
        modalities,
        with_reasoning=arguments.reasoning,
        catalogue=catalogue,
    )
    if not arguments.unlabelled:
        return _write(arguments, records)
    return _write(arguments, ({"query": synthesis.record_query(record)} for record in records))


def evaluation(arguments: argparse.Namespace) -> int:
    """Write labelled queries that no training file contains."""
    modalities, catalogue = _settings(arguments)
    trained = (
        read_queries(arguments.exclude, modalities)
        if arguments.exclude
        else _prompts_of_same_seed(arguments.seed, modalities, catalogue)
    )
    rows = synthesis.evaluation_rows(
        arguments.seed,
        arguments.count,
        trained,
        modalities,
        held_out_templates=arguments.new_patterns,
        catalogue=catalogue,
    )
    return _write(arguments, rows)


def query_log(arguments: argparse.Namespace) -> int:
    """Write a query log."""
    modalities, catalogue = _settings(arguments)
    rows = synthesis.query_log_rows(
        arguments.seed,
        arguments.count,
        arguments.distinct,
        known=read_queries(arguments.known, modalities) if arguments.known else (),
        modalities=modalities,
        catalogue=catalogue,
    )
    return _write(arguments, rows)


def segments(arguments: argparse.Namespace) -> int:
    """Write a segment file."""
    return _write(arguments, synthesis.segment_rows(arguments.seed, arguments.count))


def _settings(arguments: argparse.Namespace) -> tuple[Modalities, synthesis.Catalogue]:
    path = arguments.catalogue
    try:
        catalogue = synthesis.read_catalogue(path) if path else synthesis.BUILT_IN
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}.") from None
    return parse_modalities(arguments.modalities), catalogue


def _prompts_of_same_seed(
    seed: int, modalities: Modalities, catalogue: synthesis.Catalogue
) -> Iterator[str]:
    records = synthesis.training_records(seed, _MAX_PROMPTS, modalities, catalogue=catalogue)
    return map(synthesis.record_query, records)


def _write(arguments: argparse.Namespace, rows: Iterable[dict[str, Any]]) -> int:
    if is_stdout(arguments.out) and arguments.json:
        arguments.usage_error("--json and --out - both write to stdout. Use one of them.")
    count = synthesis.write_jsonl(arguments.out, rows)
    if arguments.json:
        print_json({"rows": count, "out": str(arguments.out)})
    else:
        say(f"{count:,} rows written to {arguments.out}")
    return 0

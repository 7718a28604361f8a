"""`search-router generate prompts|evaluation|query-log`: synthetic files, one seed one file."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from router_cli import synthesis
from router_cli.console import print_json, say
from router_cli.failures import CommandError
from router_cli.prompt_sources import prompt_file
from router_cli.validate import DEFAULT_MODALITIES
from search_router.domain.intake.prompt_files import read_prompts
from search_router.domain.weights import Modalities, parse_modalities

_MAX_PROMPTS = 15_000  # what one distillation job takes


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("generate", help="make synthetic prompts, evaluation sets and logs")
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    prompts = kinds.add_parser("prompts", help="labelled training prompts")
    prompts.add_argument("--reasoning", action="store_true", help="add a reasoning to each label")
    prompts.add_argument("--unlabelled", action="store_true", help="queries only, for `label`")
    prompts.set_defaults(rows=_prompts)
    evaluation = kinds.add_parser("evaluation", help="labelled queries that no training file has")
    evaluation.add_argument("--exclude", type=Path, metavar="FILE", help="a prompt file")
    evaluation.add_argument(
        "--new-patterns", action="store_true", help="patterns that no generated prompt follows"
    )
    evaluation.set_defaults(rows=_evaluation)
    log = kinds.add_parser("query-log", help="a query log whose queries repeat as in real logs")
    log.add_argument("--distinct", type=int, default=1_500, help="default: %(default)s")
    log.add_argument("--known", type=Path, metavar="FILE", help="a prompt file to draw from")
    log.set_defaults(rows=_query_log)
    for kind in (prompts, evaluation, log):
        _add_common(kind)


def run(arguments: argparse.Namespace) -> int:
    """Write one file."""
    catalogue = (
        synthesis.read_catalogue(arguments.catalogue) if arguments.catalogue else synthesis.BUILT_IN
    )
    modalities = parse_modalities(arguments.modalities)
    try:
        rows = arguments.rows(arguments, modalities, catalogue)
        count = synthesis.write_jsonl(arguments.out, rows)
    except OSError as error:
        raise CommandError(str(error)) from None
    if arguments.json:
        print_json({"rows": count, "out": str(arguments.out)})
    else:
        say(f"{count} rows written to {arguments.out}")
    return 0


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--count", type=int, default=2_000, help="rows; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--modalities", default=DEFAULT_MODALITIES, help="default: %(default)s")
    parser.add_argument(
        "--catalogue", type=Path, metavar="FILE", help="your own templates and vocabulary, JSON"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def _prompts(
    arguments: argparse.Namespace, modalities: Modalities, catalogue: synthesis.Catalogue
) -> Iterable[dict[str, Any]]:
    records = synthesis.training_records(
        arguments.seed,
        arguments.count,
        modalities,
        with_reasoning=arguments.reasoning,
        catalogue=catalogue,
    )
    if not arguments.unlabelled:
        return records
    return ({"query": synthesis.record_query(record)} for record in records)


def _evaluation(
    arguments: argparse.Namespace, modalities: Modalities, catalogue: synthesis.Catalogue
) -> Iterable[dict[str, Any]]:
    trained = (
        read_queries(arguments.exclude, modalities)
        if arguments.exclude
        else _same_seed_queries(arguments, modalities, catalogue)
    )
    return synthesis.evaluation_rows(
        arguments.seed,
        arguments.count,
        trained,
        modalities,
        held_out_templates=arguments.new_patterns,
        catalogue=catalogue,
    )


def _query_log(
    arguments: argparse.Namespace, modalities: Modalities, catalogue: synthesis.Catalogue
) -> Iterable[dict[str, Any]]:
    known = read_queries(arguments.known, modalities) if arguments.known else iter(())
    return synthesis.query_log_rows(
        arguments.seed,
        arguments.count,
        arguments.distinct,
        known=known,
        modalities=modalities,
        catalogue=catalogue,
    )


def _same_seed_queries(
    arguments: argparse.Namespace, modalities: Modalities, catalogue: synthesis.Catalogue
) -> Iterator[str]:
    """Without a file to exclude, keep clear of what `generate prompts` makes of the same seed."""
    records = synthesis.training_records(
        arguments.seed, _MAX_PROMPTS, modalities, catalogue=catalogue
    )
    return map(synthesis.record_query, records)


def read_queries(path: Path, modalities: Modalities) -> Iterator[str]:
    """Yield the queries of a prompt file; lines that intake would refuse are passed over."""
    try:
        for record in read_prompts(prompt_file(path), modalities):
            yield record.query
    except OSError as error:
        raise CommandError(str(error)) from None

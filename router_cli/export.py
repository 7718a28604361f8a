"""`search-router export opensearch LOG|--collection NAME`: search with OpenSearch.

A log's weights become pipelines and hybrid queries; a collection becomes an index.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router_cli import opensearch
from router_cli.console import CommandError, print_json, print_table, say
from router_cli.opensearch_index import INDEX, write_index
from router_cli.prompt_files import document
from router_cli.routed_logs.parts import (
    DistinctQueries,
    champion_of,
    read_parts,
    routed_log,
    rows_of,
)
from router_cli.stack import Stack, open_stack
from search_router.domain.errors import InvalidInputError
from search_router.domain.serving.champions import Champion
from search_router.domain.serving.decisions import Status
from search_router.domain.weights import Weights

_MANY_PIPELINES = 1_000  # every node keeps all of them in memory, in the cluster state
PIPELINES, QUERIES, REQUESTS = "pipelines.txt", "queries.jsonl", "requests.jsonl"


@dataclass(frozen=True, slots=True)
class ExportedQuery:
    """One distinct query, the number of its rows, and its weights."""

    query: str
    rows: int
    weights: Weights


def run(arguments: argparse.Namespace) -> int:
    """Write the files of a log or of a collection into a folder."""
    stack = open_stack(arguments)
    return _collection(stack, arguments) if arguments.collection else _log(stack, arguments)


def _collection(stack: Stack, arguments: argparse.Namespace) -> int:
    collection = stack.collection(arguments.collection)
    folder = arguments.out or Path(f"opensearch-{collection.name}")
    with _writing(folder):
        segments = write_index(collection, stack.segments.all(collection.name), folder)
    if arguments.json:
        print_json({"collection": collection.name, "folder": str(folder), "segments": segments})
        return 0
    say(
        f"{segments:,} segments written to {folder}. Send PUT /{collection.name} with {INDEX}, "
        "then POST /_bulk with each bulk file. A hybrid query ranks differently from `search`: it "
        "has at most five sub-queries and stretches their scores by min-max."
    )
    return 0


def _log(stack: Stack, arguments: argparse.Namespace) -> int:
    log = routed_log(stack, arguments.log_id)
    champion = champion_of(stack, log)
    opensearch.check_modalities(champion.serving.modalities)
    sub_queries = _sub_queries(arguments.sub_queries, champion)
    folder = arguments.out or Path(f"opensearch-{log.log_id}")
    with _writing(folder):
        report = _write(stack, log.log_id, champion, sub_queries, arguments.step, folder)
    if arguments.json:
        print_json(report)
    else:
        _print(report, sub_queries, champion)
    return 0


def exported(stack: Stack, log_id: str, champion: Champion, step: float) -> Iterator[ExportedQuery]:
    """Yield the distinct queries of a log, the most frequent first.

    A query without a usable answer gets the prior, which is also the default for other queries.
    """
    modalities = champion.serving.modalities
    with DistinctQueries("query", "status", *modalities) as distinct:
        for part in read_parts(stack, log_id, "reading the log"):
            distinct.add(rows_of(part))
        for rows, (query, status, *weights) in distinct:
            usable = champion.serving.prior if status == Status.FALLBACK else tuple(weights)
            yield ExportedQuery(query, rows, opensearch.rounded(usable, step))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Create a folder to write into; raises CommandError if the block cannot write."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or folder}: {error.strerror}.") from None


def _write(
    stack: Stack,
    log_id: str,
    champion: Champion,
    sub_queries: opensearch.SubQueries,
    step: float,
    folder: Path,
) -> dict[str, Any]:
    modalities = champion.serving.modalities
    default = opensearch.rounded(champion.serving.prior, step)
    pipelines = {default}
    queries = 0
    with (folder / QUERIES).open("wb") as listed, (folder / REQUESTS).open("wb") as requests:
        for found in exported(stack, log_id, champion, step):
            queries += 1
            pipelines.add(found.weights)
            listed.write(
                _line(
                    {
                        "query": found.query,
                        "rows": found.rows,
                        "weights": dict(zip(modalities, found.weights, strict=True)),
                        "pipeline": opensearch.pipeline_name(found.weights),
                    }
                )
            )
            body = opensearch.search_body(found.query, found.weights, modalities, sub_queries)
            requests.write(_line(body))
    ordered = [default, *sorted(pipelines - {default})]
    texts = (opensearch.put_pipeline(weights, modalities) for weights in ordered)
    (folder / PIPELINES).write_text("\n".join(texts), encoding="utf-8")
    return {
        "log_id": log_id,
        "folder": str(folder),
        "queries": queries,
        "pipelines": len(pipelines),
        "default_pipeline": opensearch.pipeline_name(default),
        "order": list(modalities),
    }


def _sub_queries(path: Path | None, champion: Champion) -> opensearch.SubQueries:
    modalities = champion.serving.modalities
    if path is None:
        return opensearch.default_sub_queries(modalities)
    try:
        return opensearch.read_sub_queries(document(path), modalities)
    except InvalidInputError as error:
        raise CommandError(f"cannot read {path}: {error}") from None


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n"


def _print(report: dict[str, Any], sub_queries: opensearch.SubQueries, champion: Champion) -> None:
    rows = [
        (number, name, json.dumps(sub_queries[name], ensure_ascii=False))
        for number, name in enumerate(champion.serving.modalities, start=1)
    ]
    print_table("Sub-queries of the hybrid query, in this order", ["", "modality", "clause"], rows)
    say(
        f"{report['queries']:,} queries and {report['pipelines']:,} pipelines written to "
        f"{report['folder']}. Paste {PIPELINES} into Dev Tools and search with the "
        f"?search_pipeline= that {QUERIES} names, or {report['default_pipeline']} for all other "
        f"queries. Or send a body from {REQUESTS}, which contains its pipeline."
    )
    if report["pipelines"] > _MANY_PIPELINES:
        say(
            f"{report['pipelines']:,} pipelines are many for the state of a cluster. Use "
            f"--step 0.05 for fewer, or {REQUESTS}, which needs none."
        )

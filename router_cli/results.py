"""`search-router results LOG`: the summary of a routed log, its rows, its table for Athena.

`--answers` writes the answers of the distilled model, from which the next local tier can learn.
"""

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO

from router_cli.console import CommandError, fail, print_json, print_table, say
from router_cli.labels import labelled
from router_cli.routed_logs.parts import (
    DistinctQueries,
    champion_of,
    find_log,
    read_parts,
    read_summary,
    rows_of,
    sampled_parts,
    unfinished,
)
from router_cli.routed_logs.tables import columns_of, table_definition, table_name, write_csv
from router_cli.stack import Stack, open_stack
from search_router.domain import naming
from search_router.domain.intake.datasets import MAX_ANSWERS
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.logs.results import OWN_COLUMNS
from search_router.domain.serving.decisions import Status
from search_router.domain.uploads import ANSWERS_SUFFIXES

STDOUT = Path("-")
_SAMPLED_PARTS = 16


def run(arguments: argparse.Namespace) -> int:
    """Print a log's summary and write its rows if asked; return 1 while it is not finished."""
    _check_usage(arguments)
    stack = open_stack(arguments)
    log = find_log(stack, arguments.log_id)
    if log.state is not LogState.ROUTED:
        found = unfinished(stack, log)
        if arguments.json:
            print_json(asdict(found))
        return fail(found.sentence())
    if arguments.athena_ddl:
        _print_definition(stack, log, arguments.json)
    elif arguments.answers:
        _fetch_answers(stack, log, arguments.answers, arguments.json)
    else:
        _fetch(stack, arguments)
    return 0


def _check_usage(arguments: argparse.Namespace) -> None:
    if arguments.out == STDOUT and arguments.json:
        arguments.usage_error("--json and --out - both write to stdout. Use one of them.")
    if arguments.athena_ddl and (arguments.out or arguments.format == "csv"):
        arguments.usage_error("--athena-ddl writes no rows. Leave out --out and --format.")
    if arguments.answers and (arguments.out or arguments.athena_ddl or arguments.format == "csv"):
        arguments.usage_error("--answers writes its own file. Leave out the other outputs.")
    if arguments.answers and not arguments.answers.name.endswith(ANSWERS_SUFFIXES[0]):
        arguments.usage_error(f"--answers: file name must end in {ANSWERS_SUFFIXES[0]}")
    if arguments.format == "csv" and not arguments.out:
        arguments.usage_error("--format csv needs --out FILE, or --out - for stdout")


def _fetch(stack: Stack, arguments: argparse.Namespace) -> None:
    summary = read_summary(stack, arguments.log_id)
    if arguments.out:
        writes = write_csv_rows if arguments.format == "csv" else write_rows
        summary["distinct"] = writes(stack, arguments.log_id, arguments.out)
    if arguments.json:
        print_json(summary)
        return
    if arguments.out != STDOUT:
        print_summary(arguments.log_id, summary)
    if summary["rejected"]:
        folder = naming.upload_key(arguments.log_id, "rejected/")
        say(
            f"{summary['rejected']:,} rows were rejected; offset and reason of each: "
            f"s3://{stack.outputs['DataBucketName']}/{folder}"
        )


def _fetch_answers(stack: Stack, log: QueryLog, out: Path, as_json: bool) -> None:
    written, distinct = write_answers(stack, log, out)
    if as_json:
        print_json({"log_id": log.log_id, "answers": written, "distinct": distinct})
        return
    say(
        f"{written:,} of {distinct:,} answers of the distilled model written, the most frequent "
        f"first. Put {out.name} in a folder with the labelled prompts and upload the folder."
    )


def print_summary(title: str, summary: Mapping[str, Any]) -> None:
    """Print a summary; histograms are left out, and drift has a row for each modality."""
    shown = {k: v for k, v in summary.items() if k not in ("weight_histograms", "drift")}
    drift = summary.get("drift")
    if drift:
        for name, found in drift["modalities"].items():
            shown[f"drift, {name}"] = f"{found['divergence']} (mean {found['mean_shift']:+})"
        shown["drift expected by chance"] = drift["expected_by_chance"]
    print_table(title, ["", ""], labelled(shown))


def write_rows(stack: Stack, log_id: str, out: Path) -> int:
    """Write all parts in input order, byte for byte; return the number of distinct queries."""
    with DistinctQueries() as distinct, _complete(out) as file:
        for part in read_parts(stack, log_id, "fetching"):
            file.write(part)
            distinct.add(rows_of(part))
        return len(distinct)


def write_answers(stack: Stack, log: QueryLog, out: Path) -> tuple[int, int]:
    """Write the usable answers of the distilled model, the most frequent queries first.

    Return the number written, which a local model limits, and the number of distinct queries with
    such an answer. Answers of the local tier are left out: it must not learn from itself.
    """
    champion = champion_of(stack, log)
    modalities = champion.serving.modalities
    with DistinctQueries("query", *modalities) as distinct, _complete(out) as file:
        for part in read_parts(stack, log.log_id, "reading the log"):
            distinct.add(
                row
                for row in rows_of(part)
                if (row["model"], row["status"]) == (champion.serving.model_id, Status.OK)
            )
        for _, [query, *weights] in islice(distinct, MAX_ANSWERS):
            reference = json.dumps(dict(zip(modalities, weights, strict=True)))
            file.write(json.dumps({"query": query, "reference": reference}).encode() + b"\n")
        return min(len(distinct), MAX_ANSWERS), len(distinct)


def write_csv_rows(stack: Stack, log_id: str, out: Path) -> int:
    """Write all rows in input order as CSV; return the number of distinct queries.

    The rows go through a temporary file, because the last row may still add a column.
    """
    folder = None if out == STDOUT else out.parent
    with (
        DistinctQueries() as distinct,
        _complete(out) as file,
        tempfile.TemporaryFile(dir=folder) as rows,
    ):
        columns: dict[str, None] = {}
        for part in read_parts(stack, log_id, "fetching"):
            rows.write(part)
            parsed = list(rows_of(part))
            distinct.add(parsed)
            for row in parsed:
                columns.update(dict.fromkeys(row))
        rows.seek(0)
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        write_csv(
            (row for line in rows for row in rows_of(line)), _result_columns_last(columns), text
        )
        text.flush()
        text.detach()
        return len(distinct)


def _print_definition(stack: Stack, log: QueryLog, as_json: bool) -> None:
    champion = champion_of(stack, log)
    parts, all_parts = sampled_parts(stack, log.log_id, _SAMPLED_PARTS)
    rows = (row for part in parts for row in rows_of(part))
    columns = columns_of(rows, champion.serving.modalities)
    location = f"s3://{stack.outputs['DataBucketName']}/{naming.upload_key(log.log_id, 'parts/')}"
    definition = table_definition(table_name(log.log_id), columns, location)
    if as_json:
        print_json({"log_id": log.log_id, "ddl": definition, "parts_read": len(parts)})
        return
    sys.stdout.write(definition)
    say(f"The columns are those of {len(parts)} of {all_parts} parts.")


def _result_columns_last(columns: Mapping[str, None]) -> list[str]:
    """Return the log's columns in order of appearance, then the result columns of a row."""
    names = list(columns)
    if OWN_COLUMNS[0] not in columns:
        return names
    first, last = names.index(OWN_COLUMNS[0]), names.index(OWN_COLUMNS[-1])
    return names[:first] + names[last + 1 :] + names[first : last + 1]


@contextmanager
def _complete(out: Path) -> Iterator[BinaryIO | IO[bytes]]:
    """Open an output that gets its name only when it is complete."""
    if out == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = out.with_name(f"{out.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:  # follows no link that was put there
            yield file
        partial.replace(out)
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror or error}.") from None
    finally:
        partial.unlink(missing_ok=True)

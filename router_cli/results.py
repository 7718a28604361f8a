"""`search-router results LOG`: a log's summary, its rows in input order, its table for Athena.

Also the distilled model's answers, as a file from which the next local tier can learn.
"""

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO

from router_cli.console import fail, print_json, print_table, say
from router_cli.failures import CommandError
from router_cli.routed_logs.athena import columns_of, table_definition, table_name
from router_cli.routed_logs.csv_rows import write_csv
from router_cli.routed_logs.distinct import DistinctQueries
from router_cli.routed_logs.log_progress import unfinished
from router_cli.routed_logs.parts import (
    champion_of,
    find_log,
    read_parts,
    read_summary,
    rows_of,
    sampled_parts,
)
from router_cli.stack import Stack, add_stack_arguments, open_stack
from search_router.domain import naming
from search_router.domain.intake.answer_files import MAX_ANSWERS
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.logs.results import OWN_COLUMNS
from search_router.domain.serving.decisions import Status
from search_router.domain.uploads import ANSWERS_SUFFIXES

STDOUT = Path("-")
_SAMPLED_PARTS = 16


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("results", help="fetch a routed query log")
    parser.add_argument("log_id", metavar="LOG")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rows; - is stdout")
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="of the rows")
    parser.add_argument(
        "--athena-ddl", action="store_true", help="print the table definition for Athena"
    )
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="FILE.answers.jsonl",
        help="write what the distilled model answered, for the local tier of the next run",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run, usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Print a log's summary and, if asked, write its rows; 1 while it is not finished."""
    _check_usage(arguments)
    stack = open_stack(arguments)
    log = find_log(stack, arguments.log_id)
    if log.state is not LogState.ROUTED:
        found = unfinished(stack, log)
        if arguments.json:
            print_json(found.as_json())
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
        arguments.usage_error("--json and --out - would both be written to stdout")
    if arguments.athena_ddl and (arguments.out or arguments.format == "csv"):
        arguments.usage_error("--athena-ddl reads the parts where they lie; leave out --out")
    if arguments.answers and (arguments.out or arguments.athena_ddl or arguments.format == "csv"):
        arguments.usage_error("--answers writes a file of its own; leave out the other outputs")
    if arguments.answers and not arguments.answers.name.endswith(ANSWERS_SUFFIXES[0]):
        arguments.usage_error(f"an answers file is told by its name: FILE{ANSWERS_SUFFIXES[0]}")
    if arguments.format == "csv" and not arguments.out:
        arguments.usage_error("--format csv needs --out FILE, or --out - for stdout")


def _fetch(stack: Stack, arguments: argparse.Namespace) -> None:
    summary = read_summary(stack, arguments.log_id)
    if arguments.out:
        if not arguments.out.parent.is_dir():
            raise CommandError(f"there is no folder {arguments.out.parent}: make it first")
        writes = write_csv_rows if arguments.format == "csv" else write_rows
        summary["distinct"] = writes(stack, arguments.log_id, arguments.out)
    if arguments.json:
        print_json(summary)
        return
    if arguments.out != STDOUT:
        print_summary(arguments.log_id, summary)
    if summary["rejected"]:
        folder = naming.log_key(arguments.log_id, "rejected/")
        say(
            f"{summary['rejected']:,} rows were rejected; place and reason of each: "
            f"s3://{stack.outputs['DataBucketName']}/{folder}"
        )


def _fetch_answers(stack: Stack, log: QueryLog, out: Path, as_json: bool) -> None:
    if not out.parent.is_dir():
        raise CommandError(f"there is no folder {out.parent}: make it first")
    written, distinct = write_answers(stack, log, out)
    if as_json:
        print_json({"log_id": log.log_id, "answers": written, "distinct": distinct})
        return
    say(
        f"{written:,} of {distinct:,} answers of the distilled model, the most frequent first: put "
        f"{out.name} beside the labelled prompts in a folder, and upload that"
    )


def print_summary(title: str, summary: dict[str, Any]) -> None:
    """Print a summary for people: histograms are left out, drift is told by modality."""
    shown = {k: v for k, v in summary.items() if k not in ("weight_histograms", "drift")}
    drift = summary.get("drift")
    if drift:
        for name, found in drift["modalities"].items():
            shown[f"drift, {name}"] = f"{found['divergence']} (mean {found['mean_shift']:+})"
        shown["drift expected by chance"] = drift["expected_by_chance"]
    print_table(title, ["", ""], shown.items())


def write_rows(stack: Stack, log_id: str, out: Path) -> int:
    """Write all parts in input order, byte for byte; return the number of distinct queries."""
    with DistinctQueries() as distinct, _whole(out) as file:
        for part in read_parts(stack, log_id, "fetching"):
            file.write(part)
            distinct.add(rows_of(part))
        return len(distinct)


def write_answers(stack: Stack, log: QueryLog, out: Path) -> tuple[int, int]:
    """Write the queries that a log's distilled model answered well, the most frequent first.

    Return how many were written and how many there are; a local model takes only so many. Rows that
    the local tier answered are not among them, nor are their repetitions: it must not teach itself.
    """
    champion = champion_of(stack, log)
    modalities = champion.serving.modalities
    with DistinctQueries("query", *modalities) as distinct, _whole(out) as file:
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

    The rows are kept on disk meanwhile: only the last one tells all columns.
    """
    folder = None if out == STDOUT else out.parent
    with (
        DistinctQueries() as distinct,
        tempfile.TemporaryFile(dir=folder) as rows,
        _whole(out) as file,
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
        write_csv((row for line in rows for row in rows_of(line)), _ours_last(columns), text)
        text.flush()
        text.detach()
        return len(distinct)


def _print_definition(stack: Stack, log: QueryLog, as_json: bool) -> None:
    champion = champion_of(stack, log)
    parts, all_parts = sampled_parts(stack, log.log_id, _SAMPLED_PARTS)
    rows = (row for part in parts for row in rows_of(part))
    columns = columns_of(rows, champion.serving.modalities)
    location = f"s3://{stack.outputs['DataBucketName']}/{naming.log_key(log.log_id, 'parts/')}"
    definition = table_definition(table_name(log.log_id), columns, location)
    if as_json:
        print_json({"log_id": log.log_id, "ddl": definition, "parts_read": len(parts)})
        return
    sys.stdout.write(definition)
    say(f"columns as found in {len(parts)} of {all_parts} parts")


def _ours_last(columns: dict[str, None]) -> list[str]:
    """Order columns: the log's own as they first appeared, then ours as a row has them."""
    places = list(columns)
    first = places.index(OWN_COLUMNS[0]) if OWN_COLUMNS[0] in columns else len(places)
    last = places.index(OWN_COLUMNS[-1]) if OWN_COLUMNS[-1] in columns else len(places) - 1
    return places[:first] + places[last + 1 :] + places[first : last + 1]


@contextmanager
def _whole(out: Path) -> Iterator[BinaryIO | IO[bytes]]:
    """Open an output that appears under its name only when it is whole."""
    if out == STDOUT:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # What is still buffered must not be tried again when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise CommandError("whoever reads the output has stopped reading") from None
        return
    partial = out.with_name(f"{out.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(out)
    except OSError as error:
        raise CommandError(f"{out}: {error}") from None
    finally:
        partial.unlink(missing_ok=True)

"""`search-router results LOG`: the summary of a routed log, its rows, its table for Athena.

`--answers` writes the answers of the distilled model, from which the next local tier can learn.
"""

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from router_cli import rejections
from router_cli.console import fail, print_json, print_table, say
from router_cli.labels import labelled
from router_cli.outputs import is_replaceable, is_stdout, output
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
from router_cli.routed_logs.tables import (
    columns_of,
    common_kind,
    kind_of,
    table_definition,
    table_name,
    write_csv,
)
from router_cli.stack import Stack, open_stack
from search_router.domain import naming
from search_router.domain.intake.datasets import MAX_ANSWERS
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.domain.logs.results import OWN_COLUMNS
from search_router.domain.serving.decisions import Status
from search_router.domain.uploads import ANSWERS_SUFFIXES

_SAMPLED_PARTS = 16
_NOT_IN_TABLE = ("weight_histograms", "drift", "warnings")


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
    if arguments.rejected:
        rows = rejections.of_log(stack, log.log_id)
        rejections.show(log.log_id, rows, arguments.out, as_json=arguments.json)
    elif arguments.athena_ddl:
        _print_definition(stack, log, arguments.json)
    elif arguments.answers:
        _fetch_answers(stack, log, arguments.answers, arguments.json)
    else:
        return _fetch(stack, arguments)
    return 0


def _check_usage(arguments: argparse.Namespace) -> None:
    if is_stdout(arguments.out) and arguments.json:
        arguments.usage_error("--json and --out - both write to stdout. Use one of them.")
    if arguments.athena_ddl and (arguments.out or arguments.format != "jsonl"):
        arguments.usage_error("--athena-ddl writes no rows. Leave out --out and --format.")
    if arguments.answers and (arguments.out or arguments.athena_ddl or arguments.format != "jsonl"):
        arguments.usage_error("--answers writes its own file. Leave out the other outputs.")
    if arguments.answers and not arguments.answers.name.endswith(ANSWERS_SUFFIXES[0]):
        arguments.usage_error(f"--answers: file name must end in {ANSWERS_SUFFIXES[0]}")
    if arguments.no_bom and arguments.format != "csv":
        arguments.usage_error("--no-bom needs --format csv")
    if arguments.format != "jsonl" and not arguments.out:
        arguments.usage_error(
            f"--format {arguments.format} needs --out FILE, or --out - for stdout"
        )


def _fetch(stack: Stack, arguments: argparse.Namespace) -> int:
    """Write the rows and the summary; return 1 if every row of the log was rejected."""
    summary = read_summary(stack, arguments.log_id)
    if arguments.out:
        writes: dict[str, Callable[[Stack, str, Path], int]] = {
            "jsonl": write_rows,
            "csv": partial(write_csv_rows, bom=not arguments.no_bom),
            "parquet": write_parquet_rows,
        }
        summary["distinct"] = writes[arguments.format](stack, arguments.log_id, arguments.out)
    code = 1 if summary["rejected"] and summary["rejected"] == summary["rows_in"] else 0
    if arguments.json:
        print_json(summary)
        return code
    if not is_stdout(arguments.out):
        print_summary(arguments.log_id, summary)
    if summary["rejected"]:
        say(
            f"{summary['rejected']:,} rows were rejected. "
            f"`search-router results {arguments.log_id} --rejected` shows why."
        )
    return code


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
    shown = {
        k: v for k, v in summary.items() if k not in ("weight_histograms", "drift", "warnings")
    }
    drift = summary.get("drift")
    if drift:
        for name, found in drift["modalities"].items():
            shown[f"drift, {name}"] = f"{found['divergence']} (mean {found['mean_shift']:+})"
        shown["drift expected by chance"] = drift["expected_by_chance"]
    print_table(title, ["", ""], labelled(shown))
    for warning in summary.get("warnings", ()):
        say(f"Warning: {warning}")


def write_rows(stack: Stack, log_id: str, out: Path) -> int:
    """Write all parts in input order, byte for byte; return the number of distinct queries."""
    with DistinctQueries() as distinct, output(out) as file:
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
    with DistinctQueries("query", *modalities) as distinct, output(out) as file:
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


def write_csv_rows(stack: Stack, log_id: str, out: Path, *, bom: bool = True) -> int:
    """Write all rows in input order as CSV; return the number of distinct queries.

    Spreadsheets read UTF-8 only after a byte order mark. The rows go through a temporary file,
    because the last row may still add a column.
    """
    columns: dict[str, None] = {}
    with DistinctQueries() as distinct, output(out) as file, _spool(out) as rows:
        _keep(stack, log_id, distinct, rows, lambda row: columns.update(dict.fromkeys(row)))
        text = io.TextIOWrapper(file, encoding="utf-8-sig" if bom else "utf-8", newline="")
        write_csv(_kept(rows), _result_columns_last(columns), text)
        text.flush()
        text.detach()
        return len(distinct)


def write_parquet_rows(stack: Stack, log_id: str, out: Path) -> int:
    """Write all rows in input order as Parquet; return the number of distinct queries."""
    from router_cli.parquet import write_parquet

    kinds: dict[str, set[str]] = {}

    def add(row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            kinds.setdefault(name, set()).add(kind_of(value))

    with DistinctQueries() as distinct, output(out) as file, _spool(out) as rows:
        _keep(stack, log_id, distinct, rows, add)
        ordered = _result_columns_last(dict.fromkeys(kinds))
        write_parquet(_kept(rows), {name: common_kind(kinds[name]) for name in ordered}, file)
        return len(distinct)


def _spool(out: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=out.parent if is_replaceable(out) else None)


def _keep(
    stack: Stack,
    log_id: str,
    distinct: DistinctQueries,
    rows: IO[bytes],
    see: Callable[[Mapping[str, Any]], None],
) -> None:
    """Copy a log's rows into a file and show each to `see`, which collects the columns."""
    for part in read_parts(stack, log_id, "fetching"):
        rows.write(part)
        parsed = list(rows_of(part))
        distinct.add(parsed)
        for row in parsed:
            see(row)
    rows.seek(0)


def _kept(rows: IO[bytes]) -> Iterator[dict[str, Any]]:
    return (row for line in rows for row in rows_of(line))


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

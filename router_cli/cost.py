"""`search-router cost`: what a file would cost, or what a stack has cost in 30 days."""

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from router_cli.console import print_json, print_table, say
from router_cli.failures import CommandError
from router_cli.prompt_sources import prompt_file
from router_cli.stack import Stack, add_stack_arguments, open_stack
from router_cli.teardown.bedrock_things import BedrockThings
from router_cli.validate import (
    DEFAULT_HOLDOUT_FRACTION,
    DEFAULT_MODALITIES,
    DEFAULT_STUDENT,
    DEFAULT_TEACHER,
)
from search_router.domain import naming
from search_router.domain.errors import NotFoundError
from search_router.domain.intake.prompt_files import select, survey
from search_router.domain.intake.selection import IntakeBuilder, IntakeRules
from search_router.domain.lifecycle.estimates import BYTES_PER_TOKEN, estimate_costs
from search_router.domain.lifecycle.runs import Run
from search_router.domain.logs.dialects import find_dialect
from search_router.domain.logs.query_logs import LogState
from search_router.domain.logs.rows import LogRow, raw_rows, read_row
from search_router.domain.prices import cost_usd, price_list
from search_router.domain.queries import query_digest
from search_router.domain.weights import default_system_prompt, parse_modalities

WINDOW = timedelta(days=30)
MEASURED, ESTIMATED, LISTED = "measured tokens", "estimate before the job", "a month, by list"
NOT_COUNTED = (
    "the LLM judge (Bedrock does not tell its tokens)",
    "queries of the API (the metric CostUsd counts them)",
    "Lambda, SQS, S3, DynamoDB and logs (under a dollar for a million rows)",
)
ROUTED = "estimate, none cached, weights only"
_SAMPLE_BYTES = 1 << 16
_WATCHED = {"AWS::CloudWatch::Alarm": "alarm", "AWS::CloudWatch::Dashboard": "dashboard"}
_ESTIMATED_PARTS = ("training_usd", "teacher_usd")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that cost money; `from_memory` if its price is not confirmed."""

    what: str
    usd: float
    basis: str
    from_memory: bool = False


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("cost", help="estimate a prompt file, or account for a stack")
    files = parser.add_mutually_exclusive_group()
    files.add_argument("--prompts", type=Path, metavar="FILE", help="estimate a run on this file")
    files.add_argument("--query-log", type=Path, metavar="FILE", help="estimate routing this log")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is paid for, what it costs, and how that is known."""
    title, items, not_counted = _items(arguments)
    total = sum(item.usd for item in items)
    if arguments.json:
        listed = [asdict(item) for item in items]
        print_json({"items": listed, "total_usd": round(total, 6), "not_counted": not_counted})
        return 0
    rows = [
        (item.what, f"{item.usd:,.4f}", item.basis, "from memory" if item.from_memory else "")
        for item in items
    ]
    print_table(title, ["", "USD", "basis", "price"], [*rows, ("total", f"{total:,.4f}", "", "")])
    for what in not_counted:
        say(f"not counted: {what}")
    return 0


def _items(arguments: argparse.Namespace) -> tuple[str, list[Item], tuple[str, ...]]:
    """Return what is told, its title, and what is not in it."""
    path = arguments.prompts or arguments.query_log
    if path is None:
        items = list(_account(open_stack(arguments), datetime.now(UTC)))
        return "The last 30 days", items, NOT_COUNTED
    if not path.is_file():
        raise CommandError(f"there is no file {path}")
    estimate = _run_estimate if arguments.prompts else _log_estimate
    return f"What {path.name} would cost", list(estimate(path)), (NOT_COUNTED[0], NOT_COUNTED[2])


def _log_estimate(path: Path) -> Iterator[Item]:
    """Yield what routing a log would cost if no query of it is cached yet; labels as weights."""
    opened: Any = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rb") as file:
        sample = file.read(_SAMPLE_BYTES)
        dialect = find_dialect(path.name, sample, whole=len(sample) < _SAMPLE_BYTES)
        if dialect is None:
            raise CommandError(f"{path} holds no rows")
        chunks = chain([sample], iter(lambda: file.read(_SAMPLE_BYTES), b""))
        found = (read_row(line, dialect) for line in raw_rows(chunks, 0, dialect))
        sizes = {
            query_digest(row.query): len(row.query.encode())
            for row in found
            if isinstance(row, LogRow)
        }
    modalities = parse_modalities(DEFAULT_MODALITIES)
    prompt = len(default_system_prompt(modalities)) * len(sizes) + sum(sizes.values())
    answers = len(json.dumps(dict.fromkeys(modalities, 0.25))) * len(sizes)
    tokens = (prompt // BYTES_PER_TOKEN, answers // BYTES_PER_TOKEN)
    yield Item(f"{len(sizes):,} distinct queries", cost_usd(DEFAULT_STUDENT, *tokens), ROUTED)


def _run_estimate(path: Path) -> Iterator[Item]:
    """Yield what a run on a prompt file would cost, with the defaults of the template."""
    rules = IntakeRules(parse_modalities(DEFAULT_MODALITIES), DEFAULT_HOLDOUT_FRACTION)
    builder, files = IntakeBuilder(rules), [prompt_file(path)]
    for _ in survey(files, builder):
        pass  # what is rejected costs nothing; `validate` lists it
    selection, _ = select(files, builder)
    if selection.refusal:
        raise CommandError(f"no job can start: {selection.refusal}")
    estimate = estimate_costs(selection, DEFAULT_TEACHER, DEFAULT_STUDENT)
    yield Item("training", estimate.training_usd, ESTIMATED, _from_memory("customization_training"))
    yield Item("the teacher's answers", estimate.teacher_usd, ESTIMATED)
    yield Item("the teacher's labels for the holdout", estimate.reference_usd, ESTIMATED)
    yield Item("evaluation of candidate and base", estimate.evaluation_usd, ESTIMATED)
    storage = estimate.storage_usd_per_month
    yield Item("keeping the model", storage, LISTED, _from_memory("custom_model_storage"))


def _account(stack: Stack, now: datetime) -> Iterator[Item]:
    runs = list(stack.runs.all())
    recent = [run for run in runs if now - run.created_at < WINDOW]
    yield from _jobs(stack, recent)
    for run in recent:
        if run.evaluation is not None:
            yield Item(f"evaluation of {run.run_id}", run.evaluation.cost_usd, MEASURED)
    yield from _logs(stack, now)
    yield from _kept(stack, runs)


def _jobs(stack: Stack, runs: list[Run]) -> Iterator[Item]:
    """Yield each job once: runs that share the bytes share the job."""
    jobs = {run.training.job_name: run for run in runs if run.training}
    for name, run in jobs.items():
        try:
            manifest = json.loads(stack.objects.get(naming.run_key(run.run_id, "manifest.json")))
        except NotFoundError:
            continue
        estimate = manifest.get("estimate", {})
        usd = sum(estimate.get(part, 0.0) for part in _ESTIMATED_PARTS)
        yield Item(f"job {name}", usd, ESTIMATED, _from_memory("customization_training"))


def _logs(stack: Stack, now: datetime) -> Iterator[Item]:
    for log in stack.ledger.all():
        if log.state is LogState.ROUTED and now - log.created_at < WINDOW:
            summary = json.loads(stack.objects.get(naming.log_key(log.log_id, "summary.json")))
            yield Item(f"query log {log.log_id}", summary["cost_usd"], MEASURED)


def _kept(stack: Stack, runs: list[Run]) -> Iterator[Item]:
    """Yield what is billed by the month as long as it is there."""
    things = Counter(
        thing.kind for thing in BedrockThings(stack.client("bedrock"), runs).remaining()
    )
    yield _monthly("custom models", things["custom model"], "custom_model_storage")
    yield Item(f"{things['deployment']} deployments, paid by token", 0.0, LISTED)
    kinds = Counter(_resource_types(stack))
    for kind, unit in _WATCHED.items():
        yield _monthly(f"{unit}s", kinds[kind], unit)


def _resource_types(stack: Stack) -> Iterator[str]:
    cloudformation = stack.client("cloudformation")
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack.name):
        for resource in page["StackResourceSummaries"]:
            yield resource["ResourceType"]


def _monthly(what: str, number: int, unit: str) -> Item:
    usd = number * price_list().unit_usd(unit)
    return Item(f"{number} {what}", usd, LISTED, _from_memory(unit))


def _from_memory(unit: str) -> bool:
    return not price_list().unit[unit].confirmed

"""`search-router cost`: the estimated cost of a file, or that of a stack in the last 30 days."""

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

from router_cli.console import CommandError, print_json, print_table, say
from router_cli.prompt_files import prompt_file
from router_cli.stack import Stack, open_stack
from router_cli.teardown import BedrockResources
from router_cli.verbs import HOLDOUT_FRACTION, MODALITIES, STUDENT, TEACHER
from search_router.domain import naming
from search_router.domain.errors import NotFoundError
from search_router.domain.intake.prompt_files import select_rows
from search_router.domain.intake.selection import IntakeRules
from search_router.domain.lifecycle.estimates import BYTES_PER_TOKEN, estimate_costs
from search_router.domain.lifecycle.runs import Run
from search_router.domain.logs.dialects import find_dialect
from search_router.domain.logs.query_logs import LogState
from search_router.domain.logs.rows import LogRow, read_row
from search_router.domain.prices import cost_usd, price_list
from search_router.domain.queries import query_digest
from search_router.domain.splits.rows import raw_rows
from search_router.domain.weights import default_system_prompt, parse_modalities

_WINDOW = timedelta(days=30)
_MEASURED, _ESTIMATED, _LISTED = "measured tokens", "estimate before the job", "list price, a month"
_NOT_COUNTED = (
    "the LLM judge (Bedrock does not report its tokens)",
    "API queries (the metric CostUsd counts them)",
    "Lambda, SQS, S3, DynamoDB and logs (under $1 for a million rows)",
)
_ROUTED = "estimate: no query cached, no reasoning"
_SAMPLE_BYTES = 1 << 16
_WATCHED = {"AWS::CloudWatch::Alarm": "alarm", "AWS::CloudWatch::Dashboard": "dashboard"}
_ESTIMATED_PARTS = ("training_usd", "teacher_usd")


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the bill; `from_memory` if its price is not confirmed."""

    what: str
    usd: float
    basis: str
    from_memory: bool = False


def run(arguments: argparse.Namespace) -> int:
    """Print the items with their cost and its basis."""
    title, items, not_counted = _items(arguments)
    total = sum(item.usd for item in items)
    if arguments.json:
        listed = [asdict(item) for item in items]
        print_json({"items": listed, "total_usd": round(total, 6), "not_counted": not_counted})
        return 0
    rows = [
        (item.what, f"${item.usd:,.4f}", item.basis, "unconfirmed" if item.from_memory else "")
        for item in items
    ]
    print_table(title, ["", "cost", "basis", "price"], [*rows, ("total", f"${total:,.4f}", "", "")])
    for what in not_counted:
        say(f"not counted: {what}")
    return 0


def _items(arguments: argparse.Namespace) -> tuple[str, list[Item], tuple[str, ...]]:
    """Return a title, the items, and what they leave out."""
    path = arguments.prompts or arguments.query_log
    if path is None:
        items = list(_account(open_stack(arguments), datetime.now(UTC)))
        return "The last 30 days", items, _NOT_COUNTED
    if not path.is_file():
        raise CommandError(f"no such file: {path}.")
    estimate = _run_estimate if arguments.prompts else _log_estimate
    return (
        f"Estimated cost of {path.name}",
        list(estimate(path)),
        (_NOT_COUNTED[0], _NOT_COUNTED[2]),
    )


def _log_estimate(path: Path) -> Iterator[Item]:
    """Yield the cost of routing a log if none of its queries is cached."""
    opened: Any = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rb") as file:
        sample = file.read(_SAMPLE_BYTES)
        dialect = find_dialect(path.name, sample, whole=len(sample) < _SAMPLE_BYTES)
        if dialect is None:
            raise CommandError(f"no rows in {path}.")
        chunks = chain([sample], iter(lambda: file.read(_SAMPLE_BYTES), b""))
        found = (read_row(line, dialect) for line in raw_rows(chunks, 0, dialect))
        sizes = {
            query_digest(row.query): len(row.query.encode())
            for row in found
            if isinstance(row, LogRow)
        }
    modalities = parse_modalities(MODALITIES)
    prompt = len(default_system_prompt(modalities)) * len(sizes) + sum(sizes.values())
    answers = len(json.dumps(dict.fromkeys(modalities, 0.25))) * len(sizes)
    tokens = (prompt // BYTES_PER_TOKEN, answers // BYTES_PER_TOKEN)
    yield Item(f"{len(sizes):,} distinct queries", cost_usd(STUDENT, *tokens), _ROUTED)


def _run_estimate(path: Path) -> Iterator[Item]:
    """Yield the cost of a run on a prompt file, with the defaults of the template."""
    rules = IntakeRules(parse_modalities(MODALITIES), HOLDOUT_FRACTION)
    selection = select_rows([prompt_file(path)], rules, lambda _file, _line: None)
    if selection.rejection:
        raise CommandError(f"no job can start: {selection.rejection}")
    estimate = estimate_costs(selection, TEACHER, STUDENT)
    yield Item(
        "training", estimate.training_usd, _ESTIMATED, _from_memory("customization_training")
    )
    yield Item("teacher answers", estimate.teacher_usd, _ESTIMATED)
    yield Item("teacher labels for the holdout", estimate.reference_usd, _ESTIMATED)
    yield Item("evaluation of candidate and base student", estimate.evaluation_usd, _ESTIMATED)
    storage = estimate.storage_usd_per_month
    yield Item("storage of the model", storage, _LISTED, _from_memory("custom_model_storage"))


def _account(stack: Stack, now: datetime) -> Iterator[Item]:
    runs = list(stack.runs.all())
    recent = [run for run in runs if now - run.created_at < _WINDOW]
    yield from _jobs(stack, recent)
    for run in recent:
        if run.evaluation is not None:
            yield Item(f"evaluation of {run.run_id}", run.evaluation.cost_usd, _MEASURED)
    yield from _logs(stack, now)
    yield from _kept(stack, runs)


def _jobs(stack: Stack, runs: list[Run]) -> Iterator[Item]:
    """Yield each job once; runs on the same training data share a job."""
    jobs = {run.training.job_name: run for run in runs if run.training}
    for name, run in jobs.items():
        try:
            manifest = json.loads(stack.objects.get(naming.run_key(run.run_id, "manifest.json")))
        except NotFoundError:
            continue
        estimate = manifest.get("estimate", {})
        usd = sum(estimate.get(part, 0.0) for part in _ESTIMATED_PARTS)
        yield Item(f"job {name}", usd, _ESTIMATED, _from_memory("customization_training"))


def _logs(stack: Stack, now: datetime) -> Iterator[Item]:
    for log in stack.ledger.all():
        if log.state is LogState.ROUTED and now - log.created_at < _WINDOW:
            summary = json.loads(stack.objects.get(naming.upload_key(log.log_id, "summary.json")))
            yield Item(f"query log {log.log_id}", summary["cost_usd"], _MEASURED)


def _kept(stack: Stack, runs: list[Run]) -> Iterator[Item]:
    """Yield what is billed by the month."""
    resources = BedrockResources(stack.client("bedrock"), runs)
    kinds = Counter(left.kind for left in resources.remaining())
    yield _monthly("custom models", kinds["custom model"], "custom_model_storage")
    yield Item(f"{kinds['deployment']} deployments, billed by token", 0.0, _LISTED)
    types = Counter(_resource_types(stack))
    for kind, unit in _WATCHED.items():
        yield _monthly(f"{unit}s", types[kind], unit)


def _resource_types(stack: Stack) -> Iterator[str]:
    cloudformation = stack.client("cloudformation")
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack.name):
        for resource in page["StackResourceSummaries"]:
            yield resource["ResourceType"]


def _monthly(what: str, number: int, unit: str) -> Item:
    usd = number * price_list().unit_usd(unit)
    return Item(f"{number} {what}", usd, _LISTED, _from_memory(unit))


def _from_memory(unit: str) -> bool:
    return not price_list().unit[unit].confirmed

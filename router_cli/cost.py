"""`search-router cost`: the estimated cost of a file, or that of a stack in the last 30 days."""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from router_cli.console import CommandError, print_json, print_table, say
from router_cli.labels import figure, label
from router_cli.prompt_files import local_log, prompt_file
from router_cli.stack import Stack, open_stack
from router_cli.teardown import BedrockResources
from router_cli.verbs import HOLDOUT_FRACTION, MODALITIES, STUDENT, TEACHER
from search_router.domain import naming
from search_router.domain.errors import NotFoundError
from search_router.domain.intake.prompt_files import select_rows
from search_router.domain.intake.selection import IntakeRules
from search_router.domain.lifecycle.estimates import BYTES_PER_TOKEN, estimate_costs
from search_router.domain.lifecycle.runs import Run
from search_router.domain.logs.query_logs import LogState
from search_router.domain.logs.rows import LogRow
from search_router.domain.prices import cost_usd, price_list
from search_router.domain.queries import query_digest
from search_router.domain.weights import default_system_prompt, parse_modalities

_WINDOW = timedelta(days=30)
_MEASURED, _ESTIMATED, _LISTED = "measured tokens", "estimate before the job", "list price, a month"
_JUDGE = "the LLM judge (Bedrock does not report its tokens)"
_INFRASTRUCTURE = "Lambda, SQS, S3, DynamoDB and logs (under $1 for a million rows)"
_NOT_COUNTED = (
    _JUDGE,
    _INFRASTRUCTURE,
    "API queries (the metric CostUsd counts them)",
    "`search-router label` and `compare` (each shows its own cost)",
    "embeddings and the vector index of segments and searches",
    "metrics ($0.30 a month each in the hours they are emitted)",
    "query logs that are not finished, and runs older than 30 days",
)
_ROUTED = "estimate: no query cached, no reasoning"
_WATCHED = {"AWS::CloudWatch::Alarm": "alarm", "AWS::CloudWatch::Dashboard": "dashboard"}
_ESTIMATED_PARTS = ("training_usd", "teacher_usd")


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the bill; `from_memory` if its price is not confirmed, None if it is unknown."""

    what: str
    usd: float | None
    basis: str
    from_memory: bool = False

    @property
    def is_monthly(self) -> bool:
        """Whether the cost comes back every month."""
        return self.basis == _LISTED


def totals(items: list[Item]) -> dict[str, float | None]:
    """Return the one-time and the monthly cost; None if a part of it is unknown."""
    found: dict[str, float | None] = {}
    for name, is_monthly in (("once_usd", False), ("monthly_usd", True)):
        costs = [item.usd for item in items if item.is_monthly is is_monthly]
        known = [usd for usd in costs if usd is not None]
        found[name] = round(math.fsum(known), 6) if len(known) == len(costs) else None
    return found


def run(arguments: argparse.Namespace) -> int:
    """Print the items with their cost and its basis."""
    title, items, not_counted = _items(arguments)
    sums = totals(items)
    if arguments.json:
        listed = [asdict(item) for item in items]
        print_json({"items": listed, **sums, "not_counted": not_counted})
        return 0
    rows = [
        (
            item.what,
            figure("cost_usd", item.usd),
            item.basis,
            "unconfirmed" if item.from_memory else "",
        )
        for item in items
    ]
    rows += [(label(name), figure("cost_usd", usd), "", "") for name, usd in sums.items()]
    print_table(title, ["", "cost", "basis", "price"], rows)
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
    estimate = (
        _run_estimate(path)
        if arguments.prompts
        else _log_estimate(path, arguments.query_field or "")
    )
    return (
        f"Estimated cost of {path.name}",
        list(estimate),
        (_JUDGE, _INFRASTRUCTURE),
    )


def _log_estimate(path: Path, query_field: str) -> Iterator[Item]:
    """Yield the cost of routing a log if none of its queries is cached."""
    sizes = {
        query_digest(row.query): len(row.query.encode())
        for _, row in local_log(path, query_field).rows()
        if isinstance(row, LogRow)
    }
    if not sizes:
        raise CommandError(f"no row with a query in {path}.")
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

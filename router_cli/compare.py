"""`search-router compare LOG --against MODEL`: which queries would move, and at what cost.

The log's own answers are one side, unless `--base` names another model; the other side, or both,
is asked through the same cascade as in serving. Stopped, it goes on where it was.
"""

import argparse
import hashlib
import json
import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from router_cli.comparison.answers import (
    ASKED_TOGETHER,
    RECORDED,
    ComparisonStore,
    KeptAnswers,
)
from router_cli.comparison.differences import Differences
from router_cli.comparison.models import ComparedModel, find_model
from router_cli.console import print_json, print_table, progress, say
from router_cli.failures import CommandError
from router_cli.routed_logs.parts import read_parts, read_summary, routed_log, rows_of
from router_cli.stack import Stack, add_stack_arguments, open_stack
from search_router.adapters.bedrock_runtime import ConverseModel
from search_router.adapters.clock import SystemClock
from search_router.domain.errors import NotFoundError
from search_router.domain.prices import cost_usd, is_priced
from search_router.domain.serving.cascade import route
from search_router.domain.serving.champions import Champion
from search_router.domain.serving.pacing import EXPECTED_LATENCY_SECONDS, MAX_IN_FLIGHT, Pace

ASK_FIRST_USD = 1.0  # an estimate above it wants --yes
_SHOWN = 20
_NO_DEADLINE = float("inf")
_TYPICAL_TOKENS = (60, 60)  # a short prompt and query; four weights without reasoning


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared, what has still to be asked, and what that will cost."""

    base: ComparedModel | None
    against: ComparedModel
    champion: Champion
    calls: int
    estimated_usd: float
    minutes: float

    @property
    def sides(self) -> tuple[str, str]:
        """The names under which the two sides' answers are kept."""
        return side_of(self.base) if self.base else RECORDED, side_of(self.against)

    @property
    def asked(self) -> list[ComparedModel]:
        """The models that are asked."""
        return [model for model in (self.base, self.against) if model is not None]

    @property
    def base_name(self) -> str:
        """How the first side is called."""
        return self.base.name if self.base else f"v{self.champion.version} as recorded"


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("compare", help="ask a log's queries of another model")
    parser.add_argument("log_id", metavar="LOG")
    parser.add_argument(
        "--against", required=True, metavar="MODEL", help="v3, champion, run-…, or a model id"
    )
    parser.add_argument("--base", metavar="MODEL", help="default: the log's own answers")
    parser.add_argument("--sample", type=_positive, metavar="N", help="compare N queries only")
    parser.add_argument("--moved-by", type=float, default=0.1, help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all that moved, as JSONL")
    parser.add_argument("--store", type=Path, metavar="FILE", help="default: compare-LOG.sqlite")
    parser.add_argument(
        "--requests-per-minute", type=_positive, default=200, help="default: %(default)s"
    )
    parser.add_argument("--yes", action="store_true", help=f"even above ${ASK_FIRST_USD:.0f}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Estimate, ask what is missing, and list what moved."""
    stack = open_stack(arguments)
    store_path = arguments.store or Path(f"compare-{arguments.log_id}.sqlite")
    with ComparisonStore(store_path) as store:
        plan = _plan(stack, store, arguments)
        say(
            f"{plan.calls} calls to make: about ${plan.estimated_usd:.4f} and "
            f"{plan.minutes:.1f} minutes"
        )
        if plan.estimated_usd > ASK_FIRST_USD and not arguments.yes:
            raise CommandError(
                f"about ${plan.estimated_usd:.2f} would be spent: run it again with --yes, or "
                "with --sample N"
            )
        for model in plan.asked:
            if not is_priced(model.serving.priced_as):
                say(f"no price is known for {model.serving.priced_as}: it is counted as 0")
            ask_missing(stack, store, model, arguments.sample, arguments.requests_per_minute)
        found = _compare(store, plan, arguments)
    report = _report(plan, found, arguments.log_id)
    if arguments.json:
        print_json(report)
    else:
        _print(report)
        say(f"the answers are kept in {store_path}; delete it when you are done")
    return 0


def side_of(model: ComparedModel) -> str:
    """Name a side by all that its answers depend on."""
    serving = model.serving
    asked_with = [serving.model_id, serving.system_prompt, str(serving.max_output_tokens)]
    return hashlib.sha256("\0".join(asked_with).encode("utf-8")).hexdigest()[:16]


def ask_missing(
    stack: Stack,
    store: ComparisonStore,
    model: ComparedModel,
    sample: int | None,
    requests_per_minute: int,
) -> None:
    """Ask one model for every answer that the store lacks, through the serving cascade."""
    pace = Pace(requests_per_minute / 60)
    in_flight = min(MAX_IN_FLIGHT, math.ceil(pace.per_second * EXPECTED_LATENCY_SECONDS))
    client = stack.client("bedrock-runtime")
    converse = ConverseModel(client, pace, in_flight, _NO_DEADLINE, SystemClock())
    side = side_of(model)
    chunks = math.ceil(store.missing(side, sample) / ASKED_TOGETHER)
    try:
        for chunk in progress(f"asking {model.name}", store.unanswered(side, sample), chunks):
            routing = route(chunk, model.serving, converse, KeptAnswers(store, side))
            store.keep(side, routing.decisions)
            if routing.pending:
                raise CommandError(
                    f"{model.name} did not answer {len(routing.pending)} queries "
                    f"({routing.problem}); what it answered is kept: run it again"
                )
    except NotFoundError as error:
        raise CommandError(f"{model.name} cannot be asked: {error}") from None


def _plan(stack: Stack, store: ComparisonStore, arguments: argparse.Namespace) -> Plan:
    log = routed_log(stack, arguments.log_id)
    champion = stack.champions.version(log.champion_version)
    if champion is None:
        raise CommandError(f"champion version {log.champion_version} is unknown")
    against = find_model(stack, arguments.against, champion)
    base = find_model(stack, arguments.base, champion) if arguments.base else None
    if not store.holds(log.log_id):
        parts = read_parts(stack, log.log_id, "reading the log")
        rows = (row for part in parts for row in rows_of(part))
        store.take_in(log.log_id, rows, champion.serving.modalities)
    summary = read_summary(stack, log.log_id)
    calls = usd = 0.0
    for model in (base, against):
        if model is not None:
            missing = store.missing(side_of(model), arguments.sample)
            calls += missing
            usd += missing * cost_usd(model.serving.priced_as, 1, 0) * _tokens(summary)[0]
            usd += missing * cost_usd(model.serving.priced_as, 0, 1) * _tokens(summary)[1]
    minutes = calls / arguments.requests_per_minute
    return Plan(base, against, champion, int(calls), usd, minutes)


def _tokens(summary: dict[str, Any]) -> tuple[float, float]:
    """Return the tokens in and out of one call, as the log's calls had them."""
    calls = summary["model_calls"]
    if not calls:
        return _TYPICAL_TOKENS
    return summary["input_tokens"] / calls, summary["output_tokens"] / calls


def _compare(store: ComparisonStore, plan: Plan, arguments: argparse.Namespace) -> Differences:
    found = Differences(plan.champion.serving.modalities, arguments.moved_by, _SHOWN)
    with ExitStack() as closing:
        file: BinaryIO | None = None
        if arguments.out:
            try:
                file = closing.enter_context(arguments.out.open("wb"))
            except OSError as error:
                raise CommandError(f"{arguments.out}: {error}") from None
        for pair in store.pairs(*plan.sides, arguments.sample):
            moved = found.add(pair)
            if moved is not None and file is not None:
                line = json.dumps(moved.as_json(), ensure_ascii=False)
                file.write(line.encode("utf-8") + b"\n")
    return found


def _report(plan: Plan, found: Differences, log_id: str) -> dict[str, Any]:
    recorded = {} if plan.base else {"recorded": True}
    asked = [found.against] if plan.base is None else [found.base, found.against]
    return {
        "log_id": log_id,
        "base": {"name": plan.base_name, **recorded, **found.base.as_json()},
        "against": {
            "name": plan.against.name,
            "model": plan.against.serving.model_id,
            **found.against.as_json(),
        },
        "estimated_cost_usd": round(plan.estimated_usd, 8),
        "cost_usd": round(math.fsum(side.cost_usd for side in asked), 8),
        **found.as_json(),
        "furthest": [moved.as_json() for moved in found.furthest()],
    }


def _print(report: dict[str, Any]) -> None:
    base, against = report["base"], report["against"]
    names = [name for name in base if name in against and name != "name"]
    print_table(
        "Two models over one log",
        ["", base["name"], against["name"]],
        [(name, base[name], against[name]) for name in names],
    )
    hidden = {"base", "against", "furthest", "modalities", "log_id"}
    print_table(report["log_id"], ["", ""], [(k, v) for k, v in report.items() if k not in hidden])
    print_table(
        "Mean change by modality",
        ["modality", "mean change", "mean absolute change"],
        [
            (name, found["mean_change"], found["mean_absolute_change"])
            for name, found in report["modalities"].items()
        ],
    )
    print_table(
        "Queries that moved furthest",
        ["query", "rows", "dominant", "largest change", "of"],
        [
            (
                moved["query"],
                moved["rows"],
                " to ".join(moved["dominant"]),
                f"{moved['largest_change']:.2f}",
                moved["modality"],
            )
            for moved in report["furthest"]
        ],
    )

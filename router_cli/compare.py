"""`search-router compare LOG --against MODEL`: which queries would change, and at what cost.

One side is the answers in the log, unless `--base` names another model. Models are asked through
the same cascade as in serving. A comparison that was stopped continues where it was.
"""

import argparse
import hashlib
import json
import math
import re
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from router_cli.comparison.answers import (
    ASKED_TOGETHER,
    RECORDED,
    ComparisonStore,
    KeptAnswers,
)
from router_cli.comparison.differences import Differences
from router_cli.console import CommandError, print_json, print_table, progress, say
from router_cli.labels import figure, label, labelled
from router_cli.outputs import output
from router_cli.routed_logs.parts import (
    champion_of,
    read_parts,
    read_summary,
    routed_log,
    rows_of,
)
from router_cli.stack import Stack, open_stack
from router_cli.verbs import CONFIRM_ABOVE_USD
from search_router.adapters.bedrock_runtime import ConverseModel
from search_router.adapters.clock import SystemClock
from search_router.domain.errors import NotFoundError
from search_router.domain.naming import foundation_model_id
from search_router.domain.prices import cost_usd, is_priced
from search_router.domain.serving.cascade import route
from search_router.domain.serving.champions import Champion, ServingModel
from search_router.domain.serving.pacing import EXPECTED_LATENCY_SECONDS, MAX_IN_FLIGHT, Pace

_SHOWN = 20
_NO_DEADLINE = float("inf")
_TYPICAL_TOKENS = (60, 60)  # a short prompt and query; four weights without reasoning
_VERSION = re.compile(r"v?(\d+)")


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """A model under the name that the user gave it."""

    name: str
    serving: ServingModel

    @property
    def side(self) -> str:
        """A hash of everything on which the answers depend."""
        serving = self.serving
        asked_with = [serving.model_id, serving.system_prompt, str(serving.max_output_tokens)]
        return hashlib.sha256("\0".join(asked_with).encode("utf-8")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared, what must still be asked, and an estimate of its cost."""

    base: ComparedModel | None
    against: ComparedModel
    champion: Champion
    calls: int
    estimated_usd: float
    minutes: float

    @property
    def asked(self) -> list[ComparedModel]:
        """The models that are asked."""
        return [model for model in (self.base, self.against) if model is not None]

    @property
    def base_name(self) -> str:
        """The name of the first side."""
        return self.base.name if self.base else f"v{self.champion.version} as recorded"


def run(arguments: argparse.Namespace) -> int:
    """Estimate the cost, ask for the missing answers, and list what moved."""
    stack = open_stack(arguments)
    store_path = arguments.store or Path(f"compare-{arguments.log_id}.sqlite")
    with ComparisonStore(store_path) as store:
        plan = _plan(stack, store, arguments)
        say(
            f"{plan.calls:,} calls to make: about ${plan.estimated_usd:.4f} and "
            f"{plan.minutes:.1f} minutes"
        )
        if plan.estimated_usd > CONFIRM_ABOVE_USD and not arguments.yes:
            raise CommandError(
                f"the estimate is above ${CONFIRM_ABOVE_USD:.0f}: ${plan.estimated_usd:.2f}. "
                "Confirm with --yes, or compare fewer queries with --sample N."
            )
        for model in plan.asked:
            if not is_priced(model.serving.priced_as):
                say(f"The price of {model.serving.priced_as} is unknown and counted as 0.")
            _ask_missing(stack, store, model, arguments.sample, arguments.requests_per_minute)
        found = _compare(store, plan, arguments)
    report = _report(plan, found, arguments.log_id)
    if arguments.json:
        print_json(report)
    else:
        _print(report)
        say(f"The answers are kept in {store_path}. Delete it when you are done.")
    return 0


def find_model(stack: Stack, name: str, like: Champion) -> ComparedModel:
    """Return a champion version (`3`, `v3`, `champion`), a run's model, or a foundation model.

    A foundation model, or the ARN of a deployment, gets the prompt and prior of `like`. Raises
    CommandError for a model that cannot be asked or has other modalities.
    """
    serving = _serving(stack, name, like)
    if serving.modalities != like.serving.modalities:
        raise CommandError(
            f"{name} has other modalities than the log: {', '.join(serving.modalities)} instead of "
            f"{', '.join(like.serving.modalities)}. Compare with a model of the same modalities."
        )
    return ComparedModel(name, serving)


def _serving(stack: Stack, name: str, like: Champion) -> ServingModel:
    version = _VERSION.fullmatch(name)
    if version or name == "champion":
        champions = stack.champions
        champion = champions.version(int(version[1])) if version else champions.current()
        if champion is None:
            raise CommandError(
                f"no such champion: {name}. `search-router champions` lists all versions."
            )
        return champion.serving
    if name.startswith("run-"):
        run = stack.run(name)
        if run.deployment is None or run.deployment.deleted:
            raise CommandError(
                f"the model of {name} is not deployed ({run.state.value}). Compare with another."
            )
        return run.serving
    model_id = name if name.startswith("arn:") else re.sub(r":\d+k$", "", name)
    priced_as = like.serving.priced_as if name.startswith("arn:") else foundation_model_id(name)
    return like.serving.model_copy(update={"model_id": model_id, "priced_as": priced_as})


def _ask_missing(
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
    side = model.side
    chunks = math.ceil(store.missing(side, sample) / ASKED_TOGETHER)
    try:
        for chunk in progress(f"asking {model.name}", store.unanswered(side, sample), chunks):
            routing = route(chunk, model.serving, converse, KeptAnswers(store, side))
            store.keep(side, routing.decisions)
            if routing.pending:
                raise CommandError(
                    f"{model.name} left {len(routing.pending)} queries unanswered: "
                    f"{routing.problem}. Run the command again; it keeps the other answers."
                )
    except NotFoundError as error:
        raise CommandError(f"cannot ask {model.name}: {error}") from None


def _plan(stack: Stack, store: ComparisonStore, arguments: argparse.Namespace) -> Plan:
    log = routed_log(stack, arguments.log_id)
    champion = champion_of(stack, log)
    against = find_model(stack, arguments.against, champion)
    base = find_model(stack, arguments.base, champion) if arguments.base else None
    if not store.holds(log.log_id):
        parts = read_parts(stack, log.log_id, "reading the log")
        rows = (row for part in parts for row in rows_of(part))
        store.add_log(log.log_id, rows, champion.serving.modalities)
    tokens_in, tokens_out = _tokens(read_summary(stack, log.log_id))
    calls, usd = 0, 0.0
    for model in (base, against):
        if model is not None:
            missing, priced_as = (
                store.missing(model.side, arguments.sample),
                model.serving.priced_as,
            )
            calls += missing
            one = cost_usd(priced_as, 1, 0) * tokens_in + cost_usd(priced_as, 0, 1) * tokens_out
            usd += missing * one
    return Plan(base, against, champion, calls, usd, calls / arguments.requests_per_minute)


def _tokens(summary: dict[str, Any]) -> tuple[float, float]:
    """Return the mean tokens in and out of the log's calls."""
    calls = summary["model_calls"]
    if not calls:
        return _TYPICAL_TOKENS
    return summary["input_tokens"] / calls, summary["output_tokens"] / calls


def _compare(store: ComparisonStore, plan: Plan, arguments: argparse.Namespace) -> Differences:
    found = Differences(plan.champion.serving.modalities, arguments.moved_by, _SHOWN)
    base = plan.base.side if plan.base else RECORDED
    with ExitStack() as closing:
        file: IO[bytes] | None = None
        if arguments.out:
            file = closing.enter_context(output(arguments.out))
        for pair in store.pairs(base, plan.against.side, arguments.sample):
            moved = found.add(pair)
            if moved is not None and file is not None:
                line = json.dumps(asdict(moved), ensure_ascii=False)
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
        "furthest": [asdict(moved) for moved in found.furthest()],
    }


def _print(report: dict[str, Any]) -> None:
    base, against = report["base"], report["against"]
    names = [name for name in base if name in against and name != "name"]
    print_table(
        "Two models over one log",
        ["", base["name"], against["name"]],
        [(label(name), figure(name, base[name]), figure(name, against[name])) for name in names],
    )
    others = {"base", "against", "furthest", "modalities", "log_id"}
    shown = {name: value for name, value in report.items() if name not in others}
    print_table(report["log_id"], ["", ""], labelled(shown))
    print_table(
        "Mean change by modality",
        ["modality", "mean change", "mean absolute change"],
        [
            (name, f"{found['mean_change']:+.4f}", f"{found['mean_absolute_change']:.4f}")
            for name, found in report["modalities"].items()
        ],
    )
    print_table(
        "Queries that moved furthest",
        ["query", "rows", "dominant modality", "largest change", "of the weight for"],
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

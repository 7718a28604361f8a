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
from router_cli.comparison.differences import Differences, Side
from router_cli.console import CommandError, fail, print_json, print_table, progress, say
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
from search_router.adapters.bedrock import BedrockDeployments, BedrockFoundationModels
from search_router.adapters.bedrock_runtime import ConverseModel
from search_router.adapters.clock import SystemClock
from search_router.domain.errors import (
    AccessDeniedError,
    InvalidInputError,
    NotFoundError,
    commonest,
)
from search_router.domain.lifecycle.runs import DeploymentStatus
from search_router.domain.naming import foundation_model_id
from search_router.domain.prices import cost_usd, is_priced
from search_router.domain.serving.cascade import route
from search_router.domain.serving.champions import Champion, ServingModel
from search_router.domain.serving.decisions import Decision, Status
from search_router.domain.serving.pacing import EXPECTED_LATENCY_SECONDS, MAX_IN_FLIGHT, Pace

_SHOWN = 20
_TRIAL = 20  # if the first answers are all unusable, no more are asked for
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
    """What is compared, what must still be asked, and an estimate of its cost.

    The estimate is None if a model that must be asked has no known price.
    """

    base: ComparedModel | None
    against: ComparedModel
    champion: Champion
    calls: int
    estimated_usd: float | None
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
        price = "cost unknown" if plan.estimated_usd is None else f"about ${plan.estimated_usd:.4f}"
        say(f"{plan.calls:,} calls to make: {price}, {plan.minutes:.1f} minutes")
        if plan.calls and not arguments.yes:
            _check_price(plan)
        for model in plan.asked:
            if store.missing(model.side, arguments.sample):
                _check_exists(stack, model)
        for model in plan.asked:
            _ask_missing(stack, store, model, arguments.sample, arguments.requests_per_minute)
        found = _compare(store, plan, arguments)
    report = _report(plan, found, arguments.log_id)
    if arguments.json:
        print_json(report)
    else:
        _print(report)
        say(f"The answers are kept in {store_path}. Delete it when you are done.")
    if not found.compared:
        return fail("no query has a usable answer of both models, so nothing was compared.")
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


def _check_price(plan: Plan) -> None:
    """Raise CommandError if the calls need a confirmation; an unknown price always does."""
    unpriced = [it.serving.priced_as for it in plan.asked if not is_priced(it.serving.priced_as)]
    if plan.estimated_usd is None:
        raise CommandError(
            f"the price of {', '.join(unpriced)} is unknown. Check the model id, then confirm with "
            "--yes."
        )
    if plan.estimated_usd > CONFIRM_ABOVE_USD:
        raise CommandError(
            f"the estimate is above ${CONFIRM_ABOVE_USD:.0f}: ${plan.estimated_usd:.2f}. "
            "Confirm with --yes, or compare fewer queries with --sample N."
        )


def _check_exists(stack: Stack, model: ComparedModel) -> None:
    """Raise CommandError for a model that Bedrock does not have, before the first call.

    A user who may call models but not list them is checked by the first answers.
    """
    model_id, bedrock = model.serving.model_id, stack.client("bedrock")
    try:
        if ":custom-model-deployment/" in model_id:
            status = BedrockDeployments(bedrock).deployment(model_id).status
            if status != DeploymentStatus.ACTIVE:
                raise CommandError(f"cannot ask {model.name}: its deployment is {status}.")
        elif not model_id.startswith("arn:"):
            BedrockFoundationModels(bedrock).lifecycle(model_id)
    except AccessDeniedError:
        return
    except (InvalidInputError, NotFoundError) as error:
        raise CommandError(
            f"no such model: {model.name} ({error}). Name a version (v3), `champion`, a run or a "
            "model id."
        ) from None


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
    is_trial = not store.has_usable(side)
    first = [_TRIAL] if is_trial else []
    chunks = len(first) + math.ceil(store.missing(side, sample) / ASKED_TOGETHER)
    unanswered = store.unanswered(side, sample, first)
    try:
        for chunk in progress(f"asking {model.name}", unanswered, chunks):
            routing = route(chunk, model.serving, converse, KeptAnswers(store, side))
            if is_trial and not routing.pending:
                _check_trial(model, list(routing.decisions.values()))
                is_trial = False
            store.keep(side, routing.decisions)
            if routing.pending:
                raise CommandError(
                    f"{model.name} left {len(routing.pending)} queries unanswered: "
                    f"{routing.problem}. Run the command again; it keeps the other answers."
                )
    except NotFoundError as error:
        raise CommandError(f"cannot ask {model.name}: {error}") from None


def _check_trial(model: ComparedModel, first: list[Decision]) -> None:
    """Raise CommandError if a model's first answers are all unusable."""
    if first and all(decision.status is Status.FALLBACK for decision in first):
        raise CommandError(
            f"none of the first {len(first)} answers of {model.name} is usable: "
            f"{commonest(decision.problem for decision in first)}. Check the model id and its "
            "prompt. No answer was kept."
        )


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
    calls, usd, is_known = 0, 0.0, True
    for model in (base, against):
        if model is not None:
            missing = store.missing(model.side, arguments.sample)
            priced_as = model.serving.priced_as
            calls += missing
            is_known = is_known and (is_priced(priced_as) or not missing)
            one = cost_usd(priced_as, 1, 0) * tokens_in + cost_usd(priced_as, 0, 1) * tokens_out
            usd += missing * one
    minutes = calls / arguments.requests_per_minute
    return Plan(base, against, champion, calls, usd if is_known else None, minutes)


def _tokens(summary: dict[str, Any]) -> tuple[float, float]:
    """Return the mean tokens in and out of the log's calls."""
    calls = summary["model_calls"]
    if not calls:
        return _TYPICAL_TOKENS
    return summary["input_tokens"] / calls, summary["output_tokens"] / calls


def _compare(store: ComparisonStore, plan: Plan, arguments: argparse.Namespace) -> Differences:
    first = plan.base.serving if plan.base else plan.champion.serving
    found = Differences(
        plan.champion.serving.modalities,
        arguments.moved_by,
        _SHOWN,
        base=Side(is_priced=is_priced(first.priced_as)),
        against=Side(is_priced=is_priced(plan.against.serving.priced_as)),
    )
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
        "estimated_cost_usd": plan.estimated_usd and round(plan.estimated_usd, 8),
        "total_cost_usd": (
            round(math.fsum(side.cost_usd for side in asked), 8)
            if all(side.is_priced for side in asked)
            else None
        ),
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
            (name, f"{found['mean_change']:+.4f}", figure("mae", found["mean_absolute_change"]))
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

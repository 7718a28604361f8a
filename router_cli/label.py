"""`search-router label FILE --out FILE`: a teacher labels queries; training records come out.

It can be stopped and started again: queries that the output has already are not asked again. What
could not be labelled is kept beside the output, in `<out>.failed.jsonl`, and asked again next time.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router_cli.console import print_json, progress, say
from router_cli.failures import CommandError
from router_cli.generate import read_queries
from router_cli.stack import Stack, add_stack_arguments, open_stack
from router_cli.validate import DEFAULT_MODALITIES, DEFAULT_TEACHER
from search_router.adapters.bedrock_runtime import ConverseModel
from search_router.adapters.clock import SystemClock
from search_router.domain import naming
from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.labels import parse_label
from search_router.domain.intake.training_records import training_line
from search_router.domain.lifecycle.teacher import teacher_prompt
from search_router.domain.prices import cost_usd
from search_router.domain.queries import fingerprint
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import END_TURN, ModelReply
from search_router.domain.serving.pacing import MAX_IN_FLIGHT, Pace
from search_router.domain.weights import Modalities, default_system_prompt, parse_modalities
from search_router.ports import ObjectStore

MAX_ANSWER_TOKENS = 300
_NO_DEADLINE = float("inf")


@dataclass(slots=True)
class Outcome:
    """What a run of the verb did."""

    labelled: int = 0
    cost_usd: float = 0.0
    failed: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Task:
    """Who labels, how fast, and whether the reasons are wanted."""

    teacher: ServingModel
    pace: Pace
    with_reasoning: bool


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("label", help="have a teacher label queries")
    queries = parser.add_mutually_exclusive_group(required=True)
    queries.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="a prompt file; labels are ignored"
    )
    queries.add_argument(
        "--from-abstained", metavar="LOG", help="what the local tier refused of a routed query log"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--teacher", default=DEFAULT_TEACHER, help="default: %(default)s")
    parser.add_argument("--reasoning", action="store_true", help="ask for a reasoning too")
    parser.add_argument("--modalities", default=DEFAULT_MODALITIES, help="default: %(default)s")
    parser.add_argument("--requests-per-minute", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Label what is not labelled yet; 1 if something could not be."""
    modalities = parse_modalities(arguments.modalities)
    stack = open_stack(arguments)
    if arguments.from_abstained:
        queries = abstained_queries(stack.objects, arguments.from_abstained)
    else:
        queries = _distinct(arguments.file, modalities)
    _drop_torn_line(arguments.out)
    done = _distinct(arguments.out, modalities) if arguments.out.exists() else {}
    missing = [query for key, query in queries.items() if key not in done]
    teacher = ServingModel(
        model_id=arguments.teacher,
        priced_as=arguments.teacher,
        system_prompt=teacher_prompt(modalities, with_reasoning=arguments.reasoning),
        modalities=modalities,
        max_output_tokens=MAX_ANSWER_TOKENS,
        prior=(),
    )
    pace = Pace(arguments.requests_per_minute / 60)
    task = _Task(teacher, pace, arguments.reasoning)
    outcome = _label(stack, task, missing, arguments.out)
    _keep_failures(arguments.out, outcome)
    report = {
        "queries": len(queries),
        "already_labelled": len(queries) - len(missing),
        "labelled": outcome.labelled,
        "failed": len(outcome.failed),
        "cost_usd": round(outcome.cost_usd, 6),
    }
    if arguments.json:
        print_json(report)
    else:
        say(", ".join(f"{name} {value}" for name, value in report.items()))
    return 1 if outcome.failed else 0


def _label(stack: Stack, task: _Task, queries: list[str], out: Path) -> Outcome:
    """Append a training record per usable answer, as the answers come."""
    client, teacher = stack.client("bedrock-runtime"), task.teacher
    model = ConverseModel(client, task.pace, MAX_IN_FLIGHT, _NO_DEADLINE, SystemClock())
    prompt = default_system_prompt(teacher.modalities, with_reasoning=task.with_reasoning)
    outcome = Outcome()
    with out.open("ab") as file:
        for query, reply in progress("labelling", model.ask(teacher, queries), len(queries)):
            if isinstance(reply, Exception):
                outcome.failed.append((query, str(reply)))
                continue
            outcome.cost_usd += cost_usd(teacher.priced_as, reply.input_tokens, reply.output_tokens)
            try:
                weights, reasoning = _read(reply, teacher.modalities)
            except InvalidInputError as error:
                outcome.failed.append((query, str(error)))
                continue
            kept = reasoning if task.with_reasoning else None
            file.write(training_line(query, prompt, teacher.modalities, weights, kept))
            file.flush()
            outcome.labelled += 1
    return outcome


def _read(reply: ModelReply, modalities: Modalities) -> tuple[tuple[float, ...], str | None]:
    """Read a teacher's answer as a label; a code fence around it is no reason to refuse it."""
    if reply.stop_reason != END_TURN:
        raise InvalidInputError(f"stop reason {reply.stop_reason}")
    start, end = reply.text.find("{"), reply.text.rfind("}")
    return parse_label(reply.text[start : end + 1], modalities)


def abstained_queries(objects: ObjectStore, log_id: str) -> dict[bytes, str]:
    """Return the distinct queries of a log that its local tier refused, in a hash's order."""
    queries: dict[bytes, str] = {}
    for key, _ in objects.list(naming.log_key(log_id, "abstained")):
        for line in objects.get(key).splitlines():
            query = json.loads(line)["query"]
            queries.setdefault(fingerprint(query), query)
    if not queries:
        raise CommandError(
            f"the local tier refused no query of the log {log_id}: is there such a log, and was "
            "LocalTier shadow or on when it was routed?"
        )
    return dict(sorted(queries.items()))


def _distinct(path: Path, modalities: Modalities) -> dict[bytes, str]:
    queries: dict[bytes, str] = {}
    for query in read_queries(path, modalities):
        queries.setdefault(fingerprint(query), query)
    if not queries and not path.exists():
        raise CommandError(f"there is no file {path}")
    return queries


def _drop_torn_line(path: Path) -> None:
    """Cut off what a killed run left of its last line; its query is asked again."""
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _keep_failures(out: Path, outcome: Outcome) -> None:
    path = out.with_name(out.name + ".failed.jsonl")
    if not outcome.failed:
        path.unlink(missing_ok=True)
        return
    lines = [
        json.dumps({"query": query, "reason": reason}, ensure_ascii=False)
        for query, reason in outcome.failed
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

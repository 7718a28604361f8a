"""`search-router label FILE --out FILE`: a teacher model labels queries.

The verb can be stopped and started again: it asks only for queries that the output lacks. Queries
that could not be labelled are kept in `<out>.failed.jsonl` and asked for again the next time.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

from router_cli.console import CommandError, print_json, progress, say
from router_cli.prompt_files import read_queries
from router_cli.stack import Stack, open_stack
from search_router.adapters.bedrock_runtime import ConverseModel
from search_router.adapters.clock import SystemClock
from search_router.domain import naming
from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.labels import parse_label
from search_router.domain.intake.training_records import training_line
from search_router.domain.lifecycle.teacher import MAX_LABEL_TOKENS, teacher_prompt
from search_router.domain.prices import cost_usd
from search_router.domain.queries import fingerprint
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import END_TURN, ModelReply
from search_router.domain.serving.pacing import MAX_IN_FLIGHT, Pace
from search_router.domain.weights import Modalities, default_system_prompt, parse_modalities
from search_router.ports import ObjectStore

_NO_DEADLINE = float("inf")


@dataclass(slots=True)
class _Outcome:
    labelled: int = 0
    cost_usd: float = 0.0
    failed: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Task:
    teacher: ServingModel
    pace: Pace
    with_reasoning: bool


def run(arguments: argparse.Namespace) -> int:
    """Label the queries that the output lacks; return 1 if some could not be labelled."""
    modalities = parse_modalities(arguments.modalities)
    stack = open_stack(arguments)
    if arguments.from_abstained:
        queries = abstained_queries(stack.objects, arguments.from_abstained)
    else:
        queries = _distinct(arguments.file, modalities)
    _drop_incomplete_line(arguments.out)
    done = _distinct(arguments.out, modalities) if arguments.out.exists() else {}
    missing = [query for key, query in queries.items() if key not in done]
    teacher = ServingModel(
        model_id=arguments.teacher,
        priced_as=arguments.teacher,
        system_prompt=teacher_prompt(modalities, with_reasoning=arguments.reasoning),
        modalities=modalities,
        max_output_tokens=MAX_LABEL_TOKENS,
        prior=(),
    )
    task = _Task(teacher, Pace(arguments.requests_per_minute / 60), arguments.reasoning)
    outcome = _label(stack, task, missing, arguments.out)
    failed_file = _keep_failures(arguments.out, outcome)
    if arguments.json:
        print_json(
            {
                "queries": len(queries),
                "already_labelled": len(queries) - len(missing),
                "labelled": outcome.labelled,
                "failed": len(outcome.failed),
                "cost_usd": round(outcome.cost_usd, 6),
            }
        )
    else:
        say(
            f"{outcome.labelled:,} of {len(queries):,} queries labelled for "
            f"${outcome.cost_usd:,.4f}; {len(queries) - len(missing):,} were labelled before"
        )
    if outcome.failed and not arguments.json:
        say(f"{len(outcome.failed):,} failed, see {failed_file}. Run the command again.")
    return 1 if outcome.failed else 0


def _label(stack: Stack, task: _Task, queries: list[str], out: Path) -> _Outcome:
    """Append a training record for each usable answer, as the answers come."""
    client, teacher = stack.client("bedrock-runtime"), task.teacher
    model = ConverseModel(client, task.pace, MAX_IN_FLIGHT, _NO_DEADLINE, SystemClock())
    prompt = default_system_prompt(teacher.modalities, with_reasoning=task.with_reasoning)
    outcome = _Outcome()
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
    """Read a teacher's answer as a label; text or a code fence around the JSON is ignored."""
    if reply.stop_reason != END_TURN:
        raise InvalidInputError(f"stop reason {reply.stop_reason}")
    start, end = reply.text.find("{"), reply.text.rfind("}")
    return parse_label(reply.text[start : end + 1], modalities)


def abstained_queries(objects: ObjectStore, log_id: str) -> dict[bytes, str]:
    """Return the distinct queries of a log on which the local tier abstained, by fingerprint."""
    queries: dict[bytes, str] = {}
    for key, _ in objects.list(naming.upload_key(log_id, "abstained")):
        for line in objects.get(key).splitlines():
            query = json.loads(line)["query"]
            queries.setdefault(fingerprint(query), query)
    if not queries:
        raise CommandError(
            f"{log_id} has no query on which the local tier abstained. Check the id, and that "
            "LocalTier was `shadow` or `on` when the log was routed."
        )
    return dict(sorted(queries.items()))


def _distinct(path: Path, modalities: Modalities) -> dict[bytes, str]:
    queries: dict[bytes, str] = {}
    for query in read_queries(path, modalities):
        queries.setdefault(fingerprint(query), query)
    return queries


def _drop_incomplete_line(path: Path) -> None:
    """Cut off the last line if an earlier run was killed while writing it."""
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _keep_failures(out: Path, outcome: _Outcome) -> Path:
    path = out.with_name(out.name + ".failed.jsonl")
    if outcome.failed:
        lines = [
            json.dumps({"query": query, "reason": reason}, ensure_ascii=False) + "\n"
            for query, reason in outcome.failed
        ]
        path.write_text("".join(lines), encoding="utf-8")
    else:
        path.unlink(missing_ok=True)
    return path

"""`search-router label FILE --out FILE`: a teacher model labels queries.

The verb can be stopped and started again: it asks only for queries that the output lacks. Queries
that could not be labelled are kept in `<out>.failed.jsonl` and asked for again the next time.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

from router_cli.console import CommandError, print_json, progress, say
from router_cli.outputs import is_replaceable, is_stdout, output
from router_cli.prompt_files import read_queries
from router_cli.stack import Stack, open_stack
from router_cli.verbs import CONFIRM_ABOVE_USD
from search_router.adapters.bedrock_runtime import ConverseModel
from search_router.adapters.clock import SystemClock
from search_router.domain import naming
from search_router.domain.errors import InvalidInputError, commonest
from search_router.domain.intake.labels import parse_label
from search_router.domain.intake.training_records import training_line
from search_router.domain.lifecycle.estimates import BYTES_PER_TOKEN, TYPICAL_REASONING_BYTES
from search_router.domain.lifecycle.teacher import MAX_LABEL_TOKENS, teacher_prompt
from search_router.domain.prices import cost_usd, is_priced
from search_router.domain.queries import fingerprint
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import END_TURN, ModelReply
from search_router.domain.serving.pacing import MAX_IN_FLIGHT, Pace
from search_router.domain.weights import Modalities, default_system_prompt, parse_modalities
from search_router.ports import ObjectStore

_TRIAL = 20  # if the first answers are all unusable, no more are asked for
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
    if is_stdout(arguments.out) and arguments.json:
        arguments.usage_error("--json and --out - both write to stdout. Use one of them.")
    modalities = parse_modalities(arguments.modalities)
    stack = open_stack(arguments)
    if arguments.from_abstained:
        queries = abstained_queries(stack.objects, arguments.from_abstained)
    else:
        queries = _distinct(arguments.file, modalities)
    done = {}
    if is_replaceable(arguments.out) and arguments.out.exists():
        _drop_incomplete_line(arguments.out)
        done = _distinct(arguments.out, modalities)
    missing = [query for key, query in queries.items() if key not in done]
    teacher = ServingModel(
        model_id=arguments.teacher,
        priced_as=arguments.teacher,
        system_prompt=teacher_prompt(modalities, with_reasoning=arguments.reasoning),
        modalities=modalities,
        max_output_tokens=MAX_LABEL_TOKENS,
        prior=(),
    )
    _confirm(teacher, missing, arguments)
    task = _Task(teacher, Pace(arguments.requests_per_minute / 60), arguments.reasoning)
    outcome = _label(stack, task, missing, arguments.out)
    spent = round(outcome.cost_usd, 6) if is_priced(teacher.priced_as) else None
    failed_file = _keep_failures(arguments.out, outcome)
    if arguments.json:
        print_json(
            {
                "queries": len(queries),
                "already_labelled": len(queries) - len(missing),
                "labelled": outcome.labelled,
                "failed": len(outcome.failed),
                "cost_usd": spent,
            }
        )
    else:
        price = "an unknown cost" if spent is None else f"${spent:,.4f}"
        say(
            f"{outcome.labelled:,} of {len(queries):,} queries labelled for {price}; "
            f"{len(queries) - len(missing):,} were labelled before"
        )
    if outcome.failed and not arguments.json:
        why = commonest(reason for _, reason in outcome.failed)
        say(f"{len(outcome.failed):,} failed ({why}), see {failed_file}. Run the command again.")
    return 1 if outcome.failed else 0


def _confirm(teacher: ServingModel, queries: list[str], arguments: argparse.Namespace) -> None:
    """Show the estimate; raises CommandError if it needs a confirmation or is unknown."""
    prompt = len(teacher.system_prompt.encode()) * len(queries)
    asked = (prompt + sum(len(query.encode()) for query in queries)) // BYTES_PER_TOKEN
    label = len(json.dumps(dict.fromkeys(teacher.modalities, 0.25)))
    answer = label + (TYPICAL_REASONING_BYTES if arguments.reasoning else 0)
    usd = cost_usd(teacher.priced_as, asked, len(queries) * answer // BYTES_PER_TOKEN)
    minutes = len(queries) / arguments.requests_per_minute
    is_known = is_priced(teacher.priced_as)
    price = f"about ${usd:,.4f}" if is_known else "cost unknown"
    say(f"{len(queries):,} queries to label: {price}, {minutes:,.1f} minutes")
    if queries and not arguments.yes and (not is_known or usd > CONFIRM_ABOVE_USD):
        why = f"above ${CONFIRM_ABOVE_USD:.0f}" if is_known else "unknown"
        raise CommandError(f"the estimate is {why}. Confirm with --yes, or label fewer queries.")


def _label(stack: Stack, task: _Task, queries: list[str], out: Path) -> _Outcome:
    """Append a training record for each usable answer, as the answers come."""
    client, teacher = stack.client("bedrock-runtime"), task.teacher
    model = ConverseModel(client, task.pace, MAX_IN_FLIGHT, _NO_DEADLINE, SystemClock())
    prompt = default_system_prompt(teacher.modalities, with_reasoning=task.with_reasoning)
    outcome = _Outcome()
    appended = out.open("ab") if is_replaceable(out) else output(out)
    with appended as file:
        for query, reply in progress("labelling", model.ask(teacher, queries), len(queries)):
            if not outcome.labelled and len(outcome.failed) >= _TRIAL:
                break
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
    with path.open("r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def _keep_failures(out: Path, outcome: _Outcome) -> Path:
    if not is_replaceable(out):
        out = Path("label")
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

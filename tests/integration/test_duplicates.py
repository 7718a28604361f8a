"""Whatever comes twice, at once or late, is done once.

EventBridge, SQS and Lambda all deliver at least once; Bedrock and S3 send their events so.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.client import BaseClient

from functions.route_queries.app import record_handler
from search_router.dependencies import dependencies
from search_router.domain import naming
from search_router.domain.errors import ConflictError
from search_router.domain.lifecycle.runs import RunState
from search_router.domain.logs.query_logs import LogState
from search_router.domain.uploads import ObjectRef
from tests.integration.material import labelled, lines, query, weights
from tests.integration.stack import WRITES, NewStack, Stack
from tests.integration.world import World
from tests.records import a_deployment, a_run, an_evaluation, conversation, job_of

PROMPTS = labelled(300)
LOG = lines([{"query": query(n % 10)} for n in range(30)])
LONG_LOG = lines([{"query": query(n % 10), "note": "x" * 1_500} for n in range(60)])


def test_everything_delivered_twice_in_a_row_is_done_once(stack: Stack) -> None:
    """`Stack.deliver` checks after each second delivery that nothing has changed."""
    stack.deliveries = 2

    run = stack.train("prompts/labels.jsonl", PROMPTS)
    log = stack.route_log("query-logs/monday.jsonl", LONG_LOG)

    assert (run.state, run.champion_version) == (RunState.PROMOTED, 1)
    assert (log.state, log.parts, log.splits) == (LogState.ROUTED, 2, 2)
    assert stack.champion().version == 1
    assert stack.bought() == {"jobs": 1, "deployments": 1}
    assert stack.bedrock.fake.calls["Converse 200"] == 2 * run.counts.holdout + 10
    said = {(name, json.dumps(detail)) for name, detail in stack.published()}
    assert sorted(name for name, _ in said) == [
        "ModelDeployed",
        "ModelEvaluated",
        "ModelPromoted",
        "PromptsSharded",
        "QueryLogPartsComplete",
        "QueryLogRouted",
    ]
    assert {function for function, _ in stack.delivered} == {
        "shard_prompts",
        "start_distillation",
        "deploy_model",
        "track_runs",
        "evaluate_model",
        "promote_model",
        "split_query_log",
        "route_queries",
        "finish_query_log",
    }


def test_everything_delivered_again_days_later_changes_nothing(stack: Stack) -> None:
    stack.train("prompts/labels.jsonl", PROMPTS)
    stack.route_log("query-logs/monday.jsonl", LONG_LOG)
    before = stack.bought()

    with stack.changing_nothing(trying=True):
        for function, event in reversed(list(stack.delivered)):
            stack.invoke(function, event)

    assert stack.bought() == before


# --- two at the same time ------------------------------------------------------------------------

Prepare = Callable[[Stack, ObjectRef], dict[str, Any]]


@contextmanager
def interrupted_at(place: int | None, interruption: Callable[[], object]) -> Iterator[list[str]]:
    """Let something happen just before write number `place` (from 0) of the block.

    Between a read and the write that rests on it is where two can get into each other's way.
    """
    original = BaseClient._make_api_call  # type: ignore[attr-defined]  # not in the stubs
    written: list[str] = []

    def make_api_call(client: Any, operation: str, parameters: Any) -> Any:
        if operation in WRITES - {"Converse"}:
            written.append(operation)
            if len(written) - 1 == place:
                interruption()
        return original(client, operation, parameters)

    with mock.patch.object(BaseClient, "_make_api_call", make_api_call):
        yield written


def _uploaded(stack: Stack, source: ObjectRef) -> dict[str, Any]:
    return stack.upload_event("shard_prompts", source)


def _sharded(stack: Stack, source: ObjectRef) -> dict[str, Any]:
    stack.invoke("shard_prompts", _uploaded(stack, source))
    return stack.event("start_distillation", run_id=stack.run_of(source).run_id)


def _trained(stack: Stack, source: ObjectRef) -> dict[str, Any]:
    stack.invoke("start_distillation", _sharded(stack, source))
    stack.pass_an_hour()
    return stack.event("deploy_model", jobArn=job_of(stack.run_of(source)).job_arn)


def _deployed(stack: Stack, _source: ObjectRef) -> dict[str, Any]:
    run = a_run(RunState.EVALUATING, deployment=a_deployment(stack.deployed()))
    dependencies().runs.create(run)
    holdout = [conversation(query(n), json.dumps(weights(n))) for n in range(8)]
    dependencies().objects.put(naming.run_key(run.run_id, "holdout.jsonl"), lines(holdout))
    return stack.event("evaluate_model", run_id=run.run_id)


def _evaluated(stack: Stack, _source: ObjectRef) -> dict[str, Any]:
    deployment = a_deployment(stack.deployed())
    run = a_run(RunState.EVALUATING, deployment=deployment, evaluation=an_evaluation())
    dependencies().runs.create(run)
    return stack.event("promote_model", run_id=run.run_id)


def _uploaded_log(stack: Stack, source: ObjectRef) -> dict[str, Any]:
    stack.serve()
    return stack.upload_event("split_query_log", source)


def _queued(stack: Stack, source: ObjectRef) -> dict[str, Any]:
    stack.invoke("split_query_log", _uploaded_log(stack, source))
    (message,) = stack.world.messages()
    record: dict[str, Any] = stack.queue_event(message)["Records"][0]
    return record


def _complete(stack: Stack, source: ObjectRef) -> dict[str, Any]:
    record = _queued(stack, source)
    _invoke(stack, "route_queries", record)
    return stack.event("finish_query_log", log_id=stack.log_of(source).log_id)


def _invoke(stack: Stack, function: str, event: dict[str, Any]) -> None:
    """Invoke a function; of route_queries its record handler, for it keeps one batch at a time."""
    if function == "route_queries":
        handle: Any = record_handler
        handle(SQSRecord(event), stack.context)
    else:
        stack.invoke(function, event)


@pytest.mark.parametrize(
    ("function", "prepare"),
    [
        ("shard_prompts", _uploaded),
        ("start_distillation", _sharded),
        ("deploy_model", _trained),
        ("evaluate_model", _deployed),
        ("promote_model", _evaluated),
        ("split_query_log", _uploaded_log),
        ("route_queries", _queued),
        ("finish_query_log", _complete),
    ],
)
def test_a_duplicate_before_any_write_leaves_what_one_delivery_leaves(
    aws: World, new_stack: NewStack, function: str, prepare: Prepare
) -> None:
    # GIVEN what one undisturbed delivery writes and leaves behind
    prompts = function in ("shard_prompts", "start_distillation", "deploy_model")
    source = aws.upload(*(("prompts/a.jsonl", PROMPTS) if prompts else ("query-logs/a.jsonl", LOG)))
    with new_stack() as stack:
        event = prepare(stack, source)
        with interrupted_at(None, lambda: None) as written:
            _invoke(stack, function, event)
        alone = _left_behind(stack)
    assert len(written) >= 2
    # WHEN the same event is handled, from beginning to end, before any one of these writes
    for place, operation in enumerate(written):
        with new_stack() as stack:
            event = prepare(stack, source)
            with interrupted_at(place, partial(_invoke, stack, function, event)):
                try:
                    _invoke(stack, function, event)
                except ConflictError:  # the slower one loses; Lambda's next try finds it done
                    _invoke(stack, function, event)
            # THEN what is left is the same
            assert _left_behind(stack) == alone, f"before write {place}, {operation}"


def _left_behind(stack: Stack) -> tuple[object, ...]:
    """Return what is stored, bought and queued; of a log's head not the moment of its last move.

    The interrupted attempt waited for its turn to ask before the other one did, so it ends later.
    """
    items, *others = stack.everything()
    assert isinstance(items, list)
    timeless = [{name: value for name, value in i.items() if name != "updated_at"} for i in items]
    return (timeless, *others, stack.bought(), _bodies(stack))


def _bodies(stack: Stack) -> set[str]:
    """Return what lies in the queue; a message that was sent twice does no harm."""
    return {message["Body"] for message in stack.world.messages()}

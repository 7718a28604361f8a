"""The ten functions one after another: prompt file to champion, query log to results."""

import hashlib
import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import boto3
import pytest

from search_router.dependencies import dependencies
from search_router.domain import naming
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.logs.query_logs import LogState, QueryLog
from search_router.use_cases.track_runs import PATIENCE
from tests.aws_calls import Crash, Fault, aws_calls
from tests.integration.material import labelled, lines, mislabelled, query, rows, weights
from tests.integration.stack import Stack
from tests.integration.world import ACCOUNT, DATA, REGION
from tests.records import SYSTEM_PROMPT, a_run, a_training_job, dataset_of, deployment_of, job_of

PROMPTS = (
    labelled(300)
    + b"\n"
    + lines([{"query": f" {query(7)} ", "reference": weights(7)}])
    + b'{"query": "no label for me", "reference": {"visual": 2}}\n'
)


def objects_of(stack: Stack, run: Run) -> dict[str, bytes]:
    """Return a run's objects by their names in the run."""
    prefix = naming.run_key(run.run_id) + "/"
    found = stack.world.data_objects()
    return {key.removeprefix(prefix): body for key, body in found.items() if key.startswith(prefix)}


# --- from a prompt file to the champion ----------------------------------------------------------


def test_a_prompt_file_becomes_the_champion(stack: Stack) -> None:
    # WHEN a labelled file is uploaded, Bedrock does its job, and the schedule ticks once
    run = stack.train("prompts/labels.jsonl", PROMPTS)

    # THEN its model is the champion, and everybody was told each step
    champion = stack.champion()
    assert (run.state, run.champion_version) == (RunState.PROMOTED, 1)
    assert (champion.version, champion.run_id) == (1, run.run_id)
    assert champion.serving == run.serving
    assert champion.serving.model_id == deployment_of(run).arn
    assert (champion.serving.system_prompt, champion.serving.prior) == (
        SYSTEM_PROMPT,
        dataset_of(run).prior,
    )
    assert stack.published() == [
        ("PromptsSharded", {"run_id": run.run_id}),
        ("ModelDeployed", {"run_id": run.run_id}),
        ("ModelEvaluated", {"run_id": run.run_id}),
        ("ModelPromoted", {"run_id": run.run_id, "champion_version": 1}),
    ]


def test_the_intake_accounts_for_every_row(stack: Stack) -> None:
    run = stack.run_of(stack.upload("prompts/labels.jsonl", PROMPTS))

    objects, counts = objects_of(stack, run), run.counts
    assert (counts.rows_in, counts.accepted, counts.rejected) == (302, 301, 1)
    assert counts.accepted == counts.training + counts.holdout + counts.duplicates
    assert counts.duplicates == 1
    assert set(objects) == {
        "manifest.json",
        "shards/shard-00000.jsonl",
        "training.jsonl",
        "holdout.jsonl",
        "rejected.jsonl",
    }
    assert json.loads(objects["manifest.json"])["counts"] == counts.model_dump()
    assert len(rows(objects["training.jsonl"])) == counts.training
    assert len(rows(objects["holdout.jsonl"])) == counts.holdout
    assert objects["shards/shard-00000.jsonl"] == objects["training.jsonl"]
    assert dataset_of(run).training_sha256 == hashlib.sha256(objects["training.jsonl"]).hexdigest()
    (rejected,) = rows(objects["rejected.jsonl"])
    assert (rejected["line_number"], rejected["reason"]) == (303, "invalid_label")


def test_bedrock_is_asked_for_what_the_settings_say_and_answers_are_kept(stack: Stack) -> None:
    run = stack.train("prompts/labels.jsonl", PROMPTS)

    (job,) = stack.calls_of("CreateModelCustomizationJob")
    teacher = job["customizationConfig"]["distillationConfig"]["teacherModelConfig"]
    assert job["baseModelIdentifier"] == "amazon.nova-micro-v1:0:128k"
    assert teacher["teacherModelIdentifier"] == "amazon.nova-pro-v1:0"
    assert job["trainingDataConfig"] == {"s3Uri": f"s3://{DATA}/runs/{run.run_id}/training.jsonl"}
    assert job["outputDataConfig"] == {"s3Uri": f"s3://{DATA}/runs/{run.run_id}/distillation"}
    assert job["roleArn"] == f"arn:aws:iam::{ACCOUNT}:role/distillation"
    assert job["jobTags"] == job["customModelTags"]
    assert {"key": "Run", "value": run.run_id} in job["jobTags"]
    (deployment,) = stack.calls_of("CreateCustomModelDeployment")
    assert deployment["modelArn"] == job_of(run).model_arn
    asked = {call["modelId"] for call in stack.calls_of("Converse")}
    assert asked == {deployment_of(run).arn, "amazon.nova-micro-v1:0"}
    objects = objects_of(stack, run)
    assert run.evaluation is not None
    for name in ("candidate", "base"):
        answers = json.loads(objects[f"evaluation/{name}/answers-00000.json"])
        assert len(answers) == run.evaluation.base.n == run.counts.holdout
    assert run.evaluation.candidate.mae < 0.01 < run.evaluation.base.mae


def test_a_worse_model_is_rejected_deleted_and_measured_again_when_uploaded_again(
    stack: Stack,
) -> None:
    first = stack.train("prompts/labels.jsonl", PROMPTS)

    second = stack.train("prompts/nonsense.jsonl", mislabelled(300))

    assert second.state is RunState.REJECTED
    assert stack.champion().run_id == first.run_id
    deleted = stack.calls_of("DeleteCustomModelDeployment")
    assert deleted == [{"customModelDeploymentIdentifier": deployment_of(second).arn}]
    assert ("ModelRejected", {"run_id": second.run_id, "reason": second.reason}) in (
        stack.published()
    )
    assert second.evaluation is not None
    assert second.evaluation.champion_version == 1

    again = stack.train("prompts/nonsense.jsonl", mislabelled(300))

    assert (again.state, job_of(again).job_arn) == (RunState.REJECTED, job_of(second).job_arn)
    assert deployment_of(again).arn != deployment_of(second).arn
    assert again.evaluation is not None


def test_a_better_model_takes_over_and_the_old_one_stays_deployed(stack: Stack) -> None:
    first = stack.train("prompts/labels.jsonl", labelled(260))

    second = stack.train("prompts/labels.jsonl", labelled(320))

    assert (first.champion_version, second.champion_version) == (1, 2)
    assert (
        stack.champion().serving.model_id == deployment_of(second).arn != deployment_of(first).arn
    )
    assert stack.calls_of("DeleteCustomModelDeployment") == []


def test_the_same_bytes_are_bought_once(stack: Stack) -> None:
    # GIVEN a champion
    first = stack.train("prompts/labels.jsonl", PROMPTS)
    # WHEN its file is uploaded again, under another name
    second = stack.train("prompts/copy.jsonl", PROMPTS)
    # THEN there is one job, one deployment and one champion
    assert first.run_id != second.run_id
    assert (second.state, second.champion_version) == (RunState.PROMOTED, 1)
    assert job_of(second).job_arn == job_of(first).job_arn
    assert deployment_of(second).arn == deployment_of(first).arn
    assert stack.champion().version == 1


# --- what does not go well -----------------------------------------------------------------------


def test_a_failed_job_ends_its_run_with_bedrocks_reason(stack: Stack) -> None:
    stack.bedrock.fake.change(job_failure="The training data is too boring.")

    run = stack.train("prompts/labels.jsonl", PROMPTS)

    assert (run.state, run.reason) == (RunState.FAILED, "The training data is too boring.")
    assert stack.published()[-1] == (
        "RunFailed",
        {"run_id": run.run_id, "reason": "The training data is too boring."},
    )
    assert stack.calls_of("CreateCustomModelDeployment") == []


def test_a_stopped_job_ends_its_run_as_stopped(stack: Stack) -> None:
    source = stack.upload("prompts/labels.jsonl", PROMPTS)
    stack.deliver_events()
    client = boto3.client("bedrock", REGION)
    client.stop_model_customization_job(jobIdentifier=job_of(stack.run_of(source)).job_arn)
    client.close()

    stack.end_jobs()

    run = stack.run_of(source)
    assert (run.state, job_of(run).job_status) == (RunState.STOPPED, "Stopped")


def test_the_schedule_finds_a_job_whose_event_was_lost(stack: Stack) -> None:
    source = stack.upload("prompts/labels.jsonl", PROMPTS)
    stack.deliver_events()
    stack.bedrock.clock.advance(timedelta(hours=1))  # and Bedrock says nothing

    states = []
    for _ in range(3):
        stack.tick()
        states.append(stack.run_of(source).state)

    assert states == [RunState.DEPLOYING, RunState.EVALUATING, RunState.EVALUATING]
    stack.deliver_events()
    assert stack.run_of(source).state is RunState.PROMOTED


def test_the_schedule_repeats_each_event_that_was_lost(stack: Stack) -> None:
    """Every event of ours is lost once; the schedule's repetition is delivered."""
    source = stack.upload("prompts/labels.jsonl", PROMPTS)
    states = [stack.run_of(source).state]
    for step in (stack.end_jobs, stack.tick, stack.tick):
        stack.lose_events()
        stack.bedrock.clock.advance(PATIENCE)
        stack.tick()
        stack.deliver_next_events()
        step()
        states.append(stack.run_of(source).state)

    assert states == [
        RunState.SHARDED,
        RunState.DEPLOYING,
        RunState.EVALUATING,
        RunState.PROMOTED,
    ]


def test_one_runs_trouble_does_not_keep_the_others_waiting(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN an older run whose job Bedrock does not know
    dependencies().runs.create(
        a_run(
            RunState.TRAINING,
            run_id="run-000000000001",
            training=a_training_job(job_arn=_unknown_job()),
        )
    )
    run = stack.train("prompts/labels.jsonl", PROMPTS)
    # THEN the younger one has gone its way, and the trouble was counted
    assert run.state is RunState.PROMOTED
    counted = [line for line in capsys.readouterr().out.splitlines() if "TrackingErrors" in line]
    assert json.loads(counted[-1])["TrackingErrors"] == [1.0]


def _unknown_job() -> str:
    job = "model-customization-job/amazon.nova-micro-v1:0:128k/000000000000"
    return f"arn:aws:bedrock:us-east-1:123456789012:{job}"


# --- from a query log to results -----------------------------------------------------------------

ROWS = 160  # of half a kilobyte, which makes two splits
NOTE = "x" * 400
LOG = (
    lines(
        [
            {"query": query(n % 20), "user": f"u{n}", "tier": "gold", "note": NOTE}
            for n in range(ROWS)
        ]
    )
    + b"\n"
    + b'{"query": ""}\n'
    + b"not json\n"
)


def results_of(stack: Stack, log: QueryLog) -> list[dict[str, Any]]:
    """Return the rows of all parts, in order."""
    found = stack.world.data_objects()
    prefix = naming.upload_key(log.log_id, "parts")
    return [row for key in sorted(found) if key.startswith(prefix) for row in rows(found[key])]


def test_a_query_log_becomes_parts_a_manifest_and_a_summary(stack: Stack) -> None:
    champion = stack.serve()

    log = stack.route_log("query-logs/monday.jsonl", LOG)

    assert (log.state, log.splits, log.parts) == (LogState.ROUTED, 2, 2)
    assert stack.published() == [
        ("QueryLogPartsComplete", {"log_id": log.log_id}),
        ("QueryLogRouted", {"log_id": log.log_id}),
    ]
    objects = stack.world.data_objects()
    summary = json.loads(objects[naming.upload_key(log.log_id, "summary.json")])
    assert summary["rows_in"] == summary["routed"] + summary["fallback"] + summary["rejected"]
    assert (summary["rows_in"], summary["routed"], summary["rejected"]) == (ROWS + 2, ROWS, 2)
    assert summary["champion_version"] == champion.version
    assert stack.world.messages() == []
    manifest = json.loads(objects[naming.upload_key(log.log_id, "manifest.json")])
    assert sum(part["rows"] for part in manifest["parts"]) == ROWS
    assert sum(part["rejected"] for part in manifest["parts"]) == 2
    for split, part in enumerate(manifest["parts"]):
        assert part["key"] == naming.part_key(log.log_id, split)
        assert part["bytes"] == len(objects[part["key"]])
    rejected = rows(objects[naming.rejected_part_key(log.log_id, 1)])
    assert [LOG[int(str(row["byte_offset"])) :][:5] for row in rejected] == [b'{"que', b"not j"]


def test_every_row_of_a_log_has_its_result(stack: Stack) -> None:
    champion = stack.serve()

    log = stack.route_log("query-logs/monday.jsonl", LOG)

    results = results_of(stack, log)
    assert [row["user"] for row in results] == [f"u{n}" for n in range(ROWS)]
    for number, row in enumerate(results):
        assert row["query"] == query(number % 20)
        assert {name: row[name] for name in champion.serving.modalities} == weights(number % 20)
        assert row["input_tier"] == "gold"
        offset = row["byte_offset"]
        assert json.loads(LOG[offset:].partition(b"\n")[0])["user"] == row["user"]
        assert row["row_id"] == f"{log.log_id}.{offset}"
    assert {row["tier"] for row in results} == {"distilled", "cache"}


def test_a_query_is_asked_once_whoever_asks(stack: Stack) -> None:
    """Two splits, a second upload and the API share one cache."""
    stack.serve()
    stack.route_log("query-logs/monday.jsonl", LOG)
    assert len(stack.calls_of("Converse")) == 20

    again = stack.route_log("query-logs/monday.jsonl", LOG)
    reply = stack.ask(query(3))

    assert len(stack.calls_of("Converse")) == 20
    assert {row["tier"] for row in results_of(stack, again)} == {"cache"}
    assert (reply["body"]["tier"], reply["body"]["weights"]) == ("cache", weights(3))


def test_the_schedule_closes_a_log_whose_event_was_lost(stack: Stack) -> None:
    stack.serve()
    source = stack.upload("query-logs/monday.jsonl", LOG)
    stack.route_queued()
    stack.lose_events()

    stack.bedrock.clock.advance(PATIENCE)
    stack.tick()
    stack.deliver_events()

    assert stack.log_of(source).state is LogState.ROUTED


def test_a_log_is_routed_with_the_champion_of_its_plan(stack: Stack) -> None:
    """A champion that comes between does not change a log half way."""
    old = stack.serve()
    source = stack.upload("query-logs/monday.jsonl", LOG)
    assert stack.train("prompts/labels.jsonl", labelled(320)).champion_version == 2

    stack.route_queued()
    stack.deliver_events()

    log = stack.log_of(source)
    assert (log.state, log.champion_version) == (LogState.ROUTED, 1)
    assert {row["model"] for row in results_of(stack, log)} == {old.serving.model_id}


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.LOST_REPLY])
def test_a_part_without_its_entry_is_entered_by_the_retry(stack: Stack, fault: Fault) -> None:
    # GIVEN a log whose answers are all known, and the calls of one of its splits
    stack.serve()
    stack.route_log("query-logs/monday.jsonl", LOG)
    source = stack.upload("query-logs/monday.jsonl", LOG)
    message, other = stack.world.messages()
    with aws_calls() as rehearsal:
        stack.handle(other)
    entering = [call.operation for call in rehearsal.made].index("TransactWriteItems")
    # WHEN the worker of the other one dies, or hears nothing, as it enters its part
    with aws_calls(entering, fault) as calls, suppress(Crash):
        assert not stack.handle(message)
    assert calls.fired == 1
    part = naming.part_key(stack.log_of(source).log_id, 0)
    written = stack.world.data_objects()[part]
    # THEN the next one takes the part that is there, and the log is complete
    assert stack.handle(message)
    stack.deliver_events()
    assert stack.log_of(source).state is LogState.ROUTED
    assert stack.world.data_objects()[part] == written

"""Each function under its own role: what it called is what its role allows, and nothing more.

One stack runs the main job and its detours under `AUTH=true`; every call of every role is
recorded. `pytest -s` prints the table.
"""

import dataclasses
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local_stack.launcher import PROJECT, LocalStack, LocalStackOptions
from local_stack.state_file import STACK_NAME
from local_stack.template import SamTemplate
from router_cli import synthesis
from router_cli.route import ask
from router_cli.search import search
from router_cli.stack import Stack, local_stack_of
from router_cli.upload import upload, upload_segments, wait_for_segments
from search_router.domain import naming
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.logs.query_logs import LogState
from search_router.domain.search.segment_uploads import SegmentState
from tests.e2e.grants import Call, Grant, calls, granted, missing, table, unused
from tests.expanded_template import ACCOUNT, REGION, Resolver, expected
from tests.policies import Request
from tests.records import a_run, a_training_job, dataset_of, deployment_of, gzipped, job_of
from tests.waiting import eventually

# Too few for a holdout of 20 rows: such a run is rejected.
FEW, ENOUGH = 150, 500
COLLECTION = "films"

# Grants that no recorded call uses, by Sid and action, and why they are there all the same.
REASONS = {
    ("WriteOwnLogs", "logs:CreateLogStream"): "Lambda itself writes logs with the role",
    ("WriteOwnLogs", "logs:PutLogEvents"): "Lambda itself writes logs with the role",
    ("WriteTraces", "xray:PutTraceSegments"): "there is no X-Ray here",
    ("WriteTraces", "xray:PutTelemetryRecords"): "there is no X-Ray here",
    ("SendFailedEvents", "sqs:SendMessage"): "Lambda itself hands over failed runs with the role",
    ("ReceiveSplits", "sqs:ReceiveMessage"): "Lambda itself polls with the role",
    ("ReceiveSplits", "sqs:DeleteMessage"): "Lambda itself polls with the role",
    ("ReceiveSplits", "sqs:GetQueueAttributes"): "Lambda itself polls with the role",
    **dict.fromkeys(
        (
            ("DetectMissingUploads", "s3:ListBucket"),
            ("DetectMissingObjects", "s3:ListBucket"),
        ),
        "S3 looks at it to answer 404 instead of 403; no call is made",
    ),
    **dict.fromkeys(
        (
            ("DetectMissingUploads", "s3:ListBucketVersions"),
            ("DetectMissingObjects", "s3:ListBucketVersions"),
        ),
        "S3 may look at it to answer 404 for a deleted version",
    ),
    **dict.fromkeys(
        (
            ("ReadJudgeJobs", "bedrock:GetEvaluationJob"),
            ("ReadJudgments", "s3:GetObject"),
            ("FindJudgments", "s3:ListBucket"),
        ),
        "the stack has no judge: test_bedrock_permissions.py",
    ),
    **dict.fromkeys(
        (("ReadPrompts", "s3:GetObject"), ("ReadGoldenSet", "s3:GetObject")),
        "golden files from before the bucket had versions",
    ),
    ("UseState", "dynamodb:Query"): "after splits were lost from their queue: test_log_bounds.py",
    ("WriteRun", "s3:AbortMultipartUpload"): "after a refused part: test_s3_adapter.py",
    ("ReadFixedFiles", "s3:GetObject"): "after a crash: test_shard_prompts_crashes.py",
}


def why_unused(grant: Grant) -> str | None:
    return REASONS.get((grant.sid, grant.action))


def excess(grants: list[Grant], made: list[Call]) -> list[Grant]:
    """Return the grants that no call needs, without a reason."""
    return [grant for grant in unused(grants, made) if why_unused(grant) is None]


# ---------------------------------------------------------------------------------------
# The runs that are recorded
# ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Story:
    """A stack that is taken through everything that makes a function call something else."""

    local: LocalStack
    stack: Stack
    folder: Path

    def prompts(self, name: str, seed: int, count: int) -> str:
        """Upload generated prompts and return the id of their run."""
        file = self.folder / f"{name}.jsonl"
        synthesis.write_jsonl(file, synthesis.training_records(seed, count))
        return upload(self.stack, "prompts", file)

    def run_until(self, run_id: str, *states: RunState) -> Run:
        """Wait for a run, and tick whenever only a tick can bring it further."""

        def look() -> Run | None:
            run = self.stack.runs.get(run_id)
            if run is not None and run.state is RunState.DEPLOYING:
                self.tick()
            return run if run is not None and run.state in states else None

        return eventually(look)

    def log_until_routed(self, log_id: str) -> None:
        """Wait for a query log."""

        def is_routed() -> bool:
            log = self.stack.ledger.get(log_id)
            return log is not None and log.state is LogState.ROUTED

        eventually(is_routed)

    def segments_until_indexed(self, file: Path) -> None:
        """Upload segments and wait for the end of their upload."""
        head = wait_for_segments(self.stack, upload_segments(self.stack, file, COLLECTION))
        assert head is not None
        assert head.state is SegmentState.INDEXED, head.reason

    def invoke(self, function: str, event: object) -> None:
        """Invoke a function and wait for its end."""
        reply = self.stack.client("lambda").invoke(
            FunctionName=self.stack.outputs[f"{function}FunctionName"],
            Payload=json.dumps(event),
        )
        assert "FunctionError" not in reply, reply["Payload"].read()

    @contextmanager
    def no_events_of_bedrock(self) -> Iterator[None]:
        """Let the events about jobs get lost during the block; a queue shows which did."""
        events = self.stack.client("events")
        function = self.stack.client("lambda").get_function_configuration(
            FunctionName=self.stack.outputs["DeployModelFunctionName"]
        )
        arn = function["FunctionArn"]
        (rule,) = events.list_rule_names_by_target(TargetArn=arn)["RuleNames"]
        pattern = events.describe_rule(Name=rule)["EventPattern"]
        events.put_rule(Name="lost-events", EventPattern=pattern)
        queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:lost-events"
        events.put_targets(Rule="lost-events", Targets=[{"Id": "queue", "Arn": queue}])
        self.stack.client("sqs").create_queue(QueueName="lost-events")
        events.disable_rule(Name=rule)
        yield
        events.enable_rule(Name=rule)

    def ended_job(self, arn: str) -> dict[str, Any]:
        """Wait until the event about a job's end is lost, and return the job."""
        sqs = self.stack.client("sqs")
        url = sqs.get_queue_url(QueueName="lost-events")["QueueUrl"]

        def is_lost() -> bool:
            messages = sqs.receive_message(QueueUrl=url).get("Messages", [])
            details = [json.loads(message["Body"])["detail"] for message in messages]
            return any(
                (detail["jobArn"], detail["jobStatus"]) == (arn, "Completed") for detail in details
            )

        eventually(is_lost)
        job: dict[str, Any] = self.stack.client("bedrock").get_model_customization_job(
            jobIdentifier=arn
        )
        return job

    def tick(self) -> None:
        self.invoke("TrackRuns", event_of("track_runs"))

    def publish(self, detail_type: str, **detail: str) -> None:
        """Put one of our events on the bus."""
        entry = {
            "Source": "search-router",
            "Resources": [STACK_NAME],
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
        }
        self.stack.client("events").put_events(Entries=[entry])

    def tune_bedrock(self, **settings: object) -> None:
        """Change the fake while it runs."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.local.connection.bedrock_endpoint}/_fake/settings",
            json.dumps(settings).encode(),
            method="POST",
        )
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()

    def as_if_unversioned(self, function: str, folder: str, file: Path) -> None:
        """Invoke with the event of an object that was put before its bucket had versions."""
        bucket, key = self.stack.outputs["UploadBucketName"], f"{folder}/unversioned.jsonl"
        event = event_of(function)
        event["detail"]["bucket"]["name"] = bucket
        event["detail"]["object"] |= {"key": key}
        del event["detail"]["object"]["version-id"]
        s3 = self.stack.client("s3")
        s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
        name = "".join(word.capitalize() for word in function.split("_"))
        self.invoke(name, event)


def the_main_job(story: Story) -> None:
    golden_file = story.folder / "golden.jsonl"
    synthesis.write_jsonl(golden_file, synthesis.training_records(99, 30))
    story.stack.client("s3").put_object(
        Bucket=story.stack.outputs["UploadBucketName"],
        Key="golden/set.jsonl",
        Body=golden_file.read_bytes(),
    )
    promoted = story.prompts("enough", 7, ENOUGH)
    assert story.run_until(promoted, RunState.PROMOTED, RunState.REJECTED).promoted
    log_file = story.folder / "log.jsonl"
    synthesis.write_jsonl(log_file, synthesis.query_log_rows(7, 120, 30))
    log_id = upload(story.stack, "query-log", log_file)
    assert ask(story.stack, "crowd singing the anthem")["status"] == "ok"
    story.log_until_routed(log_id)
    # Of a champion that is unknown: the split is handed back to the queue.
    golden = json.loads(event_of("route_queries")["Records"][0]["body"])
    lost = golden | {"log_id": log_id, "split": 99, "champion_version": 99}
    story.stack.client("sqs").send_message(
        QueueUrl=story.stack.outputs["SplitQueueUrl"], MessageBody=json.dumps(lost)
    )
    story.as_if_unversioned("split_query_log", "query-logs", log_file)
    bucket = story.stack.outputs["UploadBucketName"]
    unversioned = naming.log_id(bucket, "query-logs/unversioned.jsonl", None)
    story.log_until_routed(unversioned)


def the_same_prompts_twice(story: Story) -> None:
    """The second run adopts the job and the deployment of the first; both lose."""
    with story.no_events_of_bedrock():
        twins = [story.prompts(name, 1, FEW) for name in ("first", "second")]
        job_arn = {job_of(story.run_until(twin, RunState.TRAINING)).job_arn for twin in twins}.pop()
        job = story.ended_job(job_arn)
        event = event_of("deploy_model")
        event["detail"] |= {"jobArn": job_arn, "jobName": job["jobName"], "jobStatus": "Completed"}
        story.invoke("DeployModel", event)
    for twin in twins:
        story.run_until(twin, RunState.REJECTED)

    def deleted() -> Run | None:
        """Return the twin that came last and deleted the deployment of both."""
        found = (story.stack.runs.get(twin) for twin in twins)
        return next((run for run in found if run is not None and deployment_of(run).deleted), None)

    # As if promote_model could not delete the deployment.
    last = eventually(deleted)
    deployment = deployment_of(last).replace(deleted=False)
    story.stack.runs.replace(last.updated(last.updated_at, deployment=deployment))
    story.tick()


def a_lost_event_of_bedrock(story: Story) -> None:
    """track_runs makes the deployment."""
    with story.no_events_of_bedrock():
        lost = story.prompts("lost", 3, FEW)
        story.ended_job(job_of(story.run_until(lost, RunState.TRAINING)).job_arn)
        story.tick()
    story.run_until(lost, RunState.REJECTED)


def prompts_without_labels(story: Story) -> None:
    """The teacher labels the holdout."""
    labelled = synthesis.training_records(5, FEW)
    file = story.folder / "unlabelled.jsonl"
    synthesis.write_jsonl(file, [{"query": synthesis.record_query(row)} for row in labelled])
    run = story.run_until(upload(story.stack, "prompts", file), RunState.REJECTED)
    assert run.evaluation is not None
    assert run.evaluation.references is not None
    assert run.evaluation.references.from_teacher > 0


def failures(story: Story) -> None:
    """A job that fails, an announcement that is repeated, an event without a version."""
    story.tune_bedrock(job_failure="planned by the test")
    failed = story.prompts("failing", 4, FEW)
    story.run_until(failed, RunState.FAILED)
    story.publish("PromptsSharded", run_id=failed)
    story.as_if_unversioned("shard_prompts", "prompts", story.folder / "failing.jsonl")


def a_dataset_of_sixteen_files(story: Story) -> None:
    """A folder, uploaded twice: two runs with one training set that wait for one job."""
    folder = story.folder / "monday"
    folder.mkdir()
    records = list(synthesis.training_records(6, FEW))
    for number in range(16):
        synthesis.write_jsonl(folder / f"part-{number:02d}.jsonl", records[number::16])
    started = (RunState.TRAINING, RunState.FAILED)
    first, second = [
        story.run_until(upload(story.stack, "prompts", folder), *started) for _ in range(2)
    ]
    assert (first.counts.rows_in, second.counts.rows_in) == (FEW, FEW)
    assert dataset_of(first).training_sha256 == dataset_of(second).training_sha256
    assert job_of(first).job_arn == job_of(second).job_arn != ""
    story.tick()


def segments_that_are_searched(story: Story) -> None:
    """Segments are indexed, changed and deleted; a collection is searched and browsed."""
    rows = list(synthesis.segment_rows(1, 40))
    for name, body in (
        ("first.jsonl", rows),
        (
            "second.jsonl",
            [rows[0] | {"texts": {}}, {"segment_id": rows[1]["segment_id"], "deleted": True}],
        ),
    ):
        file = story.folder / name
        synthesis.write_jsonl(file, body)
        story.segments_until_indexed(file)
    packed = story.folder / "packed.jsonl.gz"
    packed.write_bytes(gzipped((story.folder / "first.jsonl").read_bytes()))
    story.segments_until_indexed(packed)
    for query in ([("q", "a red door")], [("filter", "year:>=1900")]):
        reply = search(story.stack, [*query, ("collection", COLLECTION)])
        assert reply["degraded"] == []
        assert reply["hits"]
    # The queue delivers a malformed message again.
    story.stack.client("sqs").send_message(
        QueueUrl=story.stack.outputs["SegmentQueueUrl"], MessageBody="{}"
    )
    story.as_if_unversioned("split_segments", f"segments/{COLLECTION}", file)


def event_of(function: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((PROJECT / "events" / f"{function}.json").read_bytes())
    return event


def what_only_a_long_time_brings(story: Story) -> None:
    """A run that ended long ago is settled; while one is in training, deployments are counted."""
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    job = "model-customization-job/amazon.nova-micro-v1:0:128k/000000000000"
    times = {"created_at": long_ago, "updated_at": long_ago, "state_since": long_ago}
    ended = a_run(RunState.REJECTED, run_id="run-00000000000a", **times)
    training = a_run(
        RunState.TRAINING,
        run_id="run-00000000000b",
        training=a_training_job(job_arn=f"arn:aws:bedrock:{REGION}:{ACCOUNT}:{job}"),
        **times,
    )
    for run in (ended, training):
        story.stack.runs.create(run)
    story.tick()
    assert ended.run_id not in {run.run_id for run in story.stack.runs.open()}


CHAPTERS = (
    the_main_job,
    the_same_prompts_twice,
    a_lost_event_of_bedrock,
    prompts_without_labels,
    failures,
    a_dataset_of_sixteen_files,
    segments_that_are_searched,
    what_only_a_long_time_brings,
)


@dataclass(frozen=True)
class Record:
    """What the roles allow in the deployed stack and what was called in it."""

    resolver: Resolver
    calls: list[Call]

    @property
    def grants(self) -> list[Grant]:
        return granted(self.resolver)

    def with_statements(self, role: str, change: Callable[[list[Any]], object]) -> list[Grant]:
        """Return the grants of a template in which the statements of one role are changed."""
        document = json.loads(json.dumps(self.resolver.document, default=str))
        (policy,) = document["Resources"][role]["Properties"]["Policies"]
        change(policy["PolicyDocument"]["Statement"])
        return granted(dataclasses.replace(self.resolver, document=document))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    options = LocalStackOptions(
        parameters={"BudgetUsdPer30Days": "10000"},  # each run books an upper bound
        record_calls=True,
        mean_latency_ms=0,
        job_seconds=2,
        deployment_seconds=0.2,
    )
    template = SamTemplate.load(options.template)
    with LocalStack(options) as local:
        connection = local.connection
        story = Story(local, local_stack_of(connection), tmp_path_factory.mktemp("story"))
        for chapter in CHAPTERS:
            chapter(story)
        resolver = expected(connection, template, local.parameters)

        made: list[Call] = []

        def all_is_used() -> bool:
            """Look whether the last functions have made their calls too."""
            made[:] = calls(connection.folder, resolver.physical_ids)
            return not excess(granted(resolver), made)

        with suppress(AssertionError):  # the tests name what no call has used by then
            eventually(all_is_used)
        yield Record(resolver, made)


# ---------------------------------------------------------------------------------------
# What is needed is what is granted
# ---------------------------------------------------------------------------------------


def test_nothing_is_missing(record: Record) -> None:
    assert [str(call) for call in missing(record.grants, record.calls)] == []


def test_nothing_is_granted_that_is_not_needed(record: Record) -> None:
    found = excess(record.grants, record.calls)
    assert [f"{g.role} {g.sid}: {g.action} on {g.resource}" for g in found] == []


def test_every_reason_is_needed(record: Record) -> None:
    reasons = {(g.sid, g.action) for g in unused(record.grants, record.calls)}
    assert set(REASONS) - reasons == set()


def test_every_function_was_seen_under_its_own_role(record: Record) -> None:
    assert {call.role for call in record.calls} == {grant.role for grant in record.grants}


def test_the_table(record: Record) -> None:
    rows = table(record.grants, record.calls, why_unused)
    for row in rows:
        print("  ".join(row))  # noqa: T201 - `pytest -s` shows it
    assert len(rows) == len(record.grants)


# ---------------------------------------------------------------------------------------
# Both can fail
# ---------------------------------------------------------------------------------------


def test_an_extra_grant_is_found(record: Record) -> None:
    extra = {"Sid": "Extra", "Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "*"}
    grants = record.with_statements("RouteApiRole", lambda statements: statements.append(extra))

    found = excess(grants, record.calls)
    assert [(grant.role, grant.action) for grant in found] == [("RouteApiRole", "s3:DeleteObject")]


@pytest.mark.parametrize(
    ("role", "sid", "call"),
    [
        ("RouteApiRole", "InvokeStudent", "RouteApiRole: bedrock:InvokeModel on "),
        ("RouteApiRole", "ReadModels", "RouteApiRole: bedrock:GetCustomModel on "),
        ("StartDistillationRole", "PassDistillationRole", "StartDistillationRole: iam:PassRole on"),
        ("PromoteModelRole", "PublishEvents", "PromoteModelRole: events:PutEvents on "),
        ("RouteQueriesRole", "UseCache", "RouteQueriesRole: dynamodb:Batch"),
    ],
)
def test_a_grant_that_is_taken_away_is_missed(
    role: str, sid: str, call: str, record: Record
) -> None:
    def without(statements: list[Any]) -> None:
        statements[:] = [statement for statement in statements if statement["Sid"] != sid]

    found = missing(record.with_statements(role, without), record.calls)
    assert found
    assert all(str(one).startswith(call) for one in found)


def test_a_narrower_resource_is_missed(record: Record) -> None:
    def elsewhere(statements: list[Any]) -> None:
        for statement in statements:
            if statement["Sid"] == "WriteRun":
                statement["Resource"] = {"Fn::Sub": "${DataBucket.Arn}/elsewhere/*"}

    found = missing(record.with_statements("ShardPromptsRole", elsewhere), record.calls)
    assert found
    assert {one.request.action for one in found} == {"s3:PutObject"}


def test_a_refusal_by_the_emulator_is_missed(record: Record) -> None:
    refused = Call("RouteApiRole", Request("dynamodb:GetItem", "*"), allowed=False)
    assert missing(record.grants, [refused]) == [refused]

"""The ten functions with this process in the place of EventBridge, SQS and the schedule.

Which function gets which event is what the template says. Every event is a golden one with its ids
and details replaced; `deliveries` says how often each is delivered.
"""

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import boto3

from search_router.dependencies import dependencies
from search_router.domain import naming
from search_router.domain.intake.training_records import training_line
from search_router.domain.lifecycle.distillation import DistillationJob
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.logs.query_logs import QueryLog
from search_router.domain.serving.champions import Champion
from search_router.domain.uploads import PROMPTS_PREFIX, ObjectRef
from tests.aws_calls import AwsCalls, aws_calls
from tests.conftest import FakeLambdaContext
from tests.fakes import START
from tests.integration.material import query, weights
from tests.integration.world import CACHE, ENVIRONMENT, REGION, STATE, Bedrock, World
from tests.records import (
    MODALITIES,
    STUDENT,
    SYSTEM_PROMPT,
    TEACHER,
    a_champion,
    a_run,
    an_evaluation,
)

CONSUMERS = {
    "PromptsSharded": "start_distillation",
    "ModelDeployed": "evaluate_model",
    "ModelEvaluated": "promote_model",
    "QueryLogPartsComplete": "finish_query_log",
}
_SEED = "s3://seed/training.jsonl"
EFFECTS = frozenset(
    {
        "CreateModelCustomizationJob",
        "CreateCustomModelDeployment",
        "DeleteCustomModelDeployment",
        "SendMessageBatch",
        "Converse",
    }
)
WRITES = EFFECTS | {
    "PutObject",
    "PutItem",
    "UpdateItem",
    "TransactWriteItems",
    "BatchWriteItem",
    "PutEvents",
}


@cache
def _seed() -> bytes:
    return b"".join(
        training_line(query(n), SYSTEM_PROMPT, MODALITIES, tuple(weights(n).values()), None)
        for n in range(100)
    )


def invoke(function: str, event: dict[str, Any], context: FakeLambdaContext) -> Any:
    """Import a function when it is first used, as Lambda does, and call its handler."""
    handler = importlib.import_module(f"functions.{function}.app").lambda_handler
    return handler(event, context)


@dataclass(slots=True)
class Stack:
    """Delivers what the functions put on the bus and the queue, until there is nothing left."""

    world: World
    bedrock: Bedrock
    calls: AwsCalls
    load_event: Callable[[str], dict[str, Any]]
    context: FakeLambdaContext
    deliveries: int = 1
    delivered: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _seen: int = field(default=0)

    @classmethod
    @contextmanager
    def wired(
        cls,
        world: World,
        bedrock: Bedrock,
        load_event: Callable[[str], dict[str, Any]],
        context: FakeLambdaContext,
    ) -> Iterator["Stack"]:
        """Record the functions' AWS calls in the block: that is how their events are seen."""
        with aws_calls() as calls:
            yield cls(world, bedrock, calls, load_event, context)

    # --- events ---------------------------------------------------------------------------------

    def upload_event(self, function: str, source: ObjectRef) -> dict[str, Any]:
        """Return S3's event for an object version."""
        event = self.load_event(function)
        event["detail"]["bucket"]["name"] = source.bucket
        event["detail"]["object"] |= {"key": source.key, "version-id": source.version_id}
        return event

    def event(self, function: str, **detail: Any) -> dict[str, Any]:
        """Return a function's golden event with fields of its detail replaced."""
        event = self.load_event(function)
        event["detail"] |= detail
        return event

    def queue_event(self, *messages: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the event source mapping makes of received messages."""
        event = self.load_event("route_queries")
        golden = event["Records"][0]
        event["Records"] = [
            golden
            | {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": golden["attributes"] | message["Attributes"],
            }
            for message in messages
        ]
        return event

    def http_event(self, body: str | None, **request: Any) -> dict[str, Any]:
        """Return a request to the function URL; `method` and `path` are POST /route."""
        event = self.load_event("route_api")
        path, method = request.pop("path", "/route"), request.pop("method", "POST")
        event["requestContext"]["http"] |= {"path": path, "method": method}
        return {**event, "rawPath": path, "body": body, **request}

    # --- invocations ----------------------------------------------------------------------------

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Invoke a function once."""
        return invoke(function, event, self.context)

    def deliver(self, function: str, event: dict[str, Any]) -> Any:
        """Invoke a function; a repeated delivery must change nothing and ask for nothing."""
        self.delivered.append((function, event))
        reply = self.invoke(function, event)
        for _ in range(self.deliveries - 1):
            with self.changing_nothing(trying=True):
                again = self.invoke(function, event)
            assert again == reply
        return reply

    def upload(self, key: str, body: bytes) -> ObjectRef:
        """Upload a file and tell the function that waits for it."""
        source = self.world.upload(key, body)
        function = "shard_prompts" if key.startswith(PROMPTS_PREFIX) else "split_query_log"
        self.deliver(function, self.upload_event(function, source))
        return source

    def deliver_events(self) -> None:
        """Deliver our events to their consumers, also those that this leads to."""
        while len(self.published()) > self._seen:
            self.deliver_next_events()

    def deliver_next_events(self) -> None:
        """Deliver what is on the bus now, not what this leads to."""
        published = self.published()[self._seen :]
        self._seen += len(published)
        for name, detail in published:
            if name in CONSUMERS:
                self.deliver(CONSUMERS[name], self.event(CONSUMERS[name], **detail))

    def lose_events(self) -> None:
        """Let everything that is on the bus now get lost."""
        self._seen = len(self.published())

    def end_jobs(self) -> None:
        """Let an hour pass and deliver what Bedrock says about its jobs."""
        self.pass_an_hour()
        self.bedrock.fake.process_due()
        for sent in self.bedrock.sent:
            self.deliver("deploy_model", self.event("deploy_model", **sent.detail))
        self.bedrock.sent.clear()

    def pass_an_hour(self) -> None:
        """Let jobs and deployments come to their end."""
        self.bedrock.clock.advance(timedelta(hours=1))

    def tick(self) -> None:
        """Let the schedule's five minutes pass."""
        self.bedrock.clock.advance(timedelta(minutes=5))
        self.deliver("track_runs", self.load_event("track_runs"))

    def train(self, key: str, body: bytes) -> Run:
        """Take a prompt file through the whole chain and return its run at the end."""
        source = self.upload(key, body)
        self.deliver_events()
        self.end_jobs()
        for _ in range(2):  # a job that was adopted has sent its event before
            self.tick()
        self.deliver_events()
        return self.run_of(source)

    def handle(self, message: dict[str, Any]) -> bool:
        """Hand a message to route_queries and delete it if that succeeded, as the mapping does."""
        reply = self.deliver("route_queries", self.queue_event(message))
        finished: bool = reply == {"batchItemFailures": []}
        if finished:
            self.world.sqs.delete_message(
                QueueUrl=self.world.queue_url, ReceiptHandle=message["ReceiptHandle"]
            )
        return finished

    def route_queued(self) -> int:
        """Handle messages until none is visible; return how many failed."""
        failed = 0
        while messages := self.world.messages():
            failed += sum(not self.handle(message) for message in messages)
        return failed

    def route_log(self, key: str, body: bytes) -> QueryLog:
        """Take a query log through its chain and return its head at the end."""
        source = self.upload(key, body)
        self.route_queued()
        self.deliver_events()
        return self.log_of(source)

    def ask(self, query: str) -> dict[str, Any]:
        """Ask the API; return status and decoded body."""
        return self.request(self.http_event(json.dumps({"query": query})))

    def request(self, event: dict[str, Any]) -> dict[str, Any]:
        """Send one HTTP request; return its status and decoded body."""
        reply = self.deliver("route_api", event)
        return {"status": reply["statusCode"], "body": json.loads(reply["body"])}

    def deployed(self) -> str:
        """Deploy a model without telling the whole story; return the deployment's ARN."""
        jobs, deployments = dependencies().jobs, dependencies().deployments
        self.bedrock.seeds[_SEED] = _seed()
        jobs.start_job(
            DistillationJob(
                name="search-router-seed",
                teacher=TEACHER,
                student=STUDENT,
                role_arn=ENVIRONMENT["DISTILLATION_ROLE_ARN"],
                training_uri=_SEED,
                output_uri="s3://seed/output",
                tags=(),
            )
        )
        self.pass_an_hour()
        model_arn = jobs.job("search-router-seed").model_arn
        arn = deployments.deploy("search-router-seed-serving", model_arn)
        self.pass_an_hour()
        self.bedrock.fake.process_due()
        self.bedrock.sent.clear()
        return arn

    def serve(self) -> Champion:
        """Make a champion serve whose model exists."""
        champion = a_champion(deployment_arn=self.deployed())
        run = a_run(RunState.EVALUATING, run_id=champion.run_id, evaluation=an_evaluation())
        promoted = dependencies().runs.create(run).moved(RunState.PROMOTED, START)
        dependencies().champions.promote(champion, None, promoted)
        return champion

    @contextmanager
    def changing_nothing(self, *, trying: bool = False) -> Iterator[None]:
        """Expect that the block changes nothing stored and asks Bedrock and the queue for nothing.

        Without `trying` it may not even try to write, nor say again what is so.
        """
        before, made = self.everything(), len(self.calls.made)
        yield
        refused = EFFECTS if trying else WRITES
        done = [str(call) for call in self.calls.made[made:] if call.operation in refused]
        assert done == [], done
        assert self.everything() == before

    # --- what came of it ------------------------------------------------------------------------

    def published(self) -> list[tuple[str, dict[str, Any]]]:
        """Return type and detail of every event put on the bus, in order."""
        return [
            (entry["DetailType"], json.loads(entry["Detail"]))
            for call in self.calls.made
            if call.operation == "PutEvents"
            for entry in call.parameters["Entries"]
        ]

    def calls_of(self, *operations: str) -> list[dict[str, Any]]:
        """Return the parameters of every call of these operations."""
        return [call.parameters for call in self.calls.made if call.operation in operations]

    def run_of(self, source: ObjectRef) -> Run:
        """Return the run of an uploaded prompt file."""
        run = dependencies().runs.get(naming.run_id(*source))
        assert run is not None
        return run

    def log_of(self, source: ObjectRef) -> QueryLog:
        """Return the head of an uploaded query log."""
        log = dependencies().ledger.get(naming.log_id(*source))
        assert log is not None
        return log

    def everything(self) -> tuple[object, ...]:
        """Return all that is stored: items, cached answers, objects."""
        return (self.world.items(STATE), self.world.items(CACHE), self.world.data_objects())

    def bought(self) -> dict[str, int]:
        """Return the number of jobs and deployments that Bedrock has for us."""
        client = boto3.client("bedrock", REGION)
        jobs = client.list_model_customization_jobs()["modelCustomizationJobSummaries"]
        deployments = client.list_custom_model_deployments()["modelDeploymentSummaries"]
        client.close()
        return {"jobs": len(jobs), "deployments": len(deployments)}

    def champion(self) -> Champion:
        """Return the champion."""
        champion = dependencies().champions.current()
        assert champion is not None
        return champion


NewStack = Callable[[], AbstractContextManager[Stack]]

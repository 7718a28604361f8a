"""The double as a whole: its rooms wired together, with an address and an end."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local_stack.bedrock_double.api import BedrockApi, HttpReply, Operation
from local_stack.bedrock_double.aws_neighbours import EventBridgePublisher, S3Objects
from local_stack.bedrock_double.call_recorder import CallRecorder
from local_stack.bedrock_double.clock import Clock, SystemClock
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.converse import Conversations
from local_stack.bedrock_double.custom_models import CustomModels
from local_stack.bedrock_double.customization_jobs import CustomizationJobs, ReadObject
from local_stack.bedrock_double.deployments import Deployments
from local_stack.bedrock_double.evaluation_jobs import EvaluationJobs, WriteObject
from local_stack.bedrock_double.event_delivery import EventDelivery
from local_stack.bedrock_double.faults import Fault, FaultRule
from local_stack.bedrock_double.foundation_models import FoundationModels
from local_stack.bedrock_double.identifiers import Arns
from local_stack.bedrock_double.server import LoopbackServer
from local_stack.bedrock_double.settings import DoubleSettings, LiveSettings
from local_stack.bedrock_double.state_change_events import Publish, StateChangeEvent
from local_stack.bedrock_double.tags import Tags
from local_stack.bedrock_double.teacher import Teacher


class BedrockDouble:
    """A Bedrock for one account, served while the `with` block lasts.

    `read_object` takes an S3 URI and returns bytes or raises `LookupError`, `write_object` takes
    one and bytes; `publish` takes each `StateChangeEvent` that `settle` finds due. Without them the
    settings' endpoints are used, and without an events endpoint the events are lost. Port 0 is a
    free port.
    """

    def __init__(
        self,
        settings: DoubleSettings | None = None,
        *,
        clock: Clock | None = None,
        publish: Publish | None = None,
        read_object: ReadObject | None = None,
        write_object: WriteObject | None = None,
        port: int = 0,
    ) -> None:
        settings = settings or DoubleSettings()
        clock = clock or SystemClock()
        self._live = LiveSettings(settings)
        self._delivery = EventDelivery(publish or _publisher(settings), clock, self._live)
        s3 = S3Objects(settings)
        read_object = read_object or s3.read
        teacher, tags = Teacher(), Tags()
        arns = Arns(settings.region, settings.account)
        foundation_models = FoundationModels(arns, clock, self._live)
        models = CustomModels(tags, settings.account)
        deployments = Deployments(arns, clock, self._live, models, tags)
        conversations = Conversations(deployments, foundation_models, teacher, clock, self._live)
        self._jobs = CustomizationJobs(
            arns=arns,
            clock=clock,
            settings=self._live,
            foundation_models=foundation_models,
            models=models,
            tags=tags,
            teacher=teacher,
            read_object=read_object,
        )
        self._evaluations = EvaluationJobs(
            arns=arns,
            clock=clock,
            settings=self._live,
            foundation_models=foundation_models,
            tags=tags,
            read_object=read_object,
            write_object=write_object or s3.write,
        )
        control_plane = (
            foundation_models,
            self._jobs,
            models,
            deployments,
            self._evaluations,
            tags,
        )
        self._api = BedrockApi(
            {
                name: self._up_to_now(operation)
                for room in control_plane
                for name, operation in room.operations().items()
            }
            | dict(conversations.operations()),
            self._troubles,
        )
        watch = CallRecorder(Path(settings.calls_file)).record if settings.calls_file else None
        self._port, self._watch = port, watch
        self._server: LoopbackServer | None = None

    @property
    def url(self) -> str:
        """Endpoint for boto3's `bedrock` and `bedrock-runtime` clients, inside the `with` block."""
        if self._server is None:
            raise RuntimeError("the double is not serving: enter its `with` block")
        return self._server.url

    @property
    def calls(self) -> dict[str, int]:
        """Number of requests by operation and HTTP status, e.g. `{"Converse 200": 3}`."""
        return self._api.calls

    @property
    def operations(self) -> frozenset[str]:
        """Names of the operations that are played."""
        return self._api.played

    def close(self) -> None:
        """Do the work that is due by the clock and publish the events that are."""
        self._advance()
        self._delivery.send(self._jobs.take_events())

    def change(self, **changes: Any) -> None:
        """Change latency, rates, durations or failures while running; `ValueError` if refused."""
        self._live.change(changes)

    def fail_next(self, operation: str, fault: Fault, times: int = 1) -> None:
        """Let an operation's next calls meet a fault; `ValueError` if Bedrock has no such error."""
        self._api.fail_next(operation, fault, times)

    def answer(self, method: str, target: str, body: bytes) -> HttpReply:
        """Return the reply to one HTTP request, without a socket between."""
        return self._answer(method, target, body)

    def __enter__(self) -> Self:
        self._server = LoopbackServer(self._answer, self._port, self._watch)
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.stop()

    def _up_to_now(self, operation: Operation) -> Operation:
        def perform(params: Params) -> Params:
            self._advance()
            return operation(params)

        return perform

    def _advance(self) -> None:
        self._jobs.advance()
        self._evaluations.advance()

    def _troubles(self) -> tuple[tuple[FaultRule, ...], int]:
        return self._live.current.fault_rules, self._live.current.seed

    def _answer(self, method: str, target: str, body: bytes) -> HttpReply:
        if (method, target) == ("GET", "/_double/health"):
            return _json(200, {"status": "ok", "calls": self.calls})
        if (method, target) == ("POST", "/_double/settings"):
            return self._change_settings(body)
        return self._api.answer(method, target, body)

    def _change_settings(self, body: bytes) -> HttpReply:
        try:
            return _json(200, asdict(self._live.change(json.loads(body))))
        except (ValueError, AttributeError) as error:
            return _json(400, {"message": str(error)})


def _publisher(settings: DoubleSettings) -> Publish:
    return EventBridgePublisher(settings) if settings.events_endpoint else _lose


def _lose(event: StateChangeEvent) -> None:
    """Drop an event for which there is no bus."""


def _json(status: int, fields: Mapping[str, Any]) -> HttpReply:
    return HttpReply(status, json.dumps(fields).encode())

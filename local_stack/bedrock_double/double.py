"""The double as a whole: its rooms wired together, with an address and an end."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local_stack.bedrock_double.api import BedrockApi, HttpReply, Operation
from local_stack.bedrock_double.aws_neighbours import EventBridgePublisher, S3Reader
from local_stack.bedrock_double.call_recorder import CallRecorder
from local_stack.bedrock_double.clock import Clock, SystemClock
from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.converse import Conversations
from local_stack.bedrock_double.custom_models import CustomModels
from local_stack.bedrock_double.customization_jobs import CustomizationJobs, ReadObject
from local_stack.bedrock_double.deployments import Deployments
from local_stack.bedrock_double.foundation_models import FoundationModels
from local_stack.bedrock_double.identifiers import Arns
from local_stack.bedrock_double.server import LoopbackServer
from local_stack.bedrock_double.settings import DoubleSettings, LiveSettings
from local_stack.bedrock_double.state_change_events import Publish, StateChangeEvent
from local_stack.bedrock_double.teacher import Teacher


class BedrockDouble:
    """A Bedrock for one account, served while the `with` block lasts.

    `read_object` takes an S3 URI and returns bytes or raises `LookupError`; `publish` takes each
    `StateChangeEvent` that `settle` finds due. Without them the settings' endpoints are used, and
    without an events endpoint the events are lost. Port 0 is a free port.
    """

    def __init__(
        self,
        settings: DoubleSettings | None = None,
        *,
        clock: Clock | None = None,
        publish: Publish | None = None,
        read_object: ReadObject | None = None,
        port: int = 0,
    ) -> None:
        settings = settings or DoubleSettings()
        clock = clock or SystemClock()
        self._live = LiveSettings(settings)
        self._publish = publish or _publisher(settings)
        teacher = Teacher()
        arns = Arns(settings.region, settings.account)
        foundation_models = FoundationModels(arns, clock)
        models = CustomModels()
        deployments = Deployments(arns, clock, self._live, models)
        conversations = Conversations(deployments, foundation_models, teacher, clock, self._live)
        self._jobs = CustomizationJobs(
            arns=arns,
            clock=clock,
            settings=self._live,
            foundation_models=foundation_models,
            models=models,
            teacher=teacher,
            read_object=read_object or S3Reader(settings),
        )
        control_plane = (foundation_models, self._jobs, models, deployments)
        self._api = BedrockApi(
            {
                name: self._up_to_now(operation)
                for room in control_plane
                for name, operation in room.operations().items()
            }
            | dict(conversations.operations())
        )
        watch = CallRecorder(Path(settings.calls_file)).record if settings.calls_file else None
        self._server = LoopbackServer(self._answer, port, watch)

    @property
    def url(self) -> str:
        """Endpoint for boto3's `bedrock` and `bedrock-runtime` clients."""
        return self._server.url

    @property
    def calls(self) -> dict[str, int]:
        """Number of requests by operation and HTTP status, e.g. `{"Converse 200": 3}`."""
        return self._api.calls

    def settle(self) -> None:
        """Do the work that is due by the clock and publish the events that are."""
        self._jobs.advance()
        for event in self._jobs.take_events():
            self._publish(event)

    def change(self, **changes: Any) -> None:
        """Change latency, rates, durations or failures while running; `ValueError` if refused."""
        self._live.change(changes)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()

    def _up_to_now(self, operation: Operation) -> Operation:
        def perform(params: Params) -> Params:
            self._jobs.advance()
            return operation(params)

        return perform

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

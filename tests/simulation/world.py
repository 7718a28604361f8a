"""One simulated account: virtual services, the ten functions wired by the template, and chance."""

import contextlib
import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest import mock
from uuid import UUID

import botocore.endpoint
import botocore.handlers
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.retries import quota

from search_router import dependencies
from search_router.dependencies import Dependencies
from search_router.domain import naming
from search_router.domain.lifecycle.runs import RunState
from search_router.domain.queries import normalised_query
from search_router.domain.splits import plan as split_plan
from search_router.domain.uploads import ObjectRef
from search_router.settings import Settings
from tests.integration.world import ACCOUNT, ENVIRONMENT, REGION, UPLOADS
from tests.records import a_champion, a_run, an_evaluation
from tests.simulation.delivery import EventBus, Schedule, SplitPoller
from tests.simulation.faults import FaultPlan
from tests.simulation.lambda_runtime import LambdaRuntime, captured_output
from tests.simulation.network import Answer, Network
from tests.simulation.scheduler import Scheduler
from tests.simulation.virtual_aws.dynamodb import Key, VirtualDynamoDB
from tests.simulation.virtual_aws.expressions import Item
from tests.simulation.virtual_aws.models import PRIOR, VirtualModels
from tests.simulation.virtual_aws.s3 import VirtualS3
from tests.simulation.virtual_aws.sqs import VirtualQueue, VirtualSqs
from tests.simulation.wiring import wiring

START = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
WORKERS = 2
_SETTINGS = {
    **ENVIRONMENT,
    "SPLIT_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/splits",
    "ROUTE_CONCURRENCY": str(WORKERS),
    "HOLDOUT_FRACTION": "0.05",  # so few rows that evaluations are short
    "REQUESTS_PER_MINUTE": "100",  # so few that a worker has one call in flight: no threads
}


@dataclass(slots=True)
class World:
    """Everything that exists in one history."""

    scheduler: Scheduler
    faults: FaultPlan
    s3: VirtualS3
    dynamodb: VirtualDynamoDB
    models: VirtualModels
    queue: VirtualQueue
    dead_letters: VirtualQueue
    bus: EventBus
    runtime: LambdaRuntime
    poller: SplitPoller
    schedule: Schedule
    output: Callable[[], str]
    states: dict[str, list[str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    services: dict[str, Answer] = field(default_factory=dict)
    planned: int = 0
    planned_until: float = 0.0

    # --- what people do -------------------------------------------------------------------------

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan something that the history must not end without."""
        self.planned += 1
        self.planned_until = max(self.planned_until, seconds)

        def act() -> None:
            self.planned -= 1
            action()

        self.scheduler.after(seconds - self.scheduler.seconds, act)

    def upload(self, key: str, body: bytes) -> ObjectRef:
        """Put a file where users put them; S3 tells the bus."""
        source = ObjectRef(UPLOADS, key, self.s3.write(UPLOADS, key, body))
        self.trace(f"uploaded {key} {source.version_id}")
        detail = {
            "bucket": {"name": UPLOADS},
            "object": {"key": key, "version-id": source.version_id, "size": len(body)},
        }
        self.bus.put("aws.s3", "Object Created", detail)
        return source

    def promote(self) -> None:
        """Let the next model serve."""
        deps = wired_to(self.scheduler)
        current = deps.champions.current()
        version = current.version + 1 if current else 1
        champion = a_champion(
            version,
            run_id=f"run-{version:012x}",
            deployment_arn=deployment(version),
            prior=PRIOR,
        )
        self.models.deployments.add(deployment(version))
        run = a_run(RunState.EVALUATING, run_id=champion.run_id, evaluation=an_evaluation())
        promoted = deps.runs.create(run).moved(RunState.PROMOTED, self.scheduler.now())
        deps.champions.promote(champion, current, promoted)
        self.trace(f"promoted version {version}")

    def redrive(self) -> int:
        """Send the dead letters to the queue again."""
        moved = self.queue.redrive()
        self.trace(f"redriven {moved}")
        self.poller.wake()
        return moved

    # --- what can be asked ----------------------------------------------------------------------

    def trace(self, line: str) -> None:
        """Note what happened, for a history that is replayed."""
        self.lines.append(f"{self.scheduler.seconds:10.2f} {line}")

    def state_of(self, source: ObjectRef) -> str:
        """Return a log's state, or nothing, without asking AWS."""
        return (self.states.get(naming.log_id(*source)) or [""])[-1]

    @property
    def quiet(self) -> bool:
        """Tell whether nothing is on its way but ticks of the schedule."""
        return not (
            self.planned or self.bus.in_flight or self.scheduler.busy or self.queue.messages
        )

    def digest(self) -> str:
        """Return what tells two histories apart: all that happened, in order."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()


def wired_to(scheduler: Scheduler) -> Dependencies:
    """Wire a container, or the harness, on virtual time."""
    deps = Dependencies(_settings())
    vars(deps)["clock"] = scheduler
    return deps


def deployment(version: int) -> str:
    """Name the deployment that a champion version is served by."""
    return f"arn:aws:bedrock:{REGION}:{ACCOUNT}:custom-model-deployment/v{version}"


@contextlib.contextmanager
def new_world(faults: FaultPlan, chance: random.Random, split_bytes: int) -> Iterator[World]:
    """Make an account in which a split has at most `split_bytes` instead of a megabyte.

    While the block lasts, botocore's transport, the SDK's pauses and Lambda's output are ours.
    """
    scheduler = Scheduler(START)
    lines: list[str] = []

    def trace(line: str) -> None:
        lines.append(f"{scheduler.seconds:10.2f} {line}")

    with _small(split_bytes), _on_virtual_time(scheduler) as route, captured_output() as out:
        world = _made(scheduler, faults, chance, trace, out.getvalue)
        world.lines = lines
        route(Network(scheduler, faults, chance, world.services, trace).send)
        try:
            yield world
        finally:
            scheduler.close()
            world.runtime.close()


def _made(
    scheduler: Scheduler,
    faults: FaultPlan,
    chance: random.Random,
    trace: Callable[[str], None],
    output: Callable[[], str],
) -> World:
    states: dict[str, list[str]] = {}
    wired = wiring()

    def changed(table: str, key: Key, item: Item | None) -> None:
        if key[0] == "LOGS" and item is not None:
            known = states.setdefault(key[1], [])
            if not known or known[-1] != item["state"]["S"]:
                known.append(item["state"]["S"])

    def monotonic() -> float:
        return scheduler.seconds

    dead_letters = VirtualQueue(monotonic, wired.visibility, wired.dead_letter_retention)
    queue = VirtualQueue(
        monotonic, wired.visibility, wired.retention, wired.max_receives, dead_letters
    )
    runtime = LambdaRuntime(scheduler, lambda: wired_to(scheduler), trace)
    bus = EventBus(scheduler, runtime, faults, chance)
    world = World(
        scheduler=scheduler,
        faults=faults,
        s3=VirtualS3(scheduler.now),
        dynamodb=VirtualDynamoDB(changed),
        models=VirtualModels(normalised_query, lambda: scheduler.current),
        queue=queue,
        dead_letters=dead_letters,
        bus=bus,
        runtime=runtime,
        poller=SplitPoller(scheduler, runtime, queue, faults, WORKERS, trace),
        schedule=Schedule(scheduler, bus, faults),
        output=output,
        states=states,
    )
    world.services.update(
        {
            "s3": world.s3.answer,
            "dynamodb": world.dynamodb.answer,
            "sqs": VirtualSqs(queue, world.poller.wake).answer,
            "events": bus.answer,
            "bedrock-runtime": world.models.answer,
        }
    )
    return world


@cache
def _settings() -> Settings:
    fields = {name: name.upper() for name in Settings.model_fields}
    return Settings.model_validate(
        {name: _SETTINGS[variable] for name, variable in fields.items() if variable in _SETTINGS}
    )


@contextlib.contextmanager
def _small(split_bytes: int) -> Iterator[None]:
    """Scale down: what is large in production would only make every history long."""
    with (
        mock.patch.object(split_plan, "MAX_SPLIT_BYTES", split_bytes),
        mock.patch.object(split_plan, "MIN_SPLIT_BYTES", split_bytes),
    ):
        yield


Send = Callable[[AWSPreparedRequest, float], AWSResponse]


@contextlib.contextmanager
def _on_virtual_time(scheduler: Scheduler) -> Iterator[Callable[[Send], None]]:
    """Replace botocore's HTTP, its pauses and its random ids; yields the setter of what answers."""
    answering: list[Send] = []

    def send(session: Any, prepared: AWSPreparedRequest) -> AWSResponse:
        return answering[0](prepared, session._timeout.read_timeout)

    identifiers = SimpleNamespace(uuid4=(UUID(int=n) for n in itertools.count(1)).__next__)
    for capacity in _quotas:
        capacity._available_capacity = capacity._max_capacity
    with (
        mock.patch.object(URLLib3Session, "send", send),
        mock.patch.object(botocore.endpoint, "time", SimpleNamespace(sleep=scheduler.sleep)),
        mock.patch.object(botocore.endpoint, "uuid", identifiers),
        mock.patch.object(botocore.handlers, "uuid", identifiers),
        mock.patch.object(dependencies, "new_client", _reused),
        mock.patch.object(quota, "RetryQuota", _KnownQuota),
    ):
        yield answering.append


_quotas: list[Any] = []  # of all clients, to be full again when a history begins
_new_client = dependencies.new_client


class _KnownQuota(quota.RetryQuota):
    def __init__(self) -> None:
        super().__init__()
        _quotas.append(self)


@cache
def _reused(service: str, region: str, config: Config) -> Any:
    """Make each client once for all histories: they take longer to make than a history lasts."""
    return _new_client(service, region, config)

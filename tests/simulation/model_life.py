"""A model's life in simulated time: the lifecycle functions over the Bedrock fake."""

import contextlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from local_stack.bedrock_fake import FakeBedrock, FakeSettings, StateChangeEvent
from local_stack.bedrock_fake.aws import DETAIL_TYPE, SOURCE
from search_router.domain import naming
from search_router.domain.lifecycle import promotion
from search_router.domain.uploads import ObjectRef
from search_router.use_cases import shard_prompts
from tests.integration.material import query, trained_once, weights
from tests.integration.world import ACCOUNT, DATA, STATE
from tests.simulation.faults import HOUR, FaultPlan
from tests.simulation.virtual_aws.wire import Reply, Request
from tests.simulation.world import World, new_world

JOB_SECONDS, DEPLOYMENT_SECONDS = 3_600.0, 600.0
PERIOD = 300.0
CLOSED = frozenset({"PROMOTED", "REJECTED", "AWAITING_APPROVAL", "FAILED", "STOPPED"})
_SETTLES_EVERY = 60.0
_ROWS = 112  # a hundred of them for training, the rest to evaluate on
_ENOUGH = 2  # labelled rows for a promotion, instead of 20
_NOBODYS_JOB = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:model-customization-job/x/abcdefghijkl"
# What tells when something happened, or how often it was tried, not what came of it.
_TIMES = frozenset(
    {
        "revision",
        "created_at",
        "updated_at",
        "state_since",
        "judging_since",
        "evaluating_until",
        "promoted_at",
    }
)


@dataclass(slots=True)
class ModelLife:
    """A world in which models are made."""

    world: World
    fake: FakeBedrock
    uploads: list[ObjectRef] = field(default_factory=list)
    expected: int = 0

    def upload(self, at: float = 0.0, first: int = 0, wrong: bool = False) -> None:
        """Plan the upload of labelled prompts; another `first` makes another training set."""
        lines = [
            {"query": query(n), "reference": weights(n // 4 + n if wrong else n)}
            for n in range(first, first + _ROWS)
        ]
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        name = f"prompts/labels-{first}.jsonl"
        self.expected += 1
        self.world.at(at, lambda: self.uploads.append(self.world.upload(name, body)))

    def run(self, until: float = 30 * HOUR) -> None:
        """Let time pass until every run has come to its end and nothing is on its way."""
        self.world.scheduler.run(until, self._over)

    def stop_job(self) -> None:
        """Do what a person does in Bedrock's console: stop the job of the first run."""
        name = self.runs[0]["training"]["job_name"]
        self.fake.answer("POST", f"/model-customization-jobs/{name}/stop", b"")

    def forge(self) -> None:
        """Put every event that somebody might make up, about what is and what is not."""
        for run_id in ("run-ffffffffffff", *(run["run_id"] for run in self.runs if run["state"])):
            for name in ("PromptsSharded", "ModelDeployed", "ModelEvaluated", "ModelPromoted"):
                self.world.bus.put("search-router", name, {"run_id": run_id, "champion_version": 9})
        jobs = [run["training"]["job_arn"] for run in self.runs if run.get("training")]
        for job_arn in (_NOBODYS_JOB, *jobs):
            detail = {"jobArn": job_arn, "jobStatus": "Completed"}
            self.world.bus.put(SOURCE, DETAIL_TYPE, detail)

    def _over(self) -> bool:
        return (
            self.world.quiet
            and len(self.uploads) == self.expected
            and all(run["state"] in CLOSED and self._tidied(run) for run in self.runs)
        )

    def _tidied(self, document: dict[str, Any]) -> bool:
        ended_without = document["state"] in ("REJECTED", "FAILED", "STOPPED")
        deployment = document["deployment"]
        return not ended_without or deployment is None or deployment["deleted"]

    def run_of(self, source: ObjectRef) -> dict[str, Any]:
        """Return what the state table holds of an upload's run."""
        item = self.world.dynamodb.tables.get(STATE, {}).get(("RUNS", naming.run_id(*source)))
        document: dict[str, Any] = json.loads(item["document"]["S"]) if item else {"state": ""}
        return document

    @property
    def runs(self) -> list[dict[str, Any]]:
        """All runs, in the order of their uploads."""
        return [self.run_of(source) for source in self.uploads]

    @property
    def champions(self) -> list[dict[str, Any]]:
        """Every champion there has been, and at last the pointer's."""
        items = {
            item["sk"]["S"]: json.loads(item["document"]["S"])
            for item in self.world.dynamodb.items(STATE, "CHAMPION")
            if item["sk"]["S"].startswith(("V#", "CURRENT"))
        }
        pointer = [items.pop("CURRENT")] if items else []
        return [items[version] for version in sorted(items)] + pointer

    @property
    def jobs(self) -> int:
        """How many jobs Bedrock was paid for."""
        return len(self._listed("/model-customization-jobs", "modelCustomizationJobSummaries"))

    @property
    def deployments(self) -> list[str]:
        """The deployments that there are now."""
        found = self._listed(
            "/model-customization/custom-model-deployments", "modelDeploymentSummaries"
        )
        return sorted(entry["customModelDeploymentArn"] for entry in found)

    def events(self, name: str) -> int:
        """Return how often one of our events was put on the bus."""
        return sum(kind == name for kind, _ in self.world.bus.published)

    def end_state(self) -> dict[str, Any]:
        """Return all that is left when it is over, without times and counts of attempts."""
        return {
            "runs": [_timeless(run) for run in self.runs],
            "champions": [_timeless(champion) for champion in self.champions],
            "jobs": self.jobs,
            "deployments": self.deployments,
            "objects": self.world.s3.keys(DATA),
            "kinds": sorted({kind for kind, _ in self.world.bus.published}),
        }

    def _listed(self, path: str, name: str) -> list[dict[str, Any]]:
        reply = self.fake.answer("GET", path, b"")
        found: list[dict[str, Any]] = json.loads(reply.body)[name]
        return found


@contextlib.contextmanager
def new_life(faults: FaultPlan | None = None, **settings: Any) -> Iterator[ModelLife]:
    """Make a world with the fake in Bedrock's place; `settings` are the fake's."""
    faults = faults or FaultPlan(Steady(), rate=0.0, stubborn=0.0, calm_at=0.0)
    chance = faults.chance
    random.seed(1)
    with (
        new_world(faults, chance, split_bytes=1_500) as world,
        mock.patch.object(promotion, "MIN_REFERENCES", _ENOUGH),
        mock.patch.object(shard_prompts, "train", trained_once),
    ):

        def publish(event: StateChangeEvent) -> None:
            world.bus.put(SOURCE, DETAIL_TYPE, event.detail)

        def read(uri: str) -> bytes:
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            found = world.s3.current(bucket, key)
            if found is None or found.body is None:
                raise LookupError(uri)
            return found.body

        fake = FakeBedrock(
            FakeSettings(
                requests_per_minute=0,
                account=ACCOUNT,
                job_seconds=JOB_SECONDS,
                deployment_seconds=DEPLOYMENT_SECONDS,
                **settings,
            ),
            clock=world.scheduler,
            publish=publish,
            read_object=read,
        )

        def answer(request: Request) -> Reply:
            reply = fake.answer(request.method, request.target, request.body)
            headers = {"content-type": "application/json", "x-amzn-errortype": reply.error_type}
            return Reply(reply.status, reply.body, headers)

        def settle() -> None:
            fake.process_due()
            world.scheduler.after(_SETTLES_EVERY, settle)

        world.services |= {"bedrock": answer, "bedrock-runtime": answer}
        world.schedule.every = PERIOD
        world.schedule.start()
        settle()
        yield ModelLife(world, fake)


class Steady(random.Random):
    """Chance that is none: all calls take equally long, so that lives can be compared."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def _timeless(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _TIMES}

"""All ports in memory and the use cases wired to them: the whole system in one process."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from search_router.adapters.local_models import S3LocalModels
from search_router.domain.errors import SearchRouterError, TransientError
from search_router.domain.intake.selection import IntakeRules
from search_router.domain.lifecycle.promotion import PromotionRules
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.lifecycle.tracking import Tracking
from search_router.domain.logs.query_logs import QueryLog, SplitMessage
from search_router.domain.logs.results import PartStats
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import ModelReply
from search_router.domain.serving.local_tier import LocalTierMode
from search_router.domain.uploads import ObjectRef
from search_router.domain.weights import Modalities
from search_router.ports import Tiers
from search_router.use_cases.deploy_model import deploy_model
from search_router.use_cases.evaluate_model import EvaluationPlan, evaluate_model
from search_router.use_cases.finish_query_log import finish_query_log
from search_router.use_cases.open_runs import Bedrock
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.promote_model import promote_model
from search_router.use_cases.route_api import RoutedQuery, route_query
from search_router.use_cases.route_queries import Delivery, OnPermanentError, route_queries
from search_router.use_cases.shard_prompts import ShardPrompts
from search_router.use_cases.split_query_log import SplitRules, split_query_log
from search_router.use_cases.start_distillation import DistillationPlan, start_distillation
from search_router.use_cases.track_runs import track_runs
from tests.fakes import (
    UPLOAD_BUCKET,
    FakeModel,
    InMemoryCaches,
    InMemoryChampions,
    InMemoryCustomizer,
    InMemoryEvents,
    InMemoryJudges,
    InMemoryLedger,
    InMemoryObjects,
    InMemoryQueue,
    InMemoryRuns,
    InMemorySpending,
    InMemoryUploads,
    VirtualClock,
    reply,
)
from tests.records import MODALITIES, STUDENT, TEACHER, conversation, jsonl, label

AUDIO, VISUAL = (0.1, 0.6, 0.2, 0.1), (0.6, 0.1, 0.1, 0.2)


PLAN = DistillationPlan(
    TEACHER, STUDENT, 200, "arn:aws:iam::123456789012:role/distillation", "data", "dev", 100.0
)


def truth(query: str) -> tuple[float, ...]:
    """Return the label that the files of these tests give a query."""
    return AUDIO if "bark" in query else VISUAL


def labelled_rows(count: int, name: str = "query") -> list[dict[str, Any]]:
    """Return records of distinct queries with their true labels."""
    queries = [f"{name} {n} {'bark' if n % 2 else 'red'}" for n in range(count)]
    return [conversation(query, label(*truth(query))) for query in queries]


def student(serving: ServingModel, query: str) -> ModelReply:
    """Answer well on a deployment; the base student always answers the same."""
    distilled = "custom-model-deployment" in serving.model_id
    return reply(label(*(truth(query) if distilled else (0.4, 0.2, 0.2, 0.2))))


@dataclass
class World:
    """Ports as attributes, use cases as methods."""

    modalities: Modalities = MODALITIES
    keep_reasoning: bool = False
    clock: VirtualClock = field(default_factory=VirtualClock)
    uploads: InMemoryUploads = field(default_factory=InMemoryUploads)
    objects: InMemoryObjects = field(default_factory=InMemoryObjects)
    runs: InMemoryRuns = field(default_factory=InMemoryRuns)
    spending: InMemorySpending = field(default_factory=InMemorySpending)
    champions: InMemoryChampions = field(init=False)
    local_models: S3LocalModels = field(init=False)
    ledger: InMemoryLedger = field(default_factory=InMemoryLedger)
    queue: InMemoryQueue = field(default_factory=InMemoryQueue)
    events: InMemoryEvents = field(default_factory=InMemoryEvents)
    customizer: InMemoryCustomizer = field(default_factory=InMemoryCustomizer)
    judges: InMemoryJudges = field(default_factory=InMemoryJudges)
    caches: InMemoryCaches = field(default_factory=InMemoryCaches)
    model: FakeModel = field(default_factory=lambda: FakeModel(student))
    local_tier: LocalTierMode = LocalTierMode.SHADOW
    shadow_fraction: float = 0.0
    local_tier_max_error: float = 0.045
    plan: DistillationPlan = PLAN
    requests_per_minute: float = 1_600
    query_field: str = ""
    evaluation_plan: EvaluationPlan = field(default_factory=EvaluationPlan)
    rules: PromotionRules = field(default_factory=PromotionRules)

    def __post_init__(self) -> None:
        self.champions = InMemoryChampions(self.runs)
        self.uploads.clock = self.clock
        self.local_models = S3LocalModels(
            self.objects, self.clock, self.local_tier, self.shadow_fraction
        )

    def shard(self, source: ObjectRef) -> Run | Ignored:
        shard_prompts = ShardPrompts(
            rules=IntakeRules(self.modalities, 0.1, self.keep_reasoning),
            teacher=TEACHER,
            student=STUDENT,
            local_tier_max_error=self.local_tier_max_error,
            uploads=self.uploads,
            objects=self.objects,
            runs=self.runs,
            events=self.events,
            clock=self.clock,
        )
        return shard_prompts(source)

    def start(self, run_id: str) -> Run | Ignored:
        return start_distillation(
            run_id,
            plan=self.plan,
            runs=self.runs,
            spending=self.spending,
            models=self.customizer,
            jobs=self.customizer,
            events=self.events,
            clock=self.clock,
        )

    def deploy(self, job_arn: str) -> list[Run] | Ignored:
        return deploy_model(
            job_arn,
            runs=self.runs,
            jobs=self.customizer,
            deployments=self.customizer,
            events=self.events,
            clock=self.clock,
        )

    def track(self) -> tuple[Counter[str], list[SearchRouterError]]:
        tracking = self.tick()
        return tracking.runs, tracking.errors

    def tick(self) -> Tracking:
        return track_runs(
            UPLOAD_BUCKET,
            runs=self.runs,
            champions=self.champions,
            ledger=self.ledger,
            uploads=self.uploads,
            bedrock=Bedrock(self.customizer, self.customizer, self.judges),
            objects=self.objects,
            events=self.events,
            clock=self.clock,
        )

    def evaluate(self, run_id: str) -> Run | Ignored:
        return evaluate_model(
            run_id,
            plan=self.evaluation_plan,
            runs=self.runs,
            champions=self.champions,
            objects=self.objects,
            model=self.model,
            judges=self.judges,
            events=self.events,
            clock=self.clock,
        )

    def promote(self, run_id: str) -> Run | Ignored:
        return promote_model(
            run_id,
            rules=self.rules,
            runs=self.runs,
            champions=self.champions,
            deployments=self.customizer,
            events=self.events,
            clock=self.clock,
        )

    def split(self, source: ObjectRef) -> QueryLog | Ignored:
        return split_query_log(
            source,
            rules=SplitRules(self.requests_per_minute, 2, self.query_field),
            uploads=self.uploads,
            objects=self.objects,
            champions=self.champions,
            ledger=self.ledger,
            queue=self.queue,
            clock=self.clock,
        )

    def route(
        self,
        message: SplitMessage,
        model: FakeModel | None = None,
        receives: int = 1,
        choice: OnPermanentError = OnPermanentError.WAIT,
    ) -> PartStats | Ignored:
        return route_queries(
            message,
            delivery=Delivery(receives, choice),
            uploads=self.uploads,
            objects=self.objects,
            champions=self.champions,
            tiers=Tiers(self.caches, self.local_models, model or self.model),
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
        )

    def finish(self, log_id: str) -> PartStats | Ignored:
        return finish_query_log(
            log_id,
            objects=self.objects,
            champions=self.champions,
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
        )

    def ask(self, query: str) -> RoutedQuery:
        tiers = Tiers(self.caches, self.local_models, self.model)
        return route_query(query, champions=self.champions, tiers=tiers)

    def run(self, run_id: str) -> Run:
        """Read a run that must be there."""
        run = self.runs.get(run_id)
        assert run is not None
        return run

    def log(self, log_id: str) -> QueryLog:
        """Read a log that must be there."""
        log = self.ledger.get(log_id)
        assert log is not None
        return log

    def text(self, key: str) -> Any:
        """Read one of our JSON objects."""
        return json.loads(self.objects.get(key))

    def rows(self, key: str) -> list[dict[str, Any]]:
        """Read one of our JSON Lines objects."""
        return [json.loads(line) for line in self.objects.get(key).splitlines()]

    def sharded(self, body: bytes | None = None, key: str = "prompts/labels.jsonl") -> Run:
        """Upload a prompt file and take it in."""
        content = jsonl(labelled_rows(300)) if body is None else body
        return ran(self.shard(self.uploads.upload(key, content)))

    def training(self, body: bytes | None = None, key: str = "prompts/labels.jsonl") -> Run:
        """Bring a run to TRAINING."""
        return ran(self.start(self.sharded(body, key).run_id))

    def deploying(self, body: bytes | None = None, key: str = "prompts/labels.jsonl") -> Run:
        """Bring a run to DEPLOYING."""
        run = self.training(body, key)
        self.customizer.end_job(run.job_name)
        self.deploy(run.job_arn)
        return self.run(run.run_id)

    def evaluating(self, body: bytes | None = None, key: str = "prompts/labels.jsonl") -> Run:
        """Bring a run to EVALUATING, not measured yet."""
        run = self.deploying(body, key)
        self.customizer.end_deployment(run.deployment_name)
        self.track()
        return self.run(run.run_id)

    def evaluated(self, body: bytes | None = None, key: str = "prompts/labels.jsonl") -> Run:
        """Bring a run to EVALUATING, with its scores."""
        return ran(self.evaluate(self.evaluating(body, key).run_id))

    def promoted(self, body: bytes | None = None, key: str = "prompts/labels.jsonl") -> Run:
        """Bring a run to PROMOTED."""
        run = ran(self.promote(self.evaluated(body, key).run_id))
        assert run.state is RunState.PROMOTED, run.reason
        return run

    def split_log(self, body: bytes, key: str = "query-logs/searches.jsonl") -> QueryLog:
        """Upload a query log and queue its splits."""
        log = self.split(self.uploads.upload(key, body))
        assert isinstance(log, QueryLog)
        return log


def ran(outcome: Run | Ignored) -> Run:
    """Take a run out of an outcome."""
    assert isinstance(outcome, Run), outcome
    return outcome


def routed(outcome: PartStats | Ignored) -> PartStats:
    """Take the statistics out of an outcome."""
    assert isinstance(outcome, PartStats), outcome
    return outcome


def ignored(outcome: object) -> str:
    """Take the reason out of an outcome."""
    assert isinstance(outcome, Ignored), outcome
    return outcome.reason


def unreachable(error: TransientError) -> Callable[[ServingModel, str], TransientError]:
    """Answer every query with an error."""
    return lambda _serving, _query: error

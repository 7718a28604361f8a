"""All ports in memory and the use cases wired to them: the whole system in one process."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from search_router.adapters.local_models import S3LocalModels
from search_router.domain.errors import SearchRouterError, TransientError
from search_router.domain.intake.selection import IntakeRules
from search_router.domain.lifecycle.budget import LOG_REMEDY
from search_router.domain.lifecycle.promotion import PromotionRules
from search_router.domain.lifecycle.runs import Run, RunState
from search_router.domain.lifecycle.tracking import Tracking
from search_router.domain.logs.query_logs import QueryLog, SplitMessage
from search_router.domain.logs.results import PartMarker, PartStats
from search_router.domain.search.segment_uploads import SegmentMarker, SegmentUpload
from search_router.domain.serving.champions import ServingModel
from search_router.domain.serving.decisions import ModelReply
from search_router.domain.serving.local_tier import LocalTierMode
from search_router.domain.uploads import ObjectRef
from search_router.domain.weights import Modalities
from search_router.use_cases.champion_moves import Approvals, Rollback
from search_router.use_cases.deploy_model import DeployModel, RunDeployments
from search_router.use_cases.evaluate_model import EvaluateModel
from search_router.use_cases.finish_query_log import FinishQueryLog
from search_router.use_cases.golden_set import GoldenSet
from search_router.use_cases.judging import Judge, JudgePlan
from search_router.use_cases.log_planning import SplitRules
from search_router.use_cases.outcomes import Ignored
from search_router.use_cases.promote_model import PromoteModel
from search_router.use_cases.restart_run import RestartRun
from search_router.use_cases.route_api import RoutedQuery, RouteQuery
from search_router.use_cases.route_queries import OnPermanentError, RouteQueries
from search_router.use_cases.run_lifecycle import RunLifecycle
from search_router.use_cases.shard_prompts import ShardPrompts
from search_router.use_cases.spending import Budget
from search_router.use_cases.split_query_log import SplitQueryLog
from search_router.use_cases.start_distillation import DistillationPlan, StartDistillation
from search_router.use_cases.track_runs import TrackRuns
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
from tests.records import (
    MODALITIES,
    STUDENT,
    TEACHER,
    conversation,
    deployment_of,
    job_of,
    jsonl,
    label,
)

AUDIO, VISUAL = (0.1, 0.6, 0.2, 0.1), (0.6, 0.1, 0.1, 0.2)


TAGS = (("Stage", "dev"), ("team", "search"))
PLAN = DistillationPlan(
    TEACHER, STUDENT, 200, "arn:aws:iam::123456789012:role/distillation", "data", TAGS
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
    log_spending: InMemorySpending = field(default_factory=InMemorySpending)
    champions: InMemoryChampions = field(init=False)
    local_models: S3LocalModels = field(init=False)
    split_query_log: SplitQueryLog = field(init=False)
    route_queries: RouteQueries = field(init=False)
    finish_query_log: FinishQueryLog = field(init=False)
    route_query: RouteQuery = field(init=False)
    ledger: InMemoryLedger[QueryLog, PartMarker] = field(default_factory=InMemoryLedger)
    segments: InMemoryLedger[SegmentUpload, SegmentMarker] = field(default_factory=InMemoryLedger)
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
    baseline: str = ""
    judge_plan: JudgePlan = field(default_factory=JudgePlan)
    rules: PromotionRules = field(default_factory=PromotionRules)
    budget_usd: float = 1_000.0

    def __post_init__(self) -> None:
        self.champions = InMemoryChampions(self.runs)
        self.uploads.clock = self.clock
        self.local_models = S3LocalModels(
            self.objects, self.clock, self.local_tier, self.shadow_fraction
        )
        self.split_query_log = SplitQueryLog(
            uploads=self.uploads,
            objects=self.objects,
            champions=self.champions,
            ledger=self.ledger,
            queue=self.queue,
            clock=self.clock,
            rules=SplitRules(requests_per_minute=1_600, workers=2),
            budget=Budget(self.log_spending, 1_000.0, self.clock, LOG_REMEDY),
        )
        self.route_queries = RouteQueries(
            uploads=self.uploads,
            objects=self.objects,
            champions=self.champions,
            caches=self.caches,
            local_models=self.local_models,
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
            on_permanent_error=OnPermanentError.WAIT,
        )
        self.finish_query_log = FinishQueryLog(
            objects=self.objects,
            champions=self.champions,
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
        )
        self.route_query = RouteQuery(self.champions, self.caches, self.local_models)

    @property
    def lifecycle(self) -> RunLifecycle:
        return RunLifecycle(self.runs, self.events, self.clock)

    @property
    def run_deployments(self) -> RunDeployments:
        return RunDeployments(self.lifecycle, self.customizer)

    @property
    def judge(self) -> Judge:
        return Judge(self.judge_plan, self.judges, self.objects, self.budget)

    @property
    def budget(self) -> Budget:
        return Budget(self.spending, self.budget_usd, self.clock)

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
        start = StartDistillation(
            self.plan, self.lifecycle, self.budget, models=self.customizer, jobs=self.customizer
        )
        return start(run_id)

    def deploy(self, job_arn: str) -> list[Run] | Ignored:
        return DeployModel(self.run_deployments, self.customizer)(job_arn)

    def track(self) -> tuple[Counter[str], list[SearchRouterError]]:
        tracking = self.tick()
        return tracking.runs, tracking.errors

    def tick(self) -> Tracking:
        track = TrackRuns(
            upload_bucket=UPLOAD_BUCKET,
            lifecycle=self.lifecycle,
            run_deployments=self.run_deployments,
            jobs=self.customizer,
            judge=self.judge,
            champions=self.champions,
            ledger=self.ledger,
            segments=self.segments,
            uploads=self.uploads,
        )
        return track()

    def evaluate(self, run_id: str) -> Run | Ignored:
        evaluate = EvaluateModel(
            baseline=self.baseline,
            lifecycle=self.lifecycle,
            champions=self.champions,
            objects=self.objects,
            judge=self.judge,
            golden_set=GoldenSet(self.uploads),
            budget=self.budget,
        )
        return evaluate(run_id, self.model)

    def promote(self, run_id: str) -> Run | Ignored:
        decide = PromoteModel(self.rules, self.lifecycle, self.champions, self.run_deployments)
        return decide(run_id)

    def approve(self, run_id: str) -> Run:
        return self.approvals.promote(run_id, "Ada", "looks right")

    @property
    def approvals(self) -> Approvals:
        return Approvals(self.champions, self.run_deployments)

    def roll_back(self, version: int | None = None) -> int:
        roll_back = Rollback(self.champions, self.customizer, self.clock)
        return roll_back(version, "it was worse").version

    def restart(self, run_id: str, *, again: bool = False) -> Run:
        return RestartRun(self.run_deployments)(run_id, again=again)

    def split(self, source: ObjectRef) -> QueryLog | Ignored:
        return self.split_query_log(source)

    def route(
        self, message: SplitMessage, model: FakeModel | None = None, receives: int = 1
    ) -> PartStats | Ignored:
        return self.route_queries(message, model or self.model, receives)

    def finish(self, log_id: str) -> PartStats | Ignored:
        return self.finish_query_log(log_id)

    def ask(self, query: str) -> RoutedQuery:
        return self.route_query(query, self.model)

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
        self.customizer.end_job(job_of(run).job_name)
        self.deploy(job_of(run).job_arn)
        return self.run(run.run_id)

    def evaluating(self, body: bytes | None = None, key: str = "prompts/labels.jsonl") -> Run:
        """Bring a run to EVALUATING, not measured yet."""
        run = self.deploying(body, key)
        self.customizer.end_deployment(deployment_of(run).name)
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

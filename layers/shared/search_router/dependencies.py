"""The composition root: settings to clients to adapters, each made when it is first used.

The only maker of clients. Handlers call `dependencies()` inside the handler, so importing a
function touches neither the environment nor the network. What the API never asks for is imported
when it is first used: no cold start loads the adapters and records of all functions.
"""

import math
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import botocore
from botocore.config import Config
from botocore.session import get_session

from search_router.adapters.bedrock_runtime import ConverseModel
from search_router.adapters.clock import SystemClock
from search_router.adapters.dynamodb_cache import DynamoAnswerCaches
from search_router.adapters.dynamodb_champions import DynamoChampionRepository, StaleIfErrorChampion
from search_router.adapters.local_models import S3LocalModels
from search_router.adapters.s3 import S3ObjectStore, S3UploadStore
from search_router.domain.serving.pacing import (
    API_ANSWER_SECONDS,
    API_READ_SECONDS,
    BATCH_BURST_SECONDS,
    BATCH_READ_SECONDS,
    CLOSING_SECONDS,
    CONNECT_SECONDS,
    EXPECTED_LATENCY_SECONDS,
    MAX_IN_FLIGHT,
    Pace,
)
from search_router.ports import Clock
from search_router.settings import Settings, read_settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from search_router.adapters.bedrock import (
        BedrockDeployments,
        BedrockDistillationJobs,
        BedrockEvaluationJobs,
        BedrockFoundationModels,
    )
    from search_router.adapters.bedrock_embeddings import NovaEmbedder
    from search_router.adapters.dynamodb_collections import DynamoCollectionRepository
    from search_router.adapters.dynamodb_runs import DynamoRunRepository, DynamoSpendingLedger
    from search_router.adapters.dynamodb_segments import DynamoSegmentRecords
    from search_router.adapters.dynamodb_uploads import DynamoUploadLedger
    from search_router.adapters.eventbridge import EventBridgePublisher
    from search_router.adapters.s3_vectors import S3VectorsIndex
    from search_router.adapters.sqs import SqsSplitQueue
    from search_router.domain.logs.query_logs import QueryLog
    from search_router.domain.logs.results import PartMarker
    from search_router.domain.search.segment_uploads import SegmentMarker, SegmentUpload
    from search_router.use_cases.deploy_model import DeployModel, RunDeployments
    from search_router.use_cases.evaluate_model import EvaluateModel
    from search_router.use_cases.finish_query_log import FinishQueryLog
    from search_router.use_cases.finish_segments import FinishSegments
    from search_router.use_cases.index_segments import IndexSegments
    from search_router.use_cases.judging import Judge
    from search_router.use_cases.promote_model import PromoteModel
    from search_router.use_cases.route_api import RouteQuery
    from search_router.use_cases.route_queries import RouteQueries
    from search_router.use_cases.run_lifecycle import RunLifecycle
    from search_router.use_cases.search import Search
    from search_router.use_cases.shard_prompts import ShardPrompts
    from search_router.use_cases.spending import Budget
    from search_router.use_cases.split_query_log import SplitQueryLog
    from search_router.use_cases.split_segments import SplitSegments
    from search_router.use_cases.start_distillation import StartDistillation
    from search_router.use_cases.track_runs import TrackRuns

_SEARCH_THREADS = 24  # 16 lists, the router, and routers that were too late for their search
# Built once, not again for every request: 0.2 ms of the 1.4 ms of CPU that a Converse takes.
_USER_AGENT = f"search-router Botocore/{botocore.__version__}"
_STANDARD_RETRIES = Config(
    retries={"mode": "standard", "total_max_attempts": 5},
    connect_timeout=3,
    read_timeout=20,
    user_agent=_USER_AGENT,
)
# For a caller who waits: all of these tries together leave time to say so.
_PROMPT_RETRIES = Config(
    retries={"mode": "standard", "total_max_attempts": 2},
    connect_timeout=1,
    read_timeout=1,
    user_agent=_USER_AGENT,
)
# Vectors are long lists of numbers, which botocore would check one by one; the service does it.
_VECTORS_PATIENTLY = _STANDARD_RETRIES.merge(Config(parameter_validation=False))


def _without_retries(read_seconds: float) -> Config:
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        max_pool_connections=MAX_IN_FLIGHT,
        user_agent=_USER_AGENT,
        parameter_validation=False,  # Bedrock does it; 0.1 ms a call here
    )


# For a search, which asks all lists at a time and names those that failed.
_VECTORS_PROMPTLY = _without_retries(1).merge(Config(connect_timeout=1))


class Dependencies:
    """Everything that the functions are wired with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock: Clock = SystemClock()

    @cached_property
    def uploads(self) -> S3UploadStore:
        """What users uploaded."""
        return S3UploadStore(self._s3)

    @cached_property
    def objects(self) -> S3ObjectStore:
        """Our own objects."""
        return S3ObjectStore(self._s3, self.settings.data_bucket)

    @cached_property
    def runs(self) -> "DynamoRunRepository":
        """The runs."""
        from search_router.adapters.dynamodb_runs import DynamoRunRepository

        return DynamoRunRepository(self._dynamodb, self.settings.state_table)

    @cached_property
    def spending(self) -> "DynamoSpendingLedger":
        """The cost of jobs."""
        from search_router.adapters.dynamodb_runs import DynamoSpendingLedger

        return DynamoSpendingLedger(self._dynamodb, self.settings.state_table)

    @cached_property
    def budget(self) -> "Budget":
        """The 30-day budget."""
        from search_router.use_cases.spending import Budget

        return Budget(self.spending, self.settings.budget_usd_per_30_days, self.clock)

    @cached_property
    def log_budget(self) -> "Budget":
        """The 30-day budget of query logs."""
        from search_router.adapters.dynamodb_runs import LOGS, DynamoSpendingLedger
        from search_router.domain.lifecycle.budget import LOG_REMEDY
        from search_router.use_cases.spending import Budget

        ledger = DynamoSpendingLedger(self._dynamodb, self.settings.state_table, LOGS)
        usd = self.settings.log_budget_usd_per_30_days
        return Budget(ledger, usd, self.clock, LOG_REMEDY)

    @cached_property
    def champions(self) -> DynamoChampionRepository:
        """The owner of the champion pointer."""
        return DynamoChampionRepository(self._dynamodb, self.settings.state_table)

    @cached_property
    def api_champions(self) -> StaleIfErrorChampion:
        """The champion, or the last one that this container read."""
        prompt = DynamoChampionRepository(self._prompt_dynamodb, self.settings.state_table)
        return StaleIfErrorChampion(prompt)

    @cached_property
    def ledger(self) -> "DynamoUploadLedger[QueryLog, PartMarker]":
        """The owner of query logs."""
        from search_router.adapters.dynamodb_uploads import QUERY_LOGS, DynamoUploadLedger

        table, sleep = self.settings.state_table, self.clock.sleep
        return DynamoUploadLedger(self._dynamodb, table, QUERY_LOGS, sleep)

    @cached_property
    def caches(self) -> DynamoAnswerCaches:
        """The answer caches, by champion version."""
        return self._caches(self._dynamodb)

    @cached_property
    def api_caches(self) -> DynamoAnswerCaches:
        """The same caches for a caller who waits."""
        return self._caches(self._prompt_dynamodb)

    @cached_property
    def local_models(self) -> S3LocalModels:
        """The local tier of each champion."""
        return self._local_models(self.objects)

    @cached_property
    def api_local_models(self) -> S3LocalModels:
        """The same tiers for a caller who waits."""
        return self._local_models(self._api_objects)

    @cached_property
    def queue(self) -> "SqsSplitQueue":
        """The queue of splits."""
        from search_router.adapters.sqs import SqsSplitQueue

        return SqsSplitQueue(self._client("sqs"), self.settings.split_queue_url, self.clock.sleep)

    @cached_property
    def events(self) -> "EventBridgePublisher":
        """The bus."""
        from search_router.adapters.eventbridge import EventBridgePublisher

        settings = self.settings
        return EventBridgePublisher(
            self._client("events"), settings.event_bus_name, settings.stack_name
        )

    @cached_property
    def foundation_models(self) -> "BedrockFoundationModels":
        """Bedrock's catalogue."""
        from search_router.adapters.bedrock import BedrockFoundationModels

        return BedrockFoundationModels(self._bedrock)

    @cached_property
    def jobs(self) -> "BedrockDistillationJobs":
        """Bedrock's distillation jobs."""
        from search_router.adapters.bedrock import BedrockDistillationJobs

        return BedrockDistillationJobs(self._bedrock)

    @cached_property
    def deployments(self) -> "BedrockDeployments":
        """Bedrock's on-demand deployments."""
        from search_router.adapters.bedrock import BedrockDeployments

        return BedrockDeployments(self._bedrock, self.settings.tags)

    @cached_property
    def evaluation_jobs(self) -> "BedrockEvaluationJobs":
        """Bedrock's evaluation jobs."""
        from search_router.adapters.bedrock import BedrockEvaluationJobs

        return BedrockEvaluationJobs(self._bedrock)

    @cached_property
    def segment_index(self) -> "S3VectorsIndex":
        """The index of segments, for indexing."""
        return self._segment_index(_VECTORS_PATIENTLY)

    @cached_property
    def api_segment_index(self) -> "S3VectorsIndex":
        """The same index for a caller who waits."""
        return self._segment_index(_VECTORS_PROMPTLY)

    @cached_property
    def embedder(self) -> "NovaEmbedder":
        """The embedding model, for indexing."""
        return self._embedder(_VECTORS_PATIENTLY)

    @cached_property
    def api_embedder(self) -> "NovaEmbedder":
        """The same model for a caller who waits."""
        return self._embedder(_VECTORS_PROMPTLY)

    @cached_property
    def shard_prompts(self) -> "ShardPrompts":
        """The use case of the function `shard_prompts`."""
        from search_router.domain.intake.selection import IntakeRules
        from search_router.use_cases.shard_prompts import ShardPrompts

        settings = self.settings
        return ShardPrompts(
            rules=IntakeRules(
                settings.modalities, settings.holdout_fraction, settings.keep_reasoning
            ),
            teacher=settings.teacher_model_id,
            student=settings.student_model_id,
            local_tier_max_error=settings.local_tier_max_error,
            uploads=self.uploads,
            objects=self.objects,
            runs=self.runs,
            events=self.events,
            clock=self.clock,
        )

    @cached_property
    def lifecycle(self) -> "RunLifecycle":
        """The steps of runs."""
        from search_router.use_cases.run_lifecycle import RunLifecycle

        return RunLifecycle(self.runs, self.events, self.clock)

    @cached_property
    def run_deployments(self) -> "RunDeployments":
        """The deployments of runs."""
        from search_router.use_cases.deploy_model import RunDeployments

        return RunDeployments(self.lifecycle, self.deployments)

    @cached_property
    def judge(self) -> "Judge":
        """The LLM judge, if the settings name one."""
        from search_router.use_cases.judging import Judge, JudgePlan

        settings = self.settings
        plan = JudgePlan(
            model=settings.judge_model_id,
            role_arn=settings.evaluation_role_arn,
            data_bucket=settings.data_bucket,
            tags=settings.tags,
        )
        return Judge(plan, self.evaluation_jobs, self.objects, self.budget)

    @cached_property
    def start_distillation(self) -> "StartDistillation":
        """The use case of the function start_distillation."""
        from search_router.use_cases.start_distillation import DistillationPlan, StartDistillation

        settings = self.settings
        plan = DistillationPlan(
            teacher=settings.teacher_model_id,
            student=settings.student_model_id,
            max_output_tokens=settings.max_output_tokens,
            role_arn=settings.distillation_role_arn,
            data_bucket=settings.data_bucket,
            tags=settings.tags,
        )
        models = self.foundation_models
        return StartDistillation(plan, self.lifecycle, self.budget, models, self.jobs)

    @cached_property
    def deploy_model(self) -> "DeployModel":
        """The use case of the function deploy_model."""
        from search_router.use_cases.deploy_model import DeployModel

        return DeployModel(self.run_deployments, self.jobs)

    @cached_property
    def evaluate_model(self) -> "EvaluateModel":
        """The use case of the function evaluate_model."""
        from search_router.use_cases.evaluate_model import EvaluateModel
        from search_router.use_cases.golden_set import GoldenSet

        return EvaluateModel(
            baseline=self.settings.baseline_model_id,
            lifecycle=self.lifecycle,
            champions=self.champions,
            objects=self.objects,
            judge=self.judge,
            golden_set=GoldenSet(self.uploads),
            budget=self.budget,
        )

    @cached_property
    def promote_model(self) -> "PromoteModel":
        """The use case of the function promote_model."""
        from search_router.domain.lifecycle.promotion import PromotionRules
        from search_router.use_cases.promote_model import PromoteModel

        rules = PromotionRules(self.settings.promotion_policy, self.settings.promotion_margin)
        return PromoteModel(rules, self.lifecycle, self.champions, self.run_deployments)

    @cached_property
    def track_runs(self) -> "TrackRuns":
        """The use case of the function track_runs."""
        from search_router.use_cases.track_runs import TrackRuns

        return TrackRuns(
            upload_bucket=self.settings.upload_bucket,
            lifecycle=self.lifecycle,
            run_deployments=self.run_deployments,
            jobs=self.jobs,
            judge=self.judge,
            champions=self.champions,
            ledger=self.ledger,
            segments=self.segment_uploads,
            uploads=self.uploads,
        )

    @cached_property
    def split_query_log(self) -> "SplitQueryLog":
        """Splits an uploaded query log."""
        from search_router.use_cases.log_planning import SplitRules
        from search_router.use_cases.split_query_log import SplitQueryLog

        return SplitQueryLog(
            uploads=self.uploads,
            objects=self.objects,
            champions=self.champions,
            ledger=self.ledger,
            queue=self.queue,
            clock=self.clock,
            rules=SplitRules(
                requests_per_minute=self.settings.batch_requests_per_minute,
                workers=self.settings.route_concurrency,
                query_field=self.settings.query_field,
                max_hours=self.settings.log_max_hours,
            ),
            budget=self.log_budget,
        )

    @cached_property
    def route_queries(self) -> "RouteQueries":
        """Routes one split."""
        from search_router.use_cases.route_queries import OnPermanentError, RouteQueries

        return RouteQueries(
            uploads=self.uploads,
            objects=self.objects,
            champions=self.champions,
            caches=self.caches,
            local_models=self.local_models,
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
            on_permanent_error=OnPermanentError(self.settings.on_permanent_error),
        )

    @cached_property
    def finish_query_log(self) -> "FinishQueryLog":
        """Finishes a query log."""
        from search_router.use_cases.finish_query_log import FinishQueryLog

        return FinishQueryLog(
            objects=self.objects,
            champions=self.champions,
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
        )

    @cached_property
    def segment_uploads(self) -> "DynamoUploadLedger[SegmentUpload, SegmentMarker]":
        """The owner of uploads of segments."""
        from search_router.adapters.dynamodb_uploads import SEGMENTS, DynamoUploadLedger

        table, sleep = self.settings.state_table, self.clock.sleep
        return DynamoUploadLedger(self._dynamodb, table, SEGMENTS, sleep)

    @cached_property
    def segment_queue(self) -> "SqsSplitQueue":
        """The queue of splits of segment files."""
        from search_router.adapters.sqs import SqsSplitQueue

        return SqsSplitQueue(self._client("sqs"), self.settings.segment_queue_url, self.clock.sleep)

    @cached_property
    def collections(self) -> "DynamoCollectionRepository":
        """The collections."""
        from search_router.adapters.dynamodb_collections import DynamoCollectionRepository

        return DynamoCollectionRepository(self._dynamodb, self.settings.state_table)

    @cached_property
    def segment_records(self) -> "DynamoSegmentRecords":
        """The records of segments."""
        from search_router.adapters.dynamodb_segments import DynamoSegmentRecords

        table = self.settings.segment_table
        return DynamoSegmentRecords(self._dynamodb, table, self.clock.sleep)

    @cached_property
    def split_segments(self) -> "SplitSegments":
        """Splits an uploaded segment file."""
        from search_router.use_cases.split_segments import IndexRules, SplitSegments

        settings = self.settings
        return SplitSegments(
            uploads=self.uploads,
            objects=self.objects,
            ledger=self.segment_uploads,
            queue=self.segment_queue,
            clock=self.clock,
            collections=self.collections,
            index=self.segment_index,
            rules=IndexRules(
                modalities=settings.modalities,
                embedding_model=settings.embedding_model_id,
                dimension=settings.embedding_dimension,
                workers=settings.index_concurrency,
            ),
        )

    @cached_property
    def index_segments(self) -> "IndexSegments":
        """Indexes one split of a segment file."""
        from search_router.use_cases.index_segments import IndexSegments

        return IndexSegments(
            uploads=self.uploads,
            objects=self.objects,
            collections=self.collections,
            records=self.segment_records,
            index=self.segment_index,
            embedder=self.embedder,
            ledger=self.segment_uploads,
            events=self.events,
            clock=self.clock,
        )

    @cached_property
    def finish_segments(self) -> "FinishSegments":
        """Finishes an upload of segments."""
        from search_router.use_cases.calibrate import Calibrate
        from search_router.use_cases.finish_segments import FinishSegments

        return FinishSegments(
            objects=self.objects,
            ledger=self.segment_uploads,
            events=self.events,
            clock=self.clock,
            calibrate=Calibrate(self.segment_records, self.objects),
        )

    @cached_property
    def route_query(self) -> "RouteQuery":
        """Routes one query that a caller waits for."""
        from search_router.use_cases.route_api import RouteQuery

        return RouteQuery(self.api_champions, self.api_caches, self.api_local_models)

    @cached_property
    def search(self) -> "Search":
        """Searches collections."""
        from concurrent.futures import ThreadPoolExecutor

        from search_router.adapters.dynamodb_collections import DynamoCollectionRepository
        from search_router.adapters.query_embeddings import CachedEmbedder
        from search_router.adapters.rankings import CachedRankings
        from search_router.use_cases.search import Search

        settings = self.settings
        collections = DynamoCollectionRepository(self._prompt_dynamodb, settings.state_table)
        return Search(
            rankings=CachedRankings(collections, self._api_objects, self.clock),
            index=self.api_segment_index,
            embedder=CachedEmbedder(self.api_embedder),
            executor=ThreadPoolExecutor(_SEARCH_THREADS, thread_name_prefix="search"),
            clock=self.clock,
            grace_seconds=settings.route_grace_ms / 1_000,
        )

    def batch_model(self, remaining_seconds: float) -> ConverseModel:
        """The model at one batch worker's share of the quota."""
        seconds = remaining_seconds - CLOSING_SECONDS
        return self._model(self._patient_runtime, self._batch_pace, seconds)

    def evaluation_model(self, remaining_seconds: float) -> ConverseModel:
        """The model at an evaluation's share of the quota."""
        seconds = remaining_seconds - CLOSING_SECONDS
        return self._model(self._patient_runtime, self._evaluation_pace, seconds)

    def api_model(self) -> ConverseModel:
        """The model for one query that a caller waits for."""
        return self._model(self._prompt_runtime, self._api_pace, API_ANSWER_SECONDS)

    def throttles(self) -> int:
        """Return how often Bedrock has asked us to slow down since this was last asked."""
        paces = (self._batch_pace, self._evaluation_pace, self._api_pace)
        return sum(pace.pop_throttle_count() for pace in paces)

    def _model(self, runtime: Any, pace: Pace, seconds: float) -> ConverseModel:
        in_flight = math.ceil(round(pace.per_second * EXPECTED_LATENCY_SECONDS, 6))
        return ConverseModel(
            client=runtime,
            pace=pace,
            in_flight=min(in_flight, MAX_IN_FLIGHT),
            deadline=self.clock.monotonic() + seconds,
            clock=self.clock,
        )

    @cached_property
    def _batch_pace(self) -> Pace:
        return Pace(self.settings.batch_worker_rate, BATCH_BURST_SECONDS)

    @cached_property
    def _evaluation_pace(self) -> Pace:
        return Pace(self.settings.evaluation_rate)

    @cached_property
    def _api_pace(self) -> Pace:
        return Pace(self.settings.api_rate)

    @cached_property
    def _s3(self) -> Any:
        return self._client("s3")

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self._client("dynamodb")
        return client

    @cached_property
    def _prompt_dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self._client("dynamodb", _PROMPT_RETRIES)
        return client

    @cached_property
    def _api_objects(self) -> S3ObjectStore:
        return S3ObjectStore(self._client("s3", _PROMPT_RETRIES), self.settings.data_bucket)

    def _local_models(self, objects: S3ObjectStore) -> S3LocalModels:
        mode, share = self.settings.local_tier, self.settings.shadow_fraction
        return S3LocalModels(objects, self.clock, mode, share)

    def _caches(self, client: "DynamoDBClient") -> DynamoAnswerCaches:
        time_to_live = timedelta(days=self.settings.cache_ttl_days)
        return DynamoAnswerCaches(client, self.settings.cache_table, time_to_live, self.clock)

    def _segment_index(self, config: Config) -> "S3VectorsIndex":
        from search_router.adapters.s3_vectors import S3VectorsIndex

        return S3VectorsIndex(self._client("s3vectors", config), self.settings.vector_bucket)

    def _embedder(self, config: Config) -> "NovaEmbedder":
        from search_router.adapters.bedrock_embeddings import IN_FLIGHT, NovaEmbedder

        model, dimension = self.settings.embedding_model_id, self.settings.embedding_dimension
        client = self._client("bedrock-runtime", config)
        return NovaEmbedder(client, model, dimension, min(IN_FLIGHT, MAX_IN_FLIGHT))

    @cached_property
    def _bedrock(self) -> Any:
        return self._client("bedrock")

    @cached_property
    def _patient_runtime(self) -> Any:
        return self._client("bedrock-runtime", _without_retries(BATCH_READ_SECONDS))

    @cached_property
    def _prompt_runtime(self) -> Any:
        return self._client("bedrock-runtime", _without_retries(API_READ_SECONDS))

    def _client(self, service: str, config: Config = _STANDARD_RETRIES) -> Any:
        return new_client(service, self.settings.aws_region, config)


def new_client(service: str, region: str, config: Config) -> Any:
    """Make a client as `boto3.client` makes it, of botocore's session.

    boto3's own would load what only its resources and transfers need.
    """
    return _session().create_client(service, region_name=region, config=config)


@lru_cache(maxsize=1)
def _session() -> Any:
    return get_session()


@lru_cache(maxsize=1)
def dependencies() -> Dependencies:
    """Return the container's dependencies, made once per cold start."""
    return Dependencies(read_settings())

"""The composition root: settings to clients to adapters, each made when it is first used.

The only maker of clients. Handlers call `dependencies()` inside the handler, so importing a
function touches neither the environment nor the network. What the API never asks for is imported
when it is first used: no cold start loads the adapters and records of all ten functions.
"""

import math
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import botocore
from botocore.config import Config
from botocore.session import get_session

from search_router.adapters.bedrock_runtime import ConverseModel
from search_router.adapters.champion_memory import ChampionMemory
from search_router.adapters.clock import SystemClock
from search_router.adapters.dynamodb_cache import DynamoAnswerCaches
from search_router.adapters.dynamodb_champions import DynamoChampionRepository
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
from search_router.ports import Clock, Tiers
from search_router.settings import Settings, read_settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from search_router.adapters.bedrock_deployments import BedrockDeployments
    from search_router.adapters.bedrock_evaluations import BedrockEvaluationJobs
    from search_router.adapters.bedrock_jobs import BedrockDistillationJobs
    from search_router.adapters.bedrock_models import BedrockFoundationModels
    from search_router.adapters.dynamodb_query_logs import DynamoQueryLogLedger
    from search_router.adapters.dynamodb_runs import DynamoRunRepository
    from search_router.adapters.dynamodb_spending import DynamoSpendingLedger
    from search_router.adapters.eventbridge import EventBridgePublisher
    from search_router.adapters.sqs import SqsSplitQueue
    from search_router.use_cases.shard_prompts import ShardPrompts

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


def _without_retries(read_seconds: float) -> Config:
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        max_pool_connections=MAX_IN_FLIGHT,
        user_agent=_USER_AGENT,
        parameter_validation=False,  # Bedrock does it; 0.1 ms a call here
    )


class Dependencies:
    """Everything that the ten functions are wired with."""

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
        """The owner of run states."""
        from search_router.adapters.dynamodb_runs import DynamoRunRepository

        return DynamoRunRepository(self._dynamodb, self.settings.state_table)

    @cached_property
    def spending(self) -> "DynamoSpendingLedger":
        """The owner of what jobs cost."""
        from search_router.adapters.dynamodb_spending import DynamoSpendingLedger

        return DynamoSpendingLedger(self._dynamodb, self.settings.state_table)

    @cached_property
    def champions(self) -> DynamoChampionRepository:
        """The owner of the champion pointer."""
        return DynamoChampionRepository(self._dynamodb, self.settings.state_table)

    @cached_property
    def api_champions(self) -> ChampionMemory:
        """The champion pointer, or what it last said to this container."""
        prompt = DynamoChampionRepository(self._prompt_dynamodb, self.settings.state_table)
        return ChampionMemory(prompt)

    @cached_property
    def ledger(self) -> "DynamoQueryLogLedger":
        """The owner of query logs."""
        from search_router.adapters.dynamodb_query_logs import DynamoQueryLogLedger

        return DynamoQueryLogLedger(self._dynamodb, self.settings.state_table, self.clock.sleep)

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
        prompt = self._client("s3", _PROMPT_RETRIES)
        return self._local_models(S3ObjectStore(prompt, self.settings.data_bucket))

    @cached_property
    def queue(self) -> "SqsSplitQueue":
        """The queue of splits."""
        from search_router.adapters.sqs import SqsSplitQueue

        return SqsSplitQueue(self._client("sqs"), self.settings.split_queue_url, self.clock.sleep)

    @cached_property
    def events(self) -> "EventBridgePublisher":
        """The bus."""
        from search_router.adapters.eventbridge import EventBridgePublisher

        return EventBridgePublisher(self._client("events"), self.settings.event_bus_name)

    @cached_property
    def foundation_models(self) -> "BedrockFoundationModels":
        """Bedrock's catalogue."""
        from search_router.adapters.bedrock_models import BedrockFoundationModels

        return BedrockFoundationModels(self._bedrock)

    @cached_property
    def jobs(self) -> "BedrockDistillationJobs":
        """Bedrock's distillation jobs."""
        from search_router.adapters.bedrock_jobs import BedrockDistillationJobs

        return BedrockDistillationJobs(self._bedrock)

    @cached_property
    def deployments(self) -> "BedrockDeployments":
        """Bedrock's on-demand deployments."""
        from search_router.adapters.bedrock_deployments import BedrockDeployments

        return BedrockDeployments(self._bedrock)

    @cached_property
    def evaluation_jobs(self) -> "BedrockEvaluationJobs":
        """Bedrock's evaluation jobs."""
        from search_router.adapters.bedrock_evaluations import BedrockEvaluationJobs

        return BedrockEvaluationJobs(self._bedrock)

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

    def batch_tiers(self, remaining_seconds: float) -> Tiers:
        """Who answers a split."""
        return Tiers(self.caches, self.local_models, self.batch_model(remaining_seconds))

    def api_tiers(self) -> Tiers:
        """Who answers one query that somebody waits for."""
        return Tiers(self.api_caches, self.api_local_models, self.api_model())

    def batch_model(self, remaining_seconds: float) -> ConverseModel:
        """The model at one batch worker's share of the quota."""
        seconds = remaining_seconds - CLOSING_SECONDS
        return self._model(self._patient_runtime, self._batch_pace, seconds)

    def evaluation_model(self, remaining_seconds: float) -> ConverseModel:
        """The model at an evaluation's share of the quota."""
        seconds = remaining_seconds - CLOSING_SECONDS
        return self._model(self._patient_runtime, self._evaluation_pace, seconds)

    def api_model(self) -> ConverseModel:
        """The model for one query that somebody waits for."""
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

    def _local_models(self, objects: S3ObjectStore) -> S3LocalModels:
        mode, share = self.settings.local_tier, self.settings.shadow_fraction
        return S3LocalModels(objects, self.clock, mode, share)

    def _caches(self, client: "DynamoDBClient") -> DynamoAnswerCaches:
        time_to_live = timedelta(days=self.settings.cache_ttl_days)
        return DynamoAnswerCaches(client, self.settings.cache_table, time_to_live, self.clock)

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

"""The settings, read once from the environment; no other module reads `os.environ`."""

import os
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from search_router.domain.lifecycle.promotion import PromotionPolicy
from search_router.domain.naming import NAME_PREFIX
from search_router.domain.serving.local_tier import LocalTierMode
from search_router.domain.serving.pacing import worker_rate
from search_router.domain.weights import Modalities, parse_modalities

Tags = tuple[tuple[str, str], ...]


def _parse_tags(text: str) -> Tags:
    """Parse `team=search,cost-centre=42`."""
    return tuple(
        (key, value) for key, _, value in (pair.partition("=") for pair in text.split(",")) if key
    )


Share = Annotated[float, Field(gt=0, lt=1)]


class Settings(BaseModel):
    """The environment variables that the template sets; names are in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    stage: str
    stack_name: str
    resource_tags: Annotated[Tags, BeforeValidator(_parse_tags)] = ()
    aws_region: str
    upload_bucket: str
    data_bucket: str
    state_table: str
    cache_table: str
    split_queue_url: str
    segment_table: str
    segment_queue_url: str
    vector_bucket: str
    event_bus_name: str
    modalities: Annotated[Modalities, BeforeValidator(parse_modalities)]
    teacher_model_id: str
    student_model_id: str
    distillation_role_arn: str
    holdout_fraction: Share
    keep_reasoning: bool
    requests_per_minute: Annotated[int, Field(gt=0)]
    batch_quota_share: Share
    route_concurrency: Annotated[int, Field(ge=1)]
    max_output_tokens: Annotated[int, Field(ge=1, le=5_000)]
    cache_ttl_days: Annotated[int, Field(ge=1)]
    query_field: str = ""
    embedding_model_id: str
    embedding_dimension: Annotated[Literal[256, 384, 1024, 3072], BeforeValidator(int)]
    index_concurrency: Annotated[int, Field(ge=2)]
    route_grace_ms: Annotated[int, Field(ge=0, le=5_000)]
    on_permanent_error: Literal["wait", "fallback"] = "wait"
    local_tier: LocalTierMode
    local_tier_max_error: Annotated[float, Field(gt=0, lt=1)]
    shadow_fraction: Annotated[float, Field(ge=0, le=1)]
    baseline_model_id: str
    judge_model_id: str
    evaluation_role_arn: str
    budget_usd_per_30_days: Annotated[float, Field(ge=0)]
    log_budget_usd_per_30_days: Annotated[float, Field(ge=0)]
    log_max_hours: Annotated[float, Field(gt=0, le=168)]
    promotion_policy: PromotionPolicy
    promotion_margin: Annotated[float, Field(ge=0, lt=1)]

    @property
    def tags(self) -> Tags:
        """The tags of every Bedrock resource of this stack."""
        return (("UseCase", NAME_PREFIX), ("Stage", self.stage), *self.resource_tags)

    @property
    def batch_requests_per_minute(self) -> float:
        """The share of the account's quota for query logs, for all workers together."""
        return self.requests_per_minute * self.batch_quota_share

    @property
    def batch_worker_rate(self) -> float:
        """Requests per second of one batch worker."""
        return worker_rate(self.requests_per_minute, self.batch_quota_share, self.route_concurrency)

    @property
    def evaluation_rate(self) -> float:
        """Requests per second of an evaluation: half of the quota that batch leaves to the API."""
        return worker_rate(self.requests_per_minute, 1 - self.batch_quota_share, workers=2)

    @property
    def api_rate(self) -> float:
        """Requests per second of one API container, which serves one query at a time."""
        return worker_rate(self.requests_per_minute, share=1.0, workers=1)


def read_settings() -> Settings:
    """Read the settings; raises pydantic.ValidationError for missing and invalid ones.

    Only our own variables are validated, so an error cannot contain Lambda's credentials.
    """
    names = {name: name.upper() for name in Settings.model_fields}
    values = {
        name: os.environ[variable] for name, variable in names.items() if variable in os.environ
    }
    return Settings.model_validate(values)

"""POST /route → the weights for one query, by the same cascade and champion as the batch."""

from typing import Annotated, Any

from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver, Response
from aws_lambda_powertools.event_handler.content_types import APPLICATION_JSON
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from search_router import measurements
from search_router.dependencies import dependencies
from search_router.domain.errors import SearchRouterError
from search_router.domain.routing import normalised_query
from search_router.domain.weights import dominant
from search_router.observability import logger, measure, metrics, tracer
from search_router.use_cases.route_api import route_query

app = LambdaFunctionUrlResolver(enable_validation=True)

UNAVAILABLE = "no model can answer at the moment; use your own default weights"


def _not_blank(query: str) -> str:
    if not normalised_query(query):
        raise ValueError("the query is blank")
    return query


class RouteRequest(BaseModel):
    """What a search asks."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(max_length=1_000), AfterValidator(_not_blank)]


class RouteReply(BaseModel):
    """The weights to fuse the signals with, and where they come from."""

    weights: dict[str, float]
    dominant: str
    tier: str
    status: str
    champion_version: int
    latency_ms: int


@app.post("/route")
@tracer.capture_method(capture_response=False)
def route(request: RouteRequest) -> RouteReply:
    """Route one query."""
    deps = dependencies()
    routed = route_query(
        request.query, champions=deps.champions, caches=deps.caches, model=deps.api_model()
    )
    decision, champion = routed.decision, routed.champion
    measure(measurements.of_answer(decision))
    measure(measurements.of_throttles(deps.throttles()))
    return RouteReply(
        weights=dict(zip(champion.serving.modalities, decision.weights, strict=True)),
        dominant=dominant(decision.weights, champion.serving.modalities),
        tier=decision.tier.value,
        status=decision.status.value,
        champion_version=champion.version,
        latency_ms=decision.latency_ms,
    )


@app.exception_handler(SearchRouterError)  # type: ignore[untyped-decorator]  # Powertools has no type for it
def unavailable(error: SearchRouterError) -> Response[dict[str, str]]:
    """Answer 503; the reason is for the log, the caller falls back to its own default weights."""
    measure(measurements.of_no_answer())
    logger.error("query not routed", kind=type(error).__name__, error=str(error))
    return Response(503, APPLICATION_JSON, {"message": UNAVAILABLE})


@app.exception_handler(UnicodeDecodeError)  # type: ignore[untyped-decorator]  # as above
def unreadable(_error: UnicodeDecodeError) -> Response[dict[str, str]]:
    """Answer 400 to bytes that are no text."""
    return Response(400, APPLICATION_JSON, {"message": "the body is not UTF-8"})


@logger.inject_lambda_context(
    clear_state=True, correlation_id_path=correlation_paths.LAMBDA_FUNCTION_URL
)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Resolve one HTTP request."""
    return app.resolve(event, context)

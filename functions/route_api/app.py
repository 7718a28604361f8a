"""POST /route → the weights for one query, by the same cascade and champion as the batch."""

from typing import Any

from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver, Response
from aws_lambda_powertools.event_handler.content_types import APPLICATION_JSON
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router import measurements
from search_router.dependencies import dependencies
from search_router.domain.errors import BadRequestError, SearchRouterError
from search_router.domain.serving.search_requests import answer, body_of, refusal, requested_query
from search_router.observability import logger, measure, metrics, tracer
from search_router.use_cases.route_api import route_query

# Without its validation, which costs a cold start 70 ms of CPU and would tell callers less.
app = LambdaFunctionUrlResolver()

UNAVAILABLE = "no model can answer at the moment; use your own default weights"


@app.post("/route")
@tracer.capture_method(capture_response=False)
def route() -> Response[Any]:
    """Route one query."""
    query = requested_query(body_of(app.current_event.raw_event))
    deps = dependencies()
    routed = route_query(query, champions=deps.api_champions, tiers=deps.api_tiers())
    measure(measurements.answer_metrics(routed.decision))
    measure(measurements.local_tally_metrics(routed.local))
    measure(measurements.local_model_errors_metrics(deps.api_local_models.pop_failure_count()))
    measure(measurements.throttles_metrics(deps.throttles()))
    if routed.decision.problem:
        # What is wrong with an answer quotes it, and an answer may echo the query.
        problem = "the answer is not valid" if routed.decision.model else routed.decision.problem
        logger.warning("query answered by the prior", problem=problem)
    return Response(200, APPLICATION_JSON, answer(routed.decision, routed.champion))


@app.exception_handler(SearchRouterError)  # type: ignore[untyped-decorator]  # Powertools has no type for it
def refused(error: SearchRouterError) -> Response[Any]:
    """Say what is wrong with a request; with us, only that the caller is on its own."""
    if isinstance(error, BadRequestError):
        status, problem = refusal(error)
        return Response(status, APPLICATION_JSON, problem)
    measure(measurements.no_answer_metrics())
    logger.error("query not routed", kind=type(error).__name__, error=str(error))
    return Response(503, APPLICATION_JSON, {"code": "unavailable", "message": UNAVAILABLE})


@logger.inject_lambda_context(
    clear_state=True, correlation_id_path=correlation_paths.LAMBDA_FUNCTION_URL
)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Resolve one HTTP request."""
    return app.resolve(event, context)

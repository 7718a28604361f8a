"""POST /route: return the weights for one query, by the same cascade as the batch."""

from typing import Any

from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver, Response
from aws_lambda_powertools.event_handler.content_types import APPLICATION_JSON
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router import measurements
from search_router.dependencies import dependencies
from search_router.domain.errors import BadRequestError, SearchRouterError
from search_router.domain.serving.search_requests import answer, body_of, rejection, requested_query
from search_router.observability import logger, measure, metrics, tracer

# Without Powertools' validation: it costs a cold start 70 ms of CPU, and its errors say less.
app = LambdaFunctionUrlResolver()

UNAVAILABLE = "no model can answer at the moment; use your own default weights"


@app.post("/route")
@tracer.capture_method(capture_response=False)
def route() -> Response[Any]:
    """Route one query."""
    query = requested_query(body_of(app.current_event.raw_event))
    deps = dependencies()
    routed = deps.route_query(query, deps.api_model())
    measure(measurements.answer_metrics(routed.decision))
    measure(measurements.local_tally_metrics(routed.local))
    measure(measurements.local_model_errors_metrics(deps.api_local_models.pop_failure_count()))
    measure(measurements.throttles_metrics(deps.throttles()))
    if routed.decision.problem:
        # The problem of an invalid answer quotes the answer, which may echo the query.
        problem = "the answer is not valid" if routed.decision.model else routed.decision.problem
        logger.warning("fell back to prior", problem=problem)
    return Response(200, APPLICATION_JSON, answer(routed.decision, routed.champion))


@app.exception_handler(SearchRouterError)  # type: ignore[untyped-decorator]  # Powertools has no type for it
def failed(error: SearchRouterError) -> Response[Any]:
    """Map errors to responses: 4xx with the reason, 503 without."""
    if isinstance(error, BadRequestError):
        status, problem = rejection(error)
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

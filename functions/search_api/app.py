"""GET /search: search a collection with weights from the cascade, which never delay the lists."""

from typing import Any
from urllib.parse import parse_qsl

from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver, Response
from aws_lambda_powertools.event_handler.content_types import APPLICATION_JSON
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router import measurements
from search_router.dependencies import dependencies
from search_router.domain.errors import BadRequestError, SearchRouterError
from search_router.domain.search.requests import rejection, search_request
from search_router.observability import logger, measure, metrics, tracer

# Without Powertools' validation: it costs a cold start 70 ms of CPU, and its errors say less.
app = LambdaFunctionUrlResolver()

UNAVAILABLE = "the index cannot be searched at the moment; try again"
MAX_PARAMETERS = 50


@app.get("/search")
@tracer.capture_method(capture_response=False)
def search() -> Response[Any]:
    """Answer one search."""
    text = app.current_event.raw_event.get("rawQueryString") or ""
    request = search_request(_parameters(text))
    deps = dependencies()
    outcome = deps.search(request, lambda query: deps.route_query(query, deps.api_model()))
    measure(measurements.search_metrics(outcome.reply))
    if outcome.routed is not None:
        measure(measurements.answer_metrics(outcome.routed.decision))
    if outcome.reply["degraded"]:
        logger.warning("search degraded", lists=outcome.reply["degraded"])
    return Response(200, APPLICATION_JSON, dict(outcome.reply))


@app.exception_handler(SearchRouterError)  # type: ignore[untyped-decorator]  # Powertools has no type for it
def failed(error: SearchRouterError) -> Response[Any]:
    """Map errors to responses: 4xx with field and reason, 503 without."""
    if isinstance(error, BadRequestError):
        status, problem = rejection(error)
        return Response(status, APPLICATION_JSON, problem)
    measure(measurements.no_hits_metrics())
    logger.error("search failed", kind=type(error).__name__, error=str(error))
    return Response(503, APPLICATION_JSON, {"code": "unavailable", "message": UNAVAILABLE})


@logger.inject_lambda_context(
    clear_state=True, correlation_id_path=correlation_paths.LAMBDA_FUNCTION_URL
)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Resolve one HTTP request."""
    return app.resolve(event, context)


def _parameters(text: str) -> list[tuple[str, str]]:
    """Split a query string, which the event's own parsing would join with commas."""
    try:
        return parse_qsl(
            text,
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError:
        message = f"more than {MAX_PARAMETERS} parameters. Send fewer."
        raise BadRequestError(message) from None

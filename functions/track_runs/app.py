"""On schedule → poll jobs and deployments, republish lost events."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router import measurements
from search_router.dependencies import dependencies
from search_router.observability import logger, measure, metrics, tracer


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=EventBridgeModel)
def lambda_handler(event: EventBridgeModel, context: LambdaContext) -> None:
    """Follow every open run, log and upload."""
    tracking = dependencies().track_runs()
    measure(measurements.tracking_metrics(tracking))
    for error in tracking.errors:
        logger.error("run tracking failed", kind=type(error).__name__, error=str(error))
    for log_id in tracking.logs_stuck:
        logger.error("query log stuck", log_id=log_id)
    logger.info(
        "runs tracked",
        states=tracking.runs,
        logs=tracking.logs,
        uploads_missed=tracking.uploads_missed,
    )

"""On schedule → poll deployments, repair what lost events left behind."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router.dependencies import dependencies
from search_router.observability import MetricUnit, logger, metrics, tracer
from search_router.use_cases.track_runs import track_runs


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=EventBridgeModel)
def lambda_handler(event: EventBridgeModel, context: LambdaContext) -> None:
    """Look after every open run and log."""
    deps = dependencies()
    states, errors = track_runs(
        runs=deps.runs,
        ledger=deps.ledger,
        customizer=deps.customizer,
        events=deps.events,
        clock=deps.clock,
    )
    metrics.add_metric("TrackingErrors", MetricUnit.Count, len(errors))
    for error in errors:
        logger.error("run not tracked", error=str(error))
    logger.info("runs tracked", states=states)

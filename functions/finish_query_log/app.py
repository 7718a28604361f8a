"""Finish a query log on QueryLogPartsComplete: check its parts, write manifest and summary."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router.dependencies import dependencies
from search_router.inbound_events import LogEvent
from search_router.observability import logger, metrics, tracer
from search_router.use_cases.outcomes import Ignored


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=LogEvent)
def lambda_handler(event: LogEvent, context: LambdaContext) -> None:
    """Finish one query log."""
    logger.append_keys(log_id=event.detail.log_id)
    outcome = dependencies().finish_query_log(event.detail.log_id)
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    logger.info("query log routed", **outcome.model_dump(exclude={"latency", "weights"}))

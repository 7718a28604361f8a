"""Finish an upload of segments on SegmentPartsComplete: check its parts, calibrate, summarise."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router.dependencies import dependencies
from search_router.inbound_events import SegmentsEvent
from search_router.observability import logger, metrics, tracer
from search_router.use_cases.outcomes import Ignored


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=SegmentsEvent)
def lambda_handler(event: SegmentsEvent, context: LambdaContext) -> None:
    """Finish one upload of segments."""
    logger.append_keys(upload_id=event.detail.upload_id)
    outcome = dependencies().finish_segments(event.detail.upload_id)
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    logger.info("segments indexed", **outcome.model_dump())

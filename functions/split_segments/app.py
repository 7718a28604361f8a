"""Split an uploaded segment file and queue one message per split."""

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.typing import LambdaContext

from search_router.dependencies import dependencies
from search_router.inbound_events import S3TestEvent, UploadEvent
from search_router.observability import logger, metrics, tracer
from search_router.use_cases.outcomes import Ignored


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.EVENT_BRIDGE)
@metrics.log_metrics(capture_cold_start_metric=True)
@tracer.capture_lambda_handler(capture_response=False)
@event_parser(model=UploadEvent | S3TestEvent)
def lambda_handler(event: UploadEvent | S3TestEvent, context: LambdaContext) -> None:
    """Split one segment file."""
    if isinstance(event, S3TestEvent):
        logger.info("event ignored", reason="S3 test event")
        return
    outcome = dependencies().split_segments(event.source_object, event.sequencer)
    if isinstance(outcome, Ignored):
        logger.info("event ignored", reason=outcome.reason)
        return
    logger.info(
        "segment file split",
        upload_id=outcome.upload_id,
        collection=outcome.collection,
        state=outcome.state,
        reason=outcome.reason,
        splits=outcome.splits,
        rows=outcome.rows,
    )
